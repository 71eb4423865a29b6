package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"go.uber.org/zap"
)

// ErrReplaced is the cause of the end of Run's context if an orchestrator stops this
// replica while others go on: balancers are given time to notice.
var ErrReplaced = errors.New("this replica is being replaced")

// hushTime is how long connections that began to be made are waited for: longer
// than a round trip to whoever makes them.
const hushTime = 200 * time.Millisecond

// linger goes on serving while readiness says no, for DRAIN_DELAY. Then it lets no
// further connection begin, and takes those that had begun: closing a listener
// resets them, and their first request, which nobody would send again, is lost.
func (a *App) linger(stopped context.Context, l net.Listener) {
	delay := a.settings.DrainDelay
	if !errors.Is(context.Cause(stopped), ErrReplaced) || delay <= 0 {
		return
	}
	a.log.Info("asked to stop, and still serving for balancers to notice", zap.Duration("for", delay))
	<-time.After(delay) // the context is over, and nothing else cuts this short
	if err := hush(l); err != nil {
		a.log.Debug("connections that are being made may be lost", zap.Error(err))
		return
	}
	<-time.After(hushTime)
}

// parting tells whoever keeps a connection open, while this replica is about to go,
// that the answer is the last one on it: closing a connection on which a request is
// on its way would lose that (RFC 9112 section 9.6). Over HTTP/2 net/http makes
// GOAWAY of it.
func (a *App) parting(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !a.readiness.serving.Load() {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

// drain lets requests finish, the operator's last: readiness is asked until the end.
func (a *App) drain(public, operator *http.Server) error {
	a.log.Info("draining", zap.Duration("at_most", a.settings.DrainTimeout))
	ctx, cancel := context.WithTimeout(context.Background(), a.settings.DrainTimeout)
	defer cancel()
	if err := public.Shutdown(ctx); err != nil {
		a.log.Warn("requests were cut after DRAIN_TIMEOUT")
		_ = public.Close()
	}
	a.proxy.Drain(ctx)
	a.closeTraces(ctx)
	_ = operator.Close()
	return nil
}
