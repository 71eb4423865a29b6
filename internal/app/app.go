package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"amlproxy/authn"
	"amlproxy/internal/config"
	"amlproxy/internal/telemetry"
	"amlproxy/proxy"
	"amlproxy/upstream"
)

// Options are what a program may want besides its settings. The zero value is
// what serve uses.
type Options struct {
	Log io.Writer // where the log goes; nil: standard error
	Out io.Writer // where the audit goes if its file is "-"; nil: standard output
	// Listener and AdminListener, if not nil, are used instead of listening on the
	// settings' addresses.
	Listener, AdminListener net.Listener
	Version                 string // of this program; empty: as Go knows it
	// Observe, if not nil, is given every Record, as the access log is.
	Observe func(*proxy.Record)
	// Load, if not nil, reads the settings again: they are then taken over when one of
	// their files changes.
	Load func() (*config.Settings, error)
	// Hangup, if not nil, has everything read again at once with each value.
	Hangup <-chan os.Signal
}

// An App is a proxy with everything behind it, built and not yet running.
type App struct {
	settings *config.Settings
	options  Options
	log      *zap.Logger
	metrics  *telemetry.Metrics
	traces   *telemetry.Traces // nil: no spans are made
	audit    *telemetry.Audit  // nil: calls are not put on record

	toProvider, toAzure, toModels *line
	store                         *authn.Redis // nil: replicas share nothing

	proxy       *proxy.Proxy
	readiness   *readiness
	who         callers
	fleet       atomic.Pointer[fleet] // of the routes in force
	retired     []*retired            // fleets before it; belongs to the goroutine that reloads
	named       atomic.Pointer[named] // by them
	certificate *certificate          // nil: plain http
	pair        lookout               // its files
}

// New builds everything that the settings describe. It asks nobody: neither the
// provider nor Azure has to be there. An App that is not run needs no closing.
func New(s *config.Settings, o Options) (*App, error) {
	if o.Log == nil {
		o.Log = os.Stderr
	}
	log, err := telemetry.NewLogger(o.Log, s.LogLevel, s.LogFormat)
	if err != nil {
		return nil, err
	}
	logRedis(log)
	metrics, err := newMetrics(o.Version)
	if err != nil {
		return nil, err
	}
	metrics.WatchLog(log)
	pool, err := roots(s.CAFile)
	if err != nil {
		return nil, err
	}
	a := &App{
		settings: s, options: o, log: log, metrics: metrics,
		toProvider: newLine(outgoing(pool)), toAzure: newLine(outgoing(pool)), toModels: newLine(scoring(pool)),
	}
	if a.traces, err = newTraces(s, pool, versionOr(o.Version), metrics, log); err != nil {
		return nil, err
	}
	a.audit = newAudit(s, o.Out, metrics)
	a.readiness = &readiness{fleet: &a.fleet}
	names := namedIn(s)
	a.named.Store(&names)
	who, err := newCallers(s, &http.Client{Transport: a.provider()}, pool, &a.named, metrics.Session)
	if err != nil {
		return nil, err
	}
	a.who, a.store, a.readiness.store = who, who.store, who.store
	f, err := a.newFleet(s, pool, nil)
	if err != nil {
		return nil, err
	}
	a.fleet.Store(f)
	if a.proxy, err = a.newProxy(who, f); err != nil {
		return nil, err
	}
	metrics.Loads(a.proxy.Loads)
	return a, a.loadCertificate()
}

func (a *App) newProxy(who callers, f *fleet) (*proxy.Proxy, error) {
	cfg := proxy.Config{
		Authenticator: who.authenticator, Issuers: who.issuers,
		PublicURL: a.settings.PublicURL.URL, TrustedProxies: a.settings.TrustedProxies,
		Ready:      a.readiness.public,
		KeepsGroup: func(group string) bool { return a.named.Load().groups[group] },
		Record:     a.records(),
		Routes:     f.routes(),

		Limiter: a.newLimiter(),

		ReadTimeout: a.settings.ReadHeaderTimeout,
	}
	if a.audit != nil {
		cfg.Admit = a.audit.Admit
	}
	if a.traces != nil {
		cfg.Trace = a.traces.Begin
	}
	if who.login != nil { // a nil *Login in the interface would not be nil
		cfg.Login, cfg.Sessions = who.login, who.sessions
	}
	return proxy.New(cfg)
}

// records returns who is given every Record.
func (a *App) records() func(*proxy.Record) {
	access, observe := telemetry.AccessLog(a.log), a.options.Observe
	if observe == nil {
		observe = func(*proxy.Record) {}
	}
	return func(r *proxy.Record) {
		if a.audit != nil {
			a.audit.Record(r)
		}
		access(r)
		a.metrics.Record(r)
		observe(r)
	}
}

