package app

import (
	"context"
	"crypto/x509"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"amlproxy/internal/config"
)

// lookEvery is how often files are looked at. A look is one stat each; a file that
// a container platform swaps by a symbolic link is seen too, which watching the
// file itself would miss.
const lookEvery = time.Second

// A lookout sees that files changed. It waits until two looks in a row find the
// same: of a file that is being written, what is there already can be in order and
// still lack the rule that comes last.
type lookout struct{ read, seen config.Files }

func (l *lookout) changed() bool {
	now := l.read.Now()
	settled := l.seen != nil && maps.Equal(now, l.seen)
	l.seen = now
	return settled && !maps.Equal(now, l.read)
}

// watch takes over what changed in files, until ctx ends: at once when the program
// is told so by hangup.
func (a *App) watch(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	settings := &lookout{read: a.settings.Files}
	for {
		var hangup os.Signal
		select {
		case <-ctx.Done():
			return nil
		case hangup = <-a.options.Hangup:
		case <-tick.C:
		}
		if hangup != nil && a.audit != nil {
			a.audit.Reopen()
		}
		if a.certificate != nil && (a.pair.changed() || hangup != nil) {
			a.reloadCertificate()
		}
		if a.options.Load != nil && (settings.changed() || hangup != nil) {
			settings.read = a.reload()
		}
	}
}

func (a *App) reloadCertificate() {
	a.pair.read = config.Stamps(a.certificate.files()...)
	err := a.certificate.read()
	a.metrics.Reloaded(err)
	if err != nil {
		a.log.Error("the certificate was not taken over, the one before it stays in force", zap.Error(err))
		return
	}
	a.log.Info("the certificate was taken over")
}

// reload takes over freshly loaded settings: all of them at once, or none when
// there is a mistake in anything. It returns the files to look at from now on.
func (a *App) reload() config.Files {
	fresh, err := a.options.Load()
	files := filesOf(fresh, err)
	if err == nil {
		err = a.takeOver(fresh)
	}
	a.metrics.Reloaded(err)
	if err != nil {
		a.log.Error("the settings were not taken over, those before them stay in force", zap.Error(err))
		return files
	}
	a.log.Info("the settings were taken over", zap.Int("routes", len(fresh.Routes)))
	if names := config.Restart(a.settings, fresh); len(names) > 0 {
		a.log.Warn("settings changed that need a restart", zap.String("settings", strings.Join(names, ", ")))
	}
	for _, warning := range fresh.Warnings {
		a.log.Warn(warning)
	}
	return files
}

func filesOf(fresh *config.Settings, err error) config.Files {
	var mistakes *config.Error
	switch {
	case err == nil:
		return fresh.Files
	case errors.As(err, &mistakes):
		return mistakes.Files
	}
	return nil
}

// takeOver looks first for what could fail.
func (a *App) takeOver(fresh *config.Settings) error {
	pool, err := roots(fresh.CAFile)
	if err != nil {
		return err
	}
	before := a.fleet.Load()
	next, err := a.newFleet(fresh, pool, before)
	if err != nil {
		return err
	}
	err = errors.Join(a.who.takeOver(fresh), next.identify(before))
	if err == nil {
		err = a.proxyRoutes(next, fresh)
	}
	if err != nil {
		next.but(before).close()
		return err
	}
	a.fleet.Store(next)
	before.each(func(route string, n int, _ *backend) { a.metrics.Unwatch(route, n) })
	if !pool.Equal(before.pool) {
		a.exchange(pool, fresh)
	}
	a.begin(next)
	a.retire(before, next)
	return nil
}

// retireTime is how long requests that began under routes before have what those
// routes call with: to the end of most.
const retireTime = 3 * time.Minute

// A retired fleet is not in force any more, and some requests may use it still.
type retired struct {
	fleet *fleet
	timer *time.Timer
	once  sync.Once
	over  atomic.Bool
}

func (r *retired) end() {
	r.once.Do(r.fleet.close)
	r.over.Store(true)
}

func (r *retired) close() {
	r.timer.Stop()
	r.end()
}

// retire closes in a while what before has and next does not use; until then it
// is renewed only where a request needs that.
func (a *App) retire(before, next *fleet) {
	r := &retired{fleet: before.but(next)}
	r.fleet.each(func(_ string, _ int, b *backend) { b.cache.Rest() })
	r.timer = time.AfterFunc(retireTime, r.end)
	a.retired = append(slices.DeleteFunc(a.retired, func(r *retired) bool { return r.over.Load() }), r)
}

// proxyRoutes puts the routes of next in force. What they name is so before they are:
// an identity that was made without it would be whole to a rule that asks for it, and
// who is banned be let in for a moment.
func (a *App) proxyRoutes(next *fleet, fresh *config.Settings) error {
	names := namedIn(fresh)
	before := a.named.Swap(&names)
	err := a.proxy.SetRoutes(next.routes())
	if err != nil {
		a.named.Store(before)
	}
	return err
}

// exchange has everything outside called with other roots.
func (a *App) exchange(pool *x509.CertPool, fresh *config.Settings) {
	a.toProvider.exchange(outgoing(pool))
	a.toAzure.exchange(outgoing(pool))
	a.toModels.exchange(scoring(pool))
	if a.store != nil && strings.HasPrefix(fresh.RedisURL.Reveal(), "rediss:") {
		a.log.Warn("AMLPROXY_CA_FILE changed: for Redis that needs a restart")
	}
}

// begin has credentials fetched and reported.
func (a *App) begin(f *fleet) {
	f.each(func(route string, n int, b *backend) {
		a.metrics.Watch(route, n, b.cache.Status)
		b.cache.Warm()
	})
}
