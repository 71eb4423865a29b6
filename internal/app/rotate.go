package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"amlproxy/internal/secret"
	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
)

// confirmLimit is how long the workspace gets to list a new key.
const confirmLimit = time.Minute

// errNotAlone: two people rotate, and each may regenerate what the other relies on.
var errNotAlone = errors.New("somebody else is regenerating keys too")

// A Rotation says how the keys of a route are rotated.
type Rotation struct {
	// Pause is how long running proxies get to take the other key before the next
	// one is regenerated, and how long the endpoint gets to accept a new one.
	Pause time.Duration
	// Unchecked goes on where nothing harmless tells whether the endpoint accepts a
	// key.
	Unchecked bool
	// Say is told what happens, a line at a time. Required.
	Say func(line string)
}

// Rotate regenerates the secondary key of a route's backend and then the primary
// one, so that at any time a key works that running proxies hold or can list. Each
// is regenerated only while the endpoint accepts the other. Where it stops, for
// whatever reason, the endpoint has a key that works, and Rotate can begin anew.
func (d *Desk) Rotate(ctx context.Context, route string, backend int, how Rotation) error {
	b, err := d.find(route, backend)
	if err != nil {
		return err
	}
	lease, err := b.source.Fetch(ctx, nil)
	if err != nil {
		return fmt.Errorf("route %s: %w", route, err)
	}
	regenerator, ok := b.source.(azureml.Regenerator)
	switch {
	case lease.Kind != upstream.Key:
		return noKeys(route, b.credential(lease))
	case !ok:
		return fmt.Errorf("route %s: the keys of %s were given by hand, and nobody can be asked for others: regenerate the secondary one where they come from, change it in the settings, and then the primary one", route, b.name)
	}
	way, err := TransportTo(d.settings, b.of, d.toModels)
	if err != nil {
		return fmt.Errorf("route %s: %w", route, err)
	}
	defer way.CloseIdleConnections()
	r := &rotation{Rotation: how, source: b.source, regenerator: regenerator, probe: newProbe(way)}
	if r.held, err = bothKeys(lease); err == nil {
		how.Say(fmt.Sprintf("%s at %s: the primary key is %s, the secondary %s",
			b.name, lease.Scoring, Masked(lease.Primary), Masked(lease.Secondary)))
		err = r.run(ctx)
	}
	if err != nil {
		return fmt.Errorf("route %s: %w (%s; it is safe to run this again)", route, err, r.state)
	}
	return nil
}

// rotation is a Rotation under way.
type rotation struct {
	Rotation
	source      upstream.Source
	regenerator azureml.Regenerator
	probe       *probe
	held        *upstream.Lease // as listed last
	state       progress
}

// progress is how far a rotation has come, for people.
type progress int

func (p progress) String() string {
	return [...]string{
		"no key was regenerated",
		"the secondary key may have been regenerated, the primary was not",
		"the secondary key was regenerated, the primary was not",
		"the secondary key was regenerated, and the primary may have been",
		"both keys were regenerated",
	}[p]
}

func (r *rotation) run(ctx context.Context) error {
	if err := r.choose(ctx); err != nil {
		return err
	}
	if err := r.replace(ctx, azureml.SecondaryKey); err != nil {
		return err
	}
	r.Say(fmt.Sprintf("waiting %s, so that running proxies can take it", r.Pause))
	if err := rest(ctx, r.Pause); err != nil {
		return err
	}
	if err := r.alone(ctx); err != nil {
		return err
	}
	if err := r.replace(ctx, azureml.PrimaryKey); err != nil {
		return err
	}
	if err := r.accepted(ctx, azureml.PrimaryKey); err != nil {
		return err
	}
	r.Say("done: both keys are new")
	return nil
}

// choose finds the request that tells whether a key is accepted.
func (r *rotation) choose(ctx context.Context) error {
	err := r.probe.choose(ctx, r.held)
	if err != nil && ctx.Err() == nil && r.Unchecked {
		r.Say(fmt.Sprintf("going on unchecked: %v", err))
		return nil
	}
	return err
}

