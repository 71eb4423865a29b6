package authntest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"amlproxy/authn/authntest"
)

func (p *party) get(t *testing.T, path string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.provider.Issuer()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p.browser.Do(r)
}

func TestFaultsBefallOneEndpointUntilUndone(t *testing.T) {
	p := newParty(t)
	before := p.provider.Calls(authntest.Keys)
	undo := p.provider.Misbehave(authntest.Refuse(authntest.Keys))
	if r, err := p.get(t, "/keys"); err == nil {
		body(t, r)
		t.Errorf("keys: %s", r.Status)
	}
	if r, err := p.get(t, "/.well-known/openid-configuration"); err != nil {
		t.Error(err)
	} else {
		body(t, r)
	}
	undo()
	undo()
	r, err := p.get(t, "/keys")
	if err != nil {
		t.Fatal(err)
	}
	body(t, r)
	// http.Transport sends a GET again when a kept connection is cut.
	if got := p.provider.Calls(authntest.Keys) - before; got < 2 || r.StatusCode != http.StatusOK {
		t.Errorf("%d calls, the last %s", got, r.Status)
	}
}

func TestFaultsCountAndAddUp(t *testing.T) {
	p := newParty(t)
	p.provider.Misbehave(authntest.Status(authntest.Any, http.StatusServiceUnavailable, "").Times(3))
	p.provider.Misbehave(authntest.Status(authntest.UserInfo, http.StatusTooManyRequests, "slow_down").Times(1))
	before := p.provider.Calls(authntest.Any)
	for i, want := range []int{429, 503, 503, 401} {
		r, err := p.get(t, "/userinfo")
		if err != nil {
			t.Fatal(err)
		}
		text := body(t, r)
		if r.StatusCode != want || want == 429 && !strings.Contains(text, `"slow_down"`) {
			t.Errorf("call %d: %s, want %d: %s", i, r.Status, want, text)
		}
	}
	if got := p.provider.Calls(authntest.Any) - before; got != 4 {
		t.Errorf("%d calls", got)
	}
}

// arriving closes arrived when one call comes in.
func arriving(e authntest.Endpoint, arrived chan<- struct{}) authntest.Fault {
	return authntest.Wrap(e, func(next http.Handler) http.Handler {
		close(arrived)
		return next
	}).Times(1)
}

func TestHangEndsWithTheCallerOrTheProvider(t *testing.T) {
	p := newParty(t)
	p.provider.Misbehave(authntest.Hang(authntest.TokenEndpoint))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.provider.Issuer()+"/oauth/token", strings.NewReader("grant_type=x"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.browser.Do(r); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
	arrived := make(chan struct{})
	p.provider.Misbehave(arriving(authntest.TokenEndpoint, arrived))
	done := make(chan error, 1)
	go func() {
		r, err := p.browser.PostForm(p.provider.Issuer()+"/oauth/token", nil)
		if err == nil {
			r.Body.Close()
		}
		done <- err
	}()
	<-arrived
	if err := p.provider.Close(); err != nil {
		t.Error(err)
	}
	if err := <-done; err == nil {
		t.Error("an answer after all")
	}
}

func TestHoldAndTrickle(t *testing.T) {
	p := newParty(t)
	release := make(chan struct{})
	p.provider.Misbehave(authntest.Hold(authntest.Keys, release))
	p.provider.Misbehave(authntest.Trickle(authntest.Keys, time.Microsecond))
	p.provider.Misbehave(authntest.Delay(authntest.Keys, time.Millisecond))
	arrived := make(chan struct{})
	p.provider.Misbehave(arriving(authntest.Keys, arrived))
	done := make(chan string, 1)
	go func() {
		r, err := p.browser.Get(p.provider.Issuer() + "/keys")
		if err != nil {
			done <- err.Error()
			return
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			done <- err.Error()
			return
		}
		done <- string(b)
	}()
	<-arrived
	select {
	case text := <-done:
		t.Errorf("an answer too early: %s", text)
	default:
	}
	close(release)
	if text := <-done; !strings.Contains(text, `"keys"`) {
		t.Errorf("answer is %s", text)
	}
}

func TestAlteredAnswers(t *testing.T) {
	p := newParty(t)
	p.provider.Misbehave(authntest.AlterJSON(authntest.Discovery, func(d map[string]any) { d["issuer"] = "https://evil.example" }))
	if _, err := oidc.NewProvider(p.context(t), p.provider.Issuer()); err == nil {
		t.Error("the discovery document is of the right issuer")
	}
	token, err := p.provider.AccessToken("web", "alice")
	if err != nil {
		t.Fatal(err)
	}
	p.provider.Misbehave(authntest.AlterJSON(authntest.UserInfo, func(u map[string]any) { u["sub"] = "mallory" }))
	if _, info := p.userinfo(t, token); info["sub"] != "mallory" {
		t.Errorf("userinfo is %v", info)
	}
	p.provider.Misbehave(authntest.Body(authntest.Keys, "application/json", []byte(`{"keys":[]}`)))
	r, err := p.get(t, "/keys")
	if err != nil {
		t.Fatal(err)
	}
	if text := body(t, r); text != `{"keys":[]}` {
		t.Errorf("keys are %s", text)
	}
}

func TestAlteredResponse(t *testing.T) {
	for name, c := range map[string]struct {
		alter func(url.Values)
		want  []string
	}{
		"wrong iss": {func(v url.Values) { v.Set("iss", "https://evil.example") }, []string{"https://evil.example"}},
		"no iss":    {func(v url.Values) { v.Del("iss") }, nil},
		"two iss":   {func(v url.Values) { v.Add("iss", "https://evil.example") }, []string{"", "https://evil.example"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newParty(t)
			p.provider.Misbehave(authntest.AlterResponse(c.alter).Times(1))
			got := p.signIn(t)["iss"]
			if len(c.want) == 2 {
				c.want[0] = p.provider.Issuer()
			}
			if strings.Join(got, " ") != strings.Join(c.want, " ") {
				t.Errorf("iss is %q, want %q", got, c.want)
			}
			if got := p.signIn(t).Get("iss"); got != p.provider.Issuer() {
				t.Errorf("iss is %q the second time", got)
			}
		})
	}
}

func TestAlteredIDTokens(t *testing.T) {
	for name, c := range map[string]struct {
		alter func(*authntest.Token)
		want  func(header, claims map[string]any) bool
	}{
		"wrong nonce": {func(t *authntest.Token) { t.Claims["nonce"] = "other" }, func(_, c map[string]any) bool { return c["nonce"] == "other" }},
		"wrong aud":   {func(t *authntest.Token) { t.Claims["aud"] = "other" }, func(_, c map[string]any) bool { return c["aud"] == "other" }},
		"no iat":      {func(t *authntest.Token) { delete(t.Claims, "iat") }, func(_, c map[string]any) bool { return c["iat"] == nil }},
		"alg none":    {func(t *authntest.Token) { t.Header["alg"] = "none" }, func(h, _ map[string]any) bool { return h["alg"] == "none" }},
		"as it is":    {func(*authntest.Token) {}, func(h, c map[string]any) bool { return h["typ"] == "JWT" && c["aud"] == "web" }},
	} {
		t.Run(name, func(t *testing.T) {
			p := newParty(t)
			p.provider.Misbehave(authntest.AlterIDToken(c.alter))
			tokens, err := p.oauth2.Exchange(p.context(t), p.signIn(t).Get("code"))
			if err != nil {
				t.Fatal(err)
			}
			raw, _ := tokens.Extra("id_token").(string)
			claims, err := authntest.Claims(raw)
			if err != nil {
				t.Fatal(err)
			}
			if !c.want(header(t, raw), claims) {
				t.Errorf("header %v, claims %v", header(t, raw), claims)
			}
		})
	}
}

func TestAlteredAccessTokens(t *testing.T) {
	p := newParty(t)
	p.provider.Misbehave(authntest.AlterAccessToken(func(t *authntest.Token) { t.Claims["aud"] = "other" }))
	tokens, err := p.oauth2.Exchange(p.context(t), p.signIn(t).Get("code"))
	if err != nil {
		t.Fatal(err)
	}
	p.verified(t, tokens.AccessToken, "other")
}
