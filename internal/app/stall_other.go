//go:build !linux

package app

import (
	"net"
	"time"
)

// stall is for Linux alone.
func stall(net.Listener, time.Duration) error { return nil }
