package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"amlproxy/internal/app"
	"amlproxy/internal/config"
)

// Options are the demo's flags, and where it writes.
type Options struct {
	Listen string // of the proxy; 127.0.0.1:8080 when empty
	// AdminListen is the operator's address; any port of 127.0.0.1 when empty.
	AdminListen string
	Chaos       bool          // regenerate keys and revoke tokens all the time
	Every       time.Duration // between two of those; 4 s when zero
	Out, Log    io.Writer     // for people, and for the proxy's own log; standard output and error when nil
}

// Run starts a World and the proxy in front of it, prints how to use them, and
// goes on until ctx ends.
func Run(ctx context.Context, o Options) error {
	o = o.withDefaults()
	listener, provider, err := listen(ctx, o.Listen)
	if err != nil {
		return err
	}
	public := "http://" + dialable(listener.Addr().String(), o.Listen)
	world, err := NewWorld(Place{
		PublicURL: public, ProviderListener: provider,
		Issuer: "http://" + dialable(provider.Addr().String(), o.Listen),
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	tally := &tally{}
	operators, err := new(net.ListenConfig).Listen(ctx, "tcp", o.AdminListen)
	if err != nil {
		return errors.Join(fmt.Errorf("listening for the operator: %w", err), listener.Close(), world.Close())
	}
	proxy, err := newProxy(world, listener, operators, tally, o)
	if err == nil {
		_, err = io.WriteString(o.Out, world.banner(public, metrics(operators.Addr())))
	}
	if err != nil {
		return errors.Join(err, listener.Close(), operators.Close(), world.Close())
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return proxy.Run(ctx) })
	if o.Chaos {
		group.Go(func() error { return world.chaos(ctx, o.Every, tally, o.Out) })
	}
	err = group.Wait()
	if o.Chaos {
		_, wrote := fmt.Fprintf(o.Out, "chaos: %-36s %s\n", "in all:", tally)
		err = errors.Join(err, wrote)
	}
	return errors.Join(err, world.Close())
}

// metrics is where a visitor finds them, empty for addresses that may lead to
// nowhere from where he is: a container's port of the operator is not published.
func metrics(at net.Addr) string {
	if tcp, ok := at.(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		return "http://" + at.String() + "/metrics"
	}
	return ""
}

func (o Options) withDefaults() Options {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:8080"
	}
	if o.AdminListen == "" {
		o.AdminListen = "127.0.0.1:0"
	}
	if o.Every <= 0 {
		o.Every = 4 * time.Second
	}
	if o.Out == nil {
		o.Out = os.Stdout
	}
	if o.Log == nil {
		o.Log = os.Stderr
	}
	return o
}

// newProxy builds the proxy as serve does: from settings. Only the listeners are
// handed over, since they had to be there before the settings could name them.
func newProxy(w *World, listener, operators net.Listener, t *tally, o Options) (*app.App, error) {
	settings, err := config.Load(append(w.Environ(), "AMLPROXY_LOG_LEVEL=warn", "AMLPROXY_LOG_FORMAT=console"))
	if err != nil {
		return nil, err
	}
	return app.New(settings, app.Options{
		Log: o.Log, Listener: listener, AdminListener: operators, Observe: t.observe,
	})
}

// listen opens the proxy's listener and, on the same host, the provider's: on
// the next port, or on any if that is taken.
func listen(ctx context.Context, address string) (proxy, provider net.Listener, err error) {
	var config net.ListenConfig
	proxy, err = config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, nil, fmt.Errorf("listening on %s: %w (choose another with --listen HOST:PORT)", address, err)
	}
	host, _, _ := net.SplitHostPort(address)
	_, port, _ := net.SplitHostPort(proxy.Addr().String())
	for _, next := range []string{after(port), "0"} {
		if provider, err = config.Listen(ctx, "tcp", net.JoinHostPort(host, next)); err == nil {
			return proxy, provider, nil
		}
	}
	return nil, nil, errors.Join(fmt.Errorf("listening for the identity provider: %w", err), proxy.Close())
}

func after(port string) string {
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 65535 {
		return "0"
	}
	return strconv.FormatUint(n+1, 10)
}

// dialable returns what a browser on this machine calls a listener: by the host
// that was asked for, unless that is no host in particular.
func dialable(actual, asked string) string {
	_, port, _ := net.SplitHostPort(actual)
	host, _, _ := net.SplitHostPort(asked)
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