// alone returns an error if the pair is another than it was left.
func (r *rotation) alone(ctx context.Context) error {
	now, err := r.list(ctx)
	if err == nil && !(now.Primary.Equal(r.held.Primary) && now.Secondary.Equal(r.held.Secondary)) {
		err = errNotAlone
	}
	if err == nil {
		r.held = now
	}
	return err
}

// replace regenerates one key, if the endpoint accepts the other.
func (r *rotation) replace(ctx context.Context, which azureml.KeyName) error {
	if err := r.accepted(ctx, otherThan(which)); err != nil {
		return err
	}
	// From here on an interruption waits: what was begun is looked after.
	ctx = context.WithoutCancel(ctx)
	r.Say(fmt.Sprintf("regenerating the %s key", name(which)))
	r.state++
	err := r.regenerator.Regenerate(ctx, which)
	if err != nil && !errors.Is(err, azureml.ErrUnsettled) {
		r.state--
		return err
	}
	if err != nil {
		r.Say(fmt.Sprintf("looking whether it was: %v", err))
	}
	if err := r.changed(ctx, which, err); err != nil {
		return err
	}
	r.state++
	r.Say(fmt.Sprintf("the %s key is now %s", name(which), Masked(key(r.held, which))))
	return nil
}

// changed waits until the workspace lists a new key. cause is why that is in
// doubt, if it is.
func (r *rotation) changed(ctx context.Context, which azureml.KeyName, cause error) error {
	return patiently(ctx, min(r.Pause, confirmLimit), func() error {
		now, err := r.list(ctx)
		switch {
		case err != nil:
			return errors.Join(cause, err)
		case !key(now, otherThan(which)).Equal(key(r.held, otherThan(which))):
			return errNotAlone
		case key(now, which).Equal(key(r.held, which)):
			return errors.Join(cause, fmt.Errorf("the workspace still lists the old %s key", name(which)))
		}
		r.held = now
		return nil
	})
}

// accepted waits until the endpoint accepts a key.
func (r *rotation) accepted(ctx context.Context, which azureml.KeyName) error {
	if !r.probe.chosen() {
		return nil
	}
	err := patiently(ctx, r.Pause, func() error { return r.probe.accepts(ctx, r.held, key(r.held, which)) })
	if err != nil {
		return fmt.Errorf("the %s key %s: %w", name(which), Masked(key(r.held, which)), err)
	}
	r.Say(fmt.Sprintf("the endpoint accepts the %s key (%s)", name(which), r.probe))
	return nil
}

// list asks the workspace for the pair.
func (r *rotation) list(ctx context.Context) (*upstream.Lease, error) {
	lease, err := r.source.Fetch(ctx, nil)
	if err != nil {
		return nil, err
	}
	return bothKeys(lease)
}

// bothKeys refuses what is no pair: with one key, none may be regenerated.
func bothKeys(lease *upstream.Lease) (*upstream.Lease, error) {
	if lease.Kind != upstream.Key || lease.Secondary.IsZero() {
		return nil, errors.New("the workspace does not list two keys, so that there is none to go on with")
	}
	return lease, nil
}

// patiently tries until it works or so much time has passed, once at least.
func patiently(ctx context.Context, limit time.Duration, try func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := try()
		if err == nil || errors.Is(err, errNotAlone) || !time.Now().Before(deadline) {
			return err
		}
		if ended := rest(ctx, min(time.Second, max(limit/10, 10*time.Millisecond))); ended != nil {
			return ended
		}
	}
}

// rest waits, or returns why it was cut short.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("interrupted: %w", context.Cause(ctx))
	}
}

func key(lease *upstream.Lease, which azureml.KeyName) secret.Value {
	if which == azureml.PrimaryKey {
		return lease.Primary
	}
	return lease.Secondary
}

func otherThan(which azureml.KeyName) azureml.KeyName {
	if which == azureml.PrimaryKey {
		return azureml.SecondaryKey
	}
	return azureml.PrimaryKey
}

func name(which azureml.KeyName) string {
	if which == azureml.PrimaryKey {
		return "primary"
	}
	return "secondary"
}
