package app

import (
	"context"
	"time"

	"go.uber.org/zap"

	"amlproxy/internal/config"
)

// lookEvery is how often the routes file is looked at. A look is one stat; a file
// that a container platform swaps by a symbolic link is seen too, which watching
// the file itself would miss.
const lookEvery = 2 * time.Second

// watchRoutes reloads the routes when their file changes, until ctx ends.
func (a *App) watchRoutes(ctx context.Context) error {
	file := a.settings.RoutesFile
	if file == "" || a.options.Load == nil {
		return nil
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if stamp, err := stampOf(file); err == nil && stamp != a.routesStamp {
			a.routesStamp = stamp
			a.reload()
		}
	}
}

// reload takes over the routes of freshly loaded settings: all of them at once, or
// none when there is a mistake in anything. Other settings need a restart.
func (a *App) reload() {
	fresh, err := a.options.Load()
	if err == nil {
		err = a.takeOver(fresh)
	}
	if err != nil {
		a.log.Error("the routes file was not taken over, the routes before it stay in force", zap.Error(err))
		return
	}
	a.log.Info("the routes file was taken over", zap.Int("routes", len(fresh.Routes)))
	for _, warning := range fresh.Warnings {
		a.log.Warn(warning)
	}
}

func (a *App) takeOver(fresh *config.Settings) error {
	before := a.fleet.Load()
	next, err := a.newFleet(fresh, before)
	if err != nil {
		return err
	}
	if err := a.proxy.SetRoutes(next.routes()); err != nil {
		next.closeBut(before)
		return err
	}
	names := namedIn(fresh.Routes)
	a.named.Store(&names)
	a.fleet.Store(next)
	before.each(func(route string, n int, _ *backend) { a.metrics.Unwatch(route, n) })
	a.begin(next)
	before.closeBut(next)
	return nil
}

// begin has credentials fetched and reported.
func (a *App) begin(f *fleet) {
	f.each(func(route string, n int, b *backend) {
		a.metrics.Watch(route, n, b.cache.Status)
		b.cache.Warm()
	})
}
