package azureml

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"amlproxy/internal/secret"
)

const (
	expiryMargin = 5 * time.Minute  // before expiry a token is renewed, when Entra says nothing else
	renewPause   = 30 * time.Second // after a failed renewal, while the held token is valid
)

// tokens is the proxy's identity: an [azcore.TokenCredential] that keeps one
// token for each scope. azidentity's own credentials keep theirs, except that the
// default chain starts one az process for each call, and that none can be told
// that a token was rejected.
//
// While a valid token is held nobody waits but the one who renews it; without
// one, everybody waits for one fetch, each on his own context.
type tokens struct {
	make    func() (getToken, error)
	remake  bool // whether a credential without memory can be made for a rejected token
	limit   time.Duration
	scrub   scrubber
	flights *flights

	mu   sync.Mutex
	ask  getToken
	held map[string]*heldToken
}

// An entraToken is a token of Entra ID.
type entraToken struct {
	value   secret.Value
	expires time.Time
	due     time.Time // from when on it should be renewed
}

func (t entraToken) valid(now time.Time) bool { return !t.value.IsZero() && now.Before(t.expires) }

// heldToken is the token of one scope. All of it is guarded by tokens.mu.
type heldToken struct {
	entraToken
	flight    *flight[entraToken]
	notBefore time.Time // after a failed renewal
}

func newTokens(cfg Config, options policy.ClientOptions, flights *flights) (*tokens, error) {
	if err := cfg.Identity.check(cfg.Prompt); err != nil {
		return nil, err
	}
	t := &tokens{
		make:    cfg.maker(options),
		remake:  cfg.Identity.Login == "",
		limit:   silentLimit,
		scrub:   scrubber{cfg.Identity.ClientSecret, cfg.Identity.CertPassword},
		flights: flights,
		held:    map[string]*heldToken{},
	}
	if cfg.Identity.Login != "" {
		t.limit = signInLimit
	}
	var err error
	t.ask, err = t.make() // now, so that a mistake is found at start
	return t, err
}

// become takes over another identity's proof. What is held stays in use: a token
// outlives the secret that it was issued for.
func (t *tokens) become(cfg Config, options policy.ClientOptions) error {
	if err := cfg.Identity.check(cfg.Prompt); err != nil {
		return err
	}
	maker := cfg.maker(options)
	ask, err := maker()
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.make, t.ask = maker, ask
	t.scrub = append(slices.Clone(t.scrub), cfg.Identity.ClientSecret) // an error may still quote the one before
	for _, h := range t.held {
		h.notBefore = time.Time{} // what failed may work now
	}
	return nil
}

// GetToken implements [azcore.TokenCredential] for azcore's pipelines. A renewal
// that failed is no error while the held token is valid.
func (t *tokens) GetToken(ctx context.Context, opts policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := t.get(ctx, opts, secret.Value{})
	if token.value.IsZero() {
		return azcore.AccessToken{}, err
	}
	return azcore.AccessToken{Token: token.value.Reveal(), ExpiresOn: token.expires, RefreshOn: token.due}, nil
}

// get returns a token that is not the rejected one, if another can be had. When
// a renewal failed but the held token is valid, it returns that token and the
// error.
func (t *tokens) get(ctx context.Context, opts policy.TokenRequestOptions, rejected secret.Value) (entraToken, error) {
	t.mu.Lock()
	h := t.entry(opts)
	now := time.Now()
	// Claims are Entra's answer to a token that it revoked: what is held is no use.
	refused := opts.Claims != "" || (!rejected.IsZero() && rejected.Equal(h.value))
	valid := h.valid(now) && !refused
	if valid && (now.Before(h.due) || h.flight != nil || now.Before(h.notBefore)) {
		defer t.mu.Unlock()
		return h.entraToken, nil
	}
	if h.flight == nil {
		t.start(h, opts, refused)
	}
	f, before := h.flight, h.entraToken
	t.mu.Unlock()

	token, err := f.wait(ctx)
	if err != nil && valid {
		return before, err
	}
	return token, err
}

// entry returns what is held for opts. mu is held.
func (t *tokens) entry(opts policy.TokenRequestOptions) *heldToken {
	key := strings.Join(append([]string{opts.TenantID}, opts.Scopes...), " ")
	if opts.EnableCAE {
		key += " cae" // such a token lives longer, because it can be revoked
	}
	h := t.held[key]
	if h == nil {
		h = &heldToken{}
		t.held[key] = h
	}
	return h
}

// start fetches a token. mu is held.
func (t *tokens) start(h *heldToken, opts policy.TokenRequestOptions, refused bool) {
	var rejected secret.Value
	if refused && opts.Claims == "" && t.remake {
		rejected = h.value
	}
	h.flight = launch(t.flights, t.limit, func(ctx context.Context) (entraToken, error) {
		return t.fetch(ctx, opts, rejected)
	}, func(token entraToken, err error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		h.flight = nil
		if err != nil {
			h.notBefore = time.Now().Add(renewPause)
			return
		}
		h.entraToken, h.notBefore = token, time.Time{}
		if now := time.Now(); !now.Before(token.due) {
			h.notBefore = now.Add(renewPause) // the source keeps its tokens longer than it says
		}
	})
}

// fetch asks Entra ID, for a token other than the rejected one, if there is one.
func (t *tokens) fetch(ctx context.Context, opts policy.TokenRequestOptions, rejected secret.Value) (entraToken, error) {
	ask, err := t.credential(!rejected.IsZero())
	if err != nil {
		return entraToken{}, t.failed(err)
	}
	answer, err := ask(ctx, opts)
	if err == nil && !rejected.IsZero() && rejected.Equal(secret.New(answer.Token)) {
		// All managed identities of a process share one cache; claims go past it.
		opts.Claims = "{}"
		if another, err := ask(ctx, opts); err == nil {
			answer = another
		}
	}
	if err != nil {
		return entraToken{}, t.failed(err)
	}
	now := time.Now()
	token := entraToken{value: secret.New(answer.Token), expires: answer.ExpiresOn, due: answer.RefreshOn}
	if !token.valid(now) {
		return entraToken{}, t.failed(errors.New("it issued an empty or an expired token: is this machine's clock right?"))
	}
	if token.due.IsZero() {
		token.due = token.expires.Add(-min(expiryMargin, token.expires.Sub(now)/10))
	}
	return token, nil
}

// credential returns what to ask, made anew if need be.
func (t *tokens) credential(anew bool) (getToken, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !anew {
		return t.ask, nil
	}
	ask, err := t.make()
	if err == nil {
		t.ask = ask
	}
	return ask, err
}
