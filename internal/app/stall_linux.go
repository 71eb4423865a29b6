package app

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// stall has the kernel end each connection of l whose peer takes nothing of what is
// written to it for that long, with its window closed (RFC 5482; tcp(7),
// TCP_USER_TIMEOUT). A route's own time bounds the answers of models; this one is
// for whatever is written besides: by net/http itself, and by whoever asks for
// small answers, one after the other, and reads none.
func stall(l net.Listener, most time.Duration) error {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(most.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return set
}
