package authn_test

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
	"amlproxy/internal/secret"
)

// revocations collects what is sent to the revocation endpoint of w's provider.
type revocations struct {
	mu  sync.Mutex
	all []url.Values
}

func (r *revocations) of(p *authntest.Provider) *revocations {
	p.Misbehave(authntest.Wrap(authntest.Revocation, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			body, _ := io.ReadAll(req.Body)
			form, _ := url.ParseQuery(string(body))
			r.mu.Lock()
			r.all = append(r.all, form)
			r.mu.Unlock()
			req.Body = io.NopCloser(strings.NewReader(string(body)))
			next.ServeHTTP(w, req)
		})
	}))
	return r
}

func (r *revocations) tokens() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, form := range r.all {
		all = append(all, form.Get("token_type_hint")+" "+form.Get("token"))
	}
	return all
}

// TestSigningOutRevokesTheRefreshToken: RFC 7009. The session is over whatever the
// provider says to that, and nobody waits for it.
func TestSigningOutRevokesTheRefreshToken(t *testing.T) {
	w := newWorld(t, 1)
	sent := new(revocations).of(w.provider)
	w.signIn(t)
	r := w.cookies(t)
	answer := must(w.browser.Get(partyURL + "/oauth2/sign_out"))(t)
	_ = answer.Body.Close()
	eventually(t, "it is revoked", func() bool { return len(sent.tokens()) == 1 })
	if token := sent.tokens()[0]; len(token) < len("refresh_token ")+10 {
		t.Errorf("sent %q", token)
	}
	for _, got := range ask(w.replicas[0].sessions, r, 2)() {
		wantError(t, got.err, authn.ErrInvalid)
	}
}

// TestRevocationHoldsNobody: a provider that hangs, fails or has no such endpoint.
func TestRevocationHoldsNobody(t *testing.T) {
	for name, fault := range map[string]authntest.Fault{
		"hangs": authntest.Hang(authntest.Revocation),
		"fails": authntest.Status(authntest.Revocation, 503, "temporarily_unavailable"),
		"has none": authntest.AlterJSON(authntest.Discovery, func(m map[string]any) {
			delete(m, "revocation_endpoint")
		}),
		"is sent elsewhere": authntest.Answer(authntest.Revocation, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example/", http.StatusTemporaryRedirect)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 1)
			undo := w.provider.Misbehave(fault)
			defer undo()
			w.signIn(t)
			r := w.cookies(t)
			for range 3 {
				answer := must(w.browser.Get(partyURL + "/oauth2/sign_out"))(t)
				_ = answer.Body.Close()
				if answer.StatusCode != http.StatusOK {
					t.Errorf("answer %s at %s", answer.Status, answer.Request.URL)
				}
			}
			wantError(t, second(w.replicas[0].sessions.Authenticate(nil, r)), authn.ErrInvalid)
		})
	}
}

// TestSigningOutEverywhereRevokes what Redis knows of all of a person's sessions.
func TestSigningOutEverywhereRevokes(t *testing.T) {
	w := newWorld(t, 2, startRedis(t).shared(t))
	sent := new(revocations).of(w.provider)
	var all []*http.Request
	for range 3 {
		w.browser = w.newBrowser(t)
		w.signIn(t)
		all = append(all, w.cookies(t))
	}
	if got := must(w.browser.Get(partyURL + "/oauth2/sign_out?everywhere=1"))(t); got.StatusCode != http.StatusBadRequest {
		t.Errorf("by a link: %s", got.Status)
	}
	w.turn = 1
	answer := must(w.browser.Post(partyURL+"/oauth2/sign_out?everywhere=1", "", nil))(t)
	page := text(t, answer)
	to := strings.TrimPrefix(answer.Header.Get("Refresh"), "0; url=")
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(to, w.provider.Issuer()+"/end_session?") || !strings.Contains(page, "<a href=") {
		t.Errorf("%s to %q: %s", answer.Status, to, page)
	}
	for _, s := range w.replicas {
		for _, r := range all {
			wantError(t, second(s.sessions.Authenticate(nil, r)), authn.ErrInvalid)
		}
	}
	eventually(t, "they are revoked", func() bool { return len(sent.tokens()) == 3 })
	tokens := sent.tokens()
	slices.Sort(tokens)
	if len(slices.Compact(tokens)) != 3 {
		t.Error("one of them twice")
	}
}

// TestRevocationsAreBounded: whoever signs in and out all the time does not pile up
// calls at a provider that hangs.
func TestRevocationsAreBounded(t *testing.T) {
	w := newWorld(t, 1)
	release := make(chan struct{})
	defer close(release)
	w.provider.Misbehave(authntest.Hold(authntest.Revocation, release))
	who := &authn.Identity{Issuer: w.provider.Issuer(), Subject: "user-alice"}
	for i := range 40 {
		answer := http.Header{}
		if err := w.replicas[0].sessions.Start(answer, request(), who, authn.Tokens{Refresh: secret.New(repeated("r", i+1))}); err != nil {
			t.Fatal(err)
		}
		r := carry(answer, request())
		r.URL.Path = "/oauth2/sign_out"
		got := must(inMemory{w.replicas[0]}.RoundTrip(r))(t)
		if got.StatusCode != http.StatusSeeOther {
			t.Fatal(got.Status)
		}
	}
	eventually(t, "some are under way", func() bool { return w.provider.Calls(authntest.Revocation) > 0 })
	if got := w.provider.Calls(authntest.Revocation); got > 16 {
		t.Errorf("%d at once", got)
	}
}
