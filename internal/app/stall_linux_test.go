package app

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestReaderThatTakesNothing: a connection that is written to and never read from
// does not stay for ever.
func TestReaderThatTakesNothing(t *testing.T) {
	l, err := listenOn(t.Context(), nil, "LISTEN", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := stall(l, 500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	caller, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	served, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	_ = served.SetWriteDeadline(time.Now().Add(time.Minute))
	_, err = io.Copy(served, endless{})
	if !errors.Is(err, unix.ETIMEDOUT) {
		t.Errorf("the kernel did not end it: %v", err)
	}
}

// endless is what nobody reads.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }
