//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// An engine is the callers and the upstream in one thread that never sleeps. To wake
// somebody who sleeps is work that the kernel charges to whoever writes, and in a
// virtual machine it is most of what a write costs: a proxy would pay the more, the
// less busy its callers are, so that the faster of two looked faster than it is.
type engine struct {
	epoll    int
	listener int
	address  string // of the upstream
	key      []byte // that it wants to see, in its field
	ends     []*end // by descriptor
	buffer   []byte
	fault    error
}

// An end is one connection of the engine's.
type end struct {
	fd      int
	request []byte // of a caller; nil: this is the upstream's end
	got     []byte // what came and is not complete
	began   time.Time
	busy    bool
	done    func(*end, time.Time)
}

// reply is what the upstream answers.
var reply = slices.Concat([]byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1024\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\n\r\n"), answer[:1<<10])

func newEngine(key string) (*engine, error) {
	e := &engine{key: []byte("Authorization: Bearer " + key + "\r\n"), buffer: make([]byte, 256<<10)}
	var err error
	if e.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, err
	}
	if e.listener, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return nil, err
	}
	local := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
	if err := errors.Join(unix.Bind(e.listener, local), unix.Listen(e.listener, 1024), e.watch(e.listener)); err != nil {
		return nil, err
	}
	at, err := unix.Getsockname(e.listener)
	if bound, ok := at.(*unix.SockaddrInet4); ok {
		e.address = fmt.Sprintf("http://127.0.0.1:%d/score", bound.Port)
	}
	return e, err
}

func (e *engine) watch(fd int) error {
	return unix.EpollCtl(e.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// dial opens a caller's connection.
func (e *engine) dial(address string, request []byte) (*end, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err != nil {
		return nil, err
	}
	return e.take(fd, request)
}

// take adds a connection.
func (e *engine) take(fd int, request []byte) (*end, error) {
	one := &end{fd: fd, request: request}
	for len(e.ends) <= fd {
		e.ends = append(e.ends, nil)
	}
	e.ends[fd] = one
	return one, errors.Join(unix.SetNonblock(fd, true), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1), e.watch(fd))
}

func (e *engine) hangUp(one *end) {
	if e.ends[one.fd] == one {
		e.ends[one.fd] = nil
		_ = unix.Close(one.fd)
	}
}

// run serves both sides until more returns false; it is asked again and again.
func (e *engine) run(more func(now time.Time) bool) error {
	runtime.GOMAXPROCS(2) // one is this thread's
	defer runtime.GOMAXPROCS(1)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	events := make([]unix.EpollEvent, 256)
	for e.fault == nil && more(time.Now()) {
		n, err := unix.EpollWait(e.epoll, events, 0)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		for _, event := range events[:max(n, 0)] {
			if int(event.Fd) == e.listener {
				e.accept()
			} else if one := e.ends[event.Fd]; one != nil {
				e.read(one)
			}
		}
	}
	return e.fault
}

func (e *engine) accept() {
	fd, _, err := unix.Accept4(e.listener, unix.SOCK_CLOEXEC)
	if err == nil {
		_, err = e.take(fd, nil)
	}
	if err != nil {
		e.fault = err
	}
}

func (e *engine) read(one *end) {
	n, err := unix.Read(one.fd, e.buffer)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return
	case err == nil && n > 0:
		one.got = append(one.got, e.buffer[:n]...)
	case one.request == nil: // a proxy gives up a connection
		e.hangUp(one)
		return
	default:
		e.fault = fmt.Errorf("the proxy hung up: %w", err)
		return
	}
	head, size := measureMessage(one.got)
	if size == 0 || len(one.got) < size {
		return
	}
	if one.request == nil {
		if !bytes.Contains(head, e.key) {
			e.fault = fmt.Errorf("a request without the key: %s", head)
			return
		}
		one.got = one.got[:0]
		e.write(one, reply)
		return
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		e.fault = fmt.Errorf("answered %s", one.got)
		return
	}
	one.got, one.busy = one.got[:0], false
	one.done(one, time.Now())
}

// measureMessage returns the header of a message and how long it is as a whole; 0
// if it is not there yet.
func measureMessage(got []byte) (head []byte, size int) {
	end := bytes.Index(got, []byte("\r\n\r\n"))
	if end < 0 {
		return nil, 0
	}
	head = got[:end+2]
	_, after, ok := bytes.Cut(head, []byte("\r\nContent-Length: "))
	if !ok {
		return head, end + 4
	}
	value, _, _ := bytes.Cut(after, []byte("\r\n"))
	length, err := strconv.Atoi(string(value))
	if err != nil {
		return head, end + 4
	}
	return head, end + 4 + length
}

// write sends what always fits into the buffers of a socket.
func (e *engine) write(one *end, message []byte) {
	if n, err := unix.Write(one.fd, message); err != nil || n < len(message) {
		e.fault = fmt.Errorf("writing %d bytes of %d: %w", n, len(message), err)
	}
}

// call sends a caller's request.
func (e *engine) call(one *end, began time.Time) {
	one.began, one.busy = began, true
	e.write(one, one.request)
}
