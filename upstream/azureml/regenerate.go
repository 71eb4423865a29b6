package azureml

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A KeyName names one key of a pair, in Azure's words.
type KeyName string

// The keys of a pair.
const (
	PrimaryKey   KeyName = "Primary"
	SecondaryKey KeyName = "Secondary"
)

// ErrUnsettled says that a regeneration may have happened, or may yet happen, but
// that nobody said so. Listing the keys tells; asking again would make yet another
// key.
var ErrUnsettled = errors.New("it is not known whether the key was regenerated")

// A Regenerator can replace the keys of an endpoint. Every Source of a
// [Workspace] is one, whether its endpoint has keys or not; a Fetch of the Source
// without a lease lists the pair as it is now.
type Regenerator interface {
	// Regenerate has the workspace replace one key by a new one, and returns when
	// it says that it did. The old key is refused from then on; the other one is
	// untouched.
	//
	// The request is sent once, and never repeated. An error that wraps
	// [ErrUnsettled] leaves open what happened; any other says that nothing did.
	Regenerate(ctx context.Context, which KeyName) error
}

const (
	regenerateLimit = 5 * time.Minute // until the workspace says that it is done
	pollPause       = time.Second     // between looks at an operation, when nothing else is asked for
	pollPauseCap    = 30 * time.Second
)

// Regenerate implements [Regenerator].
func (s *source) Regenerate(ctx context.Context, which KeyName) error {
	switch {
	case s.err != nil:
		return s.err
	case which != PrimaryKey && which != SecondaryKey:
		return fmt.Errorf("there is no key %q: it is %s or %s", string(which), PrimaryKey, SecondaryKey)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, regenerateLimit, fmt.Errorf("not done within %s: %w", regenerateLimit, context.DeadlineExceeded))
	defer cancel()
	at := s.recall(nil).place
	if at.scoring == nil { // where it runs decides which permission is needed
		var err error
		if at, err = s.endpoint.look(ctx); err != nil {
			return err
		}
	}
	return s.endpoint.regenerate(ctx, at, which)
}

// regeneration completes the question that replaces a key.
func (q question) regeneration(which KeyName) question {
	q.method = http.MethodPost
	q.body = `{"keyType":"` + string(which) + `","keyValue":null}`
	q.once = true
	return q
}

func regenerating(which KeyName) string {
	return "regenerating the " + strings.ToLower(string(which)) + " key of"
}

func (s service) regenerate(ctx context.Context, at place, which KeyName) error {
	op := regenerating(which) + " service " + s.name
	base, err := s.w.modelManagement(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	err = s.w.regenerate(ctx, question{
		op: op, url: base + "/services/" + url.PathEscape(s.name) + "/regenerateKeys",
		action: s.action(at, "write"), scope: s.w.id,
	}.regeneration(which), func(header http.Header) (string, error) {
		// Only the last segment means anything: the rest is another spelling of base.
		location := header.Get("Operation-Location")
		id := location[strings.LastIndexByte(location, '/')+1:]
		id, _, _ = strings.Cut(id, "?")
		if err := checkName("operation", id); err != nil {
			return "", err
		}
		return base + "/operations/" + url.PathEscape(id), nil
	})
	s.w.unreachable(err)
	return err
}

func (r resource) regenerate(ctx context.Context, _ place, which KeyName) error {
	q := r.question(regenerating(which), "/regenerateKeys/action")
	q.url = r.address("/regenerateKeys")
	return r.w.regenerate(ctx, q.regeneration(which), func(header http.Header) (string, error) {
		return r.w.ownAddress(header.Get("Location"))
	})
}

func (address) regenerate(context.Context, place, KeyName) error {
	return errors.New("an address has no keys to regenerate")
}

// ownAddress resolves an address that Azure Resource Manager named. The
// identity's token is sent there, so it has to be its own.
func (w *Workspace) ownAddress(location string) (string, error) {
	arm, err := url.Parse(w.arm)
	if err != nil {
		return "", err
	}
	u, err := arm.Parse(location)
	if err != nil || location == "" {
		return "", errors.New("accepted, without an address to ask about it")
	}
	if u.Scheme != arm.Scheme || u.Host != arm.Host || u.User != nil {
		return "", fmt.Errorf("accepted, with an address on another host, %.200q", u.Host)
	}
	return u.String(), nil
}

// regenerate sends q and, if it was only accepted, asks at the address that
// operation reads from the answer's header until it is done.
func (w *Workspace) regenerate(ctx context.Context, q question, operation func(http.Header) (string, error)) error {
	got, err := w.call(ctx, w.send, q)
	if err != nil {
		return unsettled(err)
	}
	if got.status != http.StatusAccepted {
		return nil
	}
	q.url, err = operation(got.header)
	if err != nil {
		return fmt.Errorf("%w: %w", &Error{Op: q.op, Status: got.status, Err: err}, ErrUnsettled)
	}
	q.method, q.body, q.once = http.MethodGet, "", false
	for {
		if err := pause(ctx, got.header); err != nil {
			return fmt.Errorf("%w: %w", &Error{Op: q.op, Err: err}, ErrUnsettled)
		}
		if got, err = w.call(ctx, w.send, q); err != nil {
			return fmt.Errorf("%w: %w", err, ErrUnsettled)
		}
		if done, err := q.progress(got); done || err != nil {
			return err
		}
	}
}

// unsettled marks what does not say that nothing was performed: no answer, or a
// failure on the other side.
func unsettled(err error) error {
	var e, identity *Error
	switch {
	case !errors.As(err, &e), errors.As(e.Err, &identity): // the identity had no token to send
		return err
	case e.Status == 0, e.Status == http.StatusRequestTimeout, e.Status >= 500:
		return fmt.Errorf("%w: %w", err, ErrUnsettled)
	}
	return err
}

// pause waits as long as an answer asks to, a second if it does not.
func pause(ctx context.Context, header http.Header) error {
	wait := pollPause
	if after := retryAfter(header, time.Now()); after > 0 {
		wait = min(after, pollPauseCap)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// progress reads an answer about an operation: a state in the words of model
// management or of Azure Resource Manager, or 202 until it is done.
func (q question) progress(got reply) (done bool, err error) {
	var operation struct {
		State  text `json:"state"`
		Status text `json:"status"`
	}
	if len(got.body) > 0 {
		if err := decode(got.body, &operation); err != nil {
			return false, fmt.Errorf("%w: %w", &Error{Op: q.op, Status: got.status, Err: err}, ErrUnsettled)
		}
	}
	state := string(operation.State)
	if state == "" {
		state = string(operation.Status)
	}
	switch strings.ToLower(state) {
	case "failed", "cancelled", "canceled", "timedout":
		e := &Error{Op: q.op, Status: got.status, Err: fmt.Errorf("the operation ended as %s", tidy(state))}
		e.Code, e.Message = parseError(got.body)
		e.Message = scrubber{got.sent}.clean(e.Message)
		return false, fmt.Errorf("%w: %w", e, ErrUnsettled)
	case "notstarted", "running", "inprogress", "accepted":
		return false, nil
	}
	return got.status != http.StatusAccepted, nil
}