// events returns who is told of the fetches of a route's n-th backend.
func (a *App) events(route string, n int) func(upstream.Event) {
	log, count := telemetry.CredentialLog(a.log, route, n), a.metrics.Event(route, n)
	return func(e upstream.Event) {
		log(e)
		count(e)
	}
}

func (a *App) loadCertificate() error {
	if a.settings.TLSCertFile == "" {
		return nil
	}
	var err error
	a.certificate, err = newCertificate(a.settings)
	a.pair.read = config.Stamps(a.certificate.files()...)
	return err
}

// Run listens and serves until ctx ends, then lets requests finish for as long
// as DRAIN_TIMEOUT and returns nil. If the cause of ctx's end is ErrReplaced, it goes
// on serving for DRAIN_DELAY before that. It returns an error if it cannot listen or
// serve. When it returns, nothing that it started is left.
func (a *App) Run(ctx context.Context) error {
	if err := a.beginAudit(); err != nil {
		return err
	}
	defer a.endAudit()
	callers, operators, err := a.listen(ctx)
	if err != nil {
		return err
	}
	defer a.close()
	for _, warning := range a.settings.Warnings {
		a.log.Warn(warning)
	}
	a.startTraces()
	a.begin(a.fleet.Load())
	a.readiness.begin()
	a.log.Info("serving", zap.Stringer("address", callers.Addr()), zap.Stringer("admin", operators.Addr()),
		zap.Int("routes", len(a.settings.Routes)))

	public, operator := a.server(a.parting(a.proxy)), a.server(withoutBody(admin(a.readiness, a.metrics.Handler())))
	operator.ReadTimeout = a.settings.ReadHeaderTimeout // nobody sends it anything
	if a.certificate != nil {
		public.Handler = a.certificate.admits(public.Handler)
		public.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, admissionKey{}, &admission{})
		}
	}
	group, failed := errgroup.WithContext(ctx)
	group.Go(func() error { return serve(public, a.secured(callers)) })
	group.Go(func() error { return serve(operator, operators) })
	group.Go(func() error { return a.watch(failed) })
	group.Go(func() error {
		<-failed.Done()
		a.readiness.serving.Store(false) // first, so that whoever balances load looks elsewhere
		a.linger(failed, callers)
		return a.drain(public, operator)
	})
	return group.Wait()
}

// listen opens both listeners or none.
func (a *App) listen(ctx context.Context) (callers, operators net.Listener, err error) {
	callers, err = listenOn(ctx, a.options.Listener, "AMLPROXY_LISTEN", a.settings.Listen)
	if err != nil {
		return nil, nil, err
	}
	operators, err = listenOn(ctx, a.options.AdminListener, "AMLPROXY_ADMIN_LISTEN", a.settings.AdminListen)
	if err != nil {
		_ = callers.Close()
		return nil, nil, err
	}
	return callers, operators, nil
}

// secured is l, with TLS if there is a certificate.
func (a *App) secured(l net.Listener) net.Listener {
	if a.certificate == nil {
		return l
	}
	return tls.NewListener(l, a.certificate.config())
}

// stallTime is how long a caller may take nothing of what is written to him, as
// between two bytes of a model's answer.
const stallTime = 5 * time.Minute

func listenOn(ctx context.Context, given net.Listener, setting, address string) (net.Listener, error) {
	if given != nil {
		return given, nil
	}
	var of net.ListenConfig
	of.SetMultipathTCP(false) // its sockets take no filter; see hush
	l, err := of.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s=%s: %w", setting, address, err)
	}
	if err := stall(l, stallTime); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("%s=%s: %w", setting, address, err)
	}
	return l, nil
}

// server has no write timeout: an answer may stream for hours. The route's own
// timeouts bound it, and the proxy what is read.
func (a *App) server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: a.settings.ReadHeaderTimeout,
		IdleTimeout:       a.settings.IdleTimeout,
		MaxHeaderBytes:    int(a.settings.MaxHeaderBytes),
		ErrorLog:          complaints(a.log.Named("http")),
		// What a connection may have under way is what a flood of it costs: as little as
		// RFC 9113 section 6.5.2 recommends, and not net/http's 250.
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 100},
		// net/http would answer "OPTIONS *" by itself, unseen and unrecorded.
		DisableGeneralOptionsHandler: true,
	}
}

// complaints are net/http's own, about handshakes that failed and the like: a
// port scan is no news, so they are at debug.
func complaints(log *zap.Logger) *stdlog.Logger {
	std, err := zap.NewStdLogAt(log, zap.DebugLevel)
	if err != nil { // for a level that zap does not know
		return stdlog.New(io.Discard, "", 0)
	}
	return std
}

func serve(s *http.Server, l net.Listener) error {
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (a *App) close() {
	for _, r := range a.retired {
		r.close()
	}
	a.fleet.Load().close()
	for _, t := range []*line{a.toProvider, a.toAzure, a.toModels} {
		t.CloseIdleConnections()
	}
	if a.store != nil {
		_ = a.store.Close()
	}
	_ = a.log.Sync()
}
