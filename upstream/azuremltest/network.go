package azuremltest

import (
	"context"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
)

// A Network is a network in memory. On it, an Azure and its clients can live in
// one testing/synctest bubble, where time passes only when nobody has anything
// to do, so that a day of renewals takes milliseconds: real sockets keep a
// bubble's clock from moving. Its Listen is for [Options], its DialContext for
// an http.Transport. It is safe for concurrent use.
type Network struct {
	mu    sync.Mutex
	ports map[string]*port
}

// NewNetwork returns a network on which nobody listens.
func NewNetwork() *Network { return &Network{ports: make(map[string]*port)} }

// Listen opens a new port.
func (n *Network) Listen() (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(10001+len(n.ports))) // ports are never reused
	p := &port{address: address, arriving: make(chan net.Conn), closed: make(chan struct{})}
	n.ports[address] = p
	return p, nil
}

// DialContext connects to a port, with the errors of package net.
func (n *Network) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	p := n.ports[address]
	n.mu.Unlock()
	refused := &net.OpError{Op: "dial", Net: network, Addr: portAddress(address), Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	if p == nil {
		return nil, refused
	}
	client, server := net.Pipe()
	select {
	case p.arriving <- server:
		return client, nil
	case <-p.closed:
		return nil, refused
	case <-ctx.Done():
		return nil, &net.OpError{Op: "dial", Net: network, Err: ctx.Err()}
	}
}

// A port is one listener.
type port struct {
	address  string
	arriving chan net.Conn
	once     sync.Once
	closed   chan struct{}
}

// Accept implements net.Listener.
func (p *port) Accept() (net.Conn, error) {
	select {
	case c := <-p.arriving:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *port) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr implements net.Listener.
func (p *port) Addr() net.Addr { return portAddress(p.address) }

// portAddress is a net.Addr.
type portAddress string

func (portAddress) Network() string  { return "tcp" }
func (a portAddress) String() string { return string(a) }
