package authn_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
)

// accessClaims are those of a good access token.
func accessClaims(p *authntest.Provider) map[string]any {
	now := time.Now().Unix()
	return map[string]any{
		"iss": p.Issuer(), "sub": "user-alice", "aud": audience, "exp": now + 3600, "iat": now, "nbf": now,
		"client_id": "web", "scope": "openid models", "groups": []string{"ml-users"},
	}
}

func with(claims map[string]any, name string, value any) map[string]any {
	c := maps.Clone(claims)
	if c[name] = value; value == nil {
		delete(c, name)
	}
	return c
}

func sign(t testing.TB, p *authntest.Provider, claims map[string]any, options ...authntest.SignOption) string {
	t.Helper()
	return must(p.Sign(claims, options...))(t)
}

func authenticate(a authn.Authenticator, token string) (*authn.Identity, error) {
	return a.Authenticate(http.Header{}, request("Authorization", "Bearer "+token))
}

func newBearer(t testing.TB, p *authntest.Provider, alter ...func(*authn.BearerConfig)) *authn.Bearer {
	t.Helper()
	cfg := authn.BearerConfig{Issuers: []authn.Issuer{{URL: p.Issuer(), Audiences: []string{audience}}}}
	for _, a := range alter {
		a(&cfg)
	}
	return must(authn.NewBearer(cfg))(t)
}

func TestBearer(t *testing.T) {
	p := startProvider(t, "https://models.example.com", nil)
	b := newBearer(t, p, func(c *authn.BearerConfig) {
		c.ClientID, c.Claims = "web", func() []string { return []string{"plan", "level", "odd"} }
	})

	t.Run("of a user", func(t *testing.T) {
		id, err := authenticate(b, must(p.AccessToken("web", "alice"))(t))
		if err != nil {
			t.Fatal(err)
		}
		if id.Method != authn.ByBearer || id.Subject != "user-alice" || id.Session != "" || id.Client != "web" || id.Expires.IsZero() ||
			!cmp.Equal(id.Groups, []string{"ml-users", "ml-admins"}) {
			t.Errorf("%+v", id)
		}
	})
	t.Run("of a service", func(t *testing.T) {
		id, err := authenticate(b, must(p.AccessToken("batch-job", ""))(t))
		if err != nil {
			t.Fatal(err)
		}
		if id.Client != "batch-job" || id.Email != "" || !cmp.Equal(id.Groups, []string{"ml-users"}) {
			t.Errorf("%+v", id)
		}
	})
	t.Run("every claim", func(t *testing.T) {
		claims := accessClaims(p)
		maps.Copy(claims, map[string]any{
			"aud": []string{"other", audience}, "tid": "t", "oid": "o", "azp": "app", "name": "Alice", "preferred_username": "al",
			"email": "a@example.com", "xms_edov": "1", "groups": "one", "roles": []any{"r", 7, nil}, "scp": "x y", "scope": []string{"z"},
			"plan": []any{"gold", true, 3, map[string]any{}}, "level": 4.5, "odd": map[string]any{"a": 1}, "auth_time": 1700000000,
		})
		id, err := authenticate(b, sign(t, p, claims))
		if err != nil {
			t.Fatal(err)
		}
		want := &authn.Identity{
			Issuer: p.Issuer(), Subject: "user-alice", Tenant: "t", ObjectID: "o", Client: "app", Name: "Alice", Username: "al",
			Email: "a@example.com", EmailVerified: true, Groups: []string{"one"}, Roles: []string{"r"}, Scopes: []string{"x", "y", "z"},
			Claims: map[string][]string{"plan": {"gold", "true", "3"}, "level": {"4.5"}},
			Method: authn.ByBearer, Time: time.Unix(1700000000, 0), Expires: id.Expires,
		}
		if d := cmp.Diff(want, id, cmpopts.IgnoreUnexported(authn.Identity{})); d != "" {
			t.Error(d)
		}
	})
}

func TestAuthorizationField(t *testing.T) {
	p := startProvider(t, "https://models.example.com", nil)
	b := newBearer(t, p)
	good := sign(t, p, accessClaims(p))
	for _, c := range []struct {
		name      string
		fields    []string
		kind      error // nil: accepted
		malformed bool
	}{
		{"absent", nil, authn.ErrNone, false},
		{"good", []string{"Bearer " + good}, nil, false},
		{"lower case scheme", []string{"bearer " + good}, nil, false},
		{"upper case scheme", []string{"BEARER  " + good + " "}, nil, false},
		{"another scheme", []string{"Basic YTpi"}, authn.ErrNone, false},
		{"another scheme, bearer behind it", []string{"Basic YTpi, Bearer " + good}, authn.ErrNone, false},
		{"two fields, both good", []string{"Bearer " + good, "Bearer " + good}, authn.ErrInvalid, true},
		{"two fields, second good", []string{"Basic YTpi", "Bearer " + good}, authn.ErrInvalid, true},
		{"empty", []string{""}, authn.ErrInvalid, true},
		{"no token", []string{"Bearer"}, authn.ErrInvalid, true},
		{"no token but space", []string{"Bearer  "}, authn.ErrInvalid, true},
		{"tab", []string{"Bearer\t" + good}, authn.ErrInvalid, true},
		{"comma", []string{"Bearer " + good + ", Bearer " + good}, authn.ErrInvalid, true},
		{"quotes", []string{`Bearer "` + good + `"`}, authn.ErrInvalid, true},
		{"padding alone", []string{"Bearer =="}, authn.ErrInvalid, true},
		{"not a JWT", []string{"Bearer abc"}, authn.ErrInvalid, false},
		{"one dot", []string{"Bearer a.b"}, authn.ErrInvalid, false},
		{"JWE", []string{"Bearer eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..a.b.c"}, authn.ErrInvalid, false},
		{"a million dots", []string{"Bearer " + repeated(".", 1<<20)}, authn.ErrInvalid, false},
		{"16 KiB and more", []string{"Bearer " + good + repeated("A", 16<<10)}, authn.ErrInvalid, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := request()
			for _, f := range c.fields {
				r.Header.Add("Authorization", f)
			}
			id, err := b.Authenticate(http.Header{}, r)
			if c.kind == nil {
				if err != nil || id.Subject != "user-alice" {
					t.Errorf("refused: %v", err)
				}
				return
			}
			e := wantError(t, err, c.kind)
			if e.Malformed != c.malformed || e.Bearer != (c.kind == authn.ErrInvalid) || id != nil {
				t.Errorf("%+v", e)
			}
		})
	}
}

func TestBearerRefuses(t *testing.T) {
	p := startProvider(t, "https://models.example.com", nil)
	b := newBearer(t, p, func(c *authn.BearerConfig) { c.ClientID, c.Issuers[0].Audiences = "web", []string{audience, "web"} })
	good, now := accessClaims(p), time.Now().Unix()
	stranger := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	public := must(x509.MarshalPKIXPublicKey(stranger.Public()))(t)
	jwk := jose.JSONWebKey{Key: stranger.Public(), KeyID: "stranger"}
	plain := authntest.WithHeader("typ", "JWT")
	text := string(must(json.Marshal(good))(t))
	raw := func(s string) authntest.SignOption { return authntest.WithPayload([]byte(s)) }
	add := func(s string) authntest.SignOption { return raw(text[:len(text)-1] + "," + s + "}") }
	for _, c := range []struct {
		name    string
		claims  map[string]any
		options []authntest.SignOption
		detail  string
	}{
		{"alg none", good, []authntest.SignOption{authntest.Unsigned()}, "algorithm"},
		{"alg nOnE", good, []authntest.SignOption{authntest.WithHeader("alg", "nOnE")}, "algorithm"},
		{"HMAC with a public key", good, []authntest.SignOption{authntest.WithKey("HS256", public)}, "algorithm"},
		{"a stranger's key under a known kid", good, []authntest.SignOption{authntest.WithKey("ES256", stranger)}, "signature"},
		{"a stranger's key without kid", good, []authntest.SignOption{authntest.WithKey("ES256", stranger), authntest.WithHeader("kid", nil)}, "signature"},
		{"a stranger's key, embedded", good, []authntest.SignOption{
			authntest.WithKey("ES256", stranger), authntest.WithHeader("kid", nil), authntest.WithHeader("jwk", jwk),
		}, "signature"},
		{"a stranger's key, by address", good, []authntest.SignOption{
			authntest.WithKey("ES256", stranger), authntest.WithHeader("kid", "x"),
			authntest.WithHeader("jku", "https://evil.example/keys"), authntest.WithHeader("x5u", "https://evil.example/x"),
		}, "signature"},
		{"kid as a path", good, []authntest.SignOption{authntest.WithKey("ES256", stranger), authntest.WithHeader("kid", "../../dev/null")}, "signature"},
		{"unknown critical header", good, []authntest.SignOption{authntest.WithHeader("crit", []string{"x"}), authntest.WithHeader("x", 1)}, ""},
		{"expired and forged", with(good, "exp", 1), []authntest.SignOption{authntest.WithKey("ES256", stranger)}, "signature"},
		{"issuer unknown", with(good, "iss", "https://evil.example"), nil, `the issuer is "https://evil.example", this proxy trusts "http`},
		{"issuer missing", with(good, "iss", nil), nil, "issuer"},
		{"issuer as a list", with(good, "iss", []string{p.Issuer()}), nil, "issuer"},
		{"issuer with a slash more", with(good, "iss", p.Issuer()+"/"), nil, "issuer"},
		{"expired", with(good, "exp", now-61), nil, "expired"},
		{"no expiry", with(good, "exp", nil), nil, "no expiry"},
		{"expiry null", nil, []authntest.SignOption{raw(strings.Replace(text, `"exp":`, `"exp":null,"x":`, 1))}, "no expiry"},
		{"expiry as text", with(good, "exp", "9999999999"), nil, "no expiry"},
		{"expiry 1e300", with(good, "exp", 1e300), nil, "no expiry"},
		{"expiry negative", with(good, "exp", -1), nil, "no expiry"},
		{"not yet", with(good, "nbf", now+90), nil, "not valid yet"},
		{"nbf as text", with(good, "nbf", "1"), nil, "not valid yet"},
		{"no subject", with(good, "sub", nil), nil, "subject"},
		{"subject empty", with(good, "sub", ""), nil, "subject"},
		{"subject a number", with(good, "sub", 7), nil, "subject"},
		{"subject with a lone surrogate", nil, []authntest.SignOption{raw(strings.Replace(text, "user-alice", `\ud800`, 1))}, "subject"},
		{"audience of another API", with(good, "aud", "api://other"), nil, `the audience is "api://other", this proxy expects "api://models"`},
		{"the proxy's own upstream token", with(good, "aud", "https://ml.azure.com"), nil, `that is a token for Azure itself, which this proxy takes from nobody; get one for "api://models"`},
		{"a token for the resource manager", with(good, "aud", "https://management.azure.com/"), nil, "a token for Azure itself"},
		{"audience with case", with(good, "aud", "API://models"), nil, "audience"},
		{"audience prefix", with(good, "aud", audience+"/x"), nil, "audience"},
		{"audience missing", with(good, "aud", nil), nil, "audience"},
		{"audience empty", with(good, "aud", ""), nil, "audience"},
		{"audience empty list", with(good, "aud", []string{}), nil, "audience"},
		{"audience [null]", with(good, "aud", []any{nil}), nil, "audience"},
		{"audience with null", with(good, "aud", []any{audience, nil}), nil, "audience"},
		{"audience a number", with(good, "aud", 7), nil, "audience"},
		{"audience an object", with(good, "aud", map[string]any{audience: 1}), nil, "audience"},
		{"claim twice", nil, []authntest.SignOption{add(`"sub":"user-bob"`)}, "malformed"},
		{"claim twice, escaped", nil, []authntest.SignOption{add(`"\u0073ub":"user-bob"`)}, "malformed"},
		{"claim twice, nested", nil, []authntest.SignOption{add(`"a":[{"b":1,"b":2}]`)}, "malformed"},
		{"claim in capitals", nil, []authntest.SignOption{add(`"ISS":"https://evil.example"`)}, "malformed"},
		{"claim with a long s", nil, []authntest.SignOption{add(`"iſſ":"https://evil.example"`)}, "malformed"},
		{"expiry in capitals", nil, []authntest.SignOption{add(`"EXP":9999999999`)}, "malformed"},
		{"payload a list", nil, []authntest.SignOption{raw("[" + text + "]")}, "malformed"},
		{"payload null", nil, []authntest.SignOption{raw("null")}, "malformed"},
		{"payload empty", nil, []authntest.SignOption{raw("")}, ""},
		{"two payloads", nil, []authntest.SignOption{raw(text + text)}, "malformed"},
		{"invalid UTF-8", nil, []authntest.SignOption{raw(strings.Replace(text, "alice", "\xff", 1))}, "malformed"},
		{"deep", nil, []authntest.SignOption{add(`"a":` + repeated("[", 5000) + repeated("]", 5000))}, "malformed"},
		{"ID token: nonce", with(good, "nonce", "n"), []authntest.SignOption{plain}, "ID token"},
		{"ID token: at_hash", with(good, "at_hash", "h"), []authntest.SignOption{plain}, "ID token"},
		{"ID token: c_hash", with(good, "c_hash", "h"), []authntest.SignOption{plain}, "ID token"},
		{"ID token: for the client", with(with(with(good, "aud", "web"), "client_id", nil), "scope", nil), []authntest.SignOption{plain}, "ID token"},
		{"ID token: Keycloak", with(good, "typ", "ID"), []authntest.SignOption{plain}, "type"},
		{"logout token", good, []authntest.SignOption{authntest.WithHeader("typ", "logout+jwt")}, "type"},
		{"DPoP proof", good, []authntest.SignOption{authntest.WithHeader("typ", "application/dpop+jwt")}, "type"},
		{"payload not encoded", good, []authntest.SignOption{authntest.WithHeader("b64", true), authntest.WithHeader("crit", []string{"b64"})}, "not a JWT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, err := authenticate(b, sign(t, p, c.claims, c.options...))
			e := wantError(t, err, authn.ErrInvalid)
			if id != nil || !e.Bearer || e.Malformed || !strings.Contains(e.Detail, c.detail) {
				t.Errorf("%+v", e)
			}
		})
	}
	for name, claims := range map[string]map[string]any{
		"good": good, "clock 55 s behind": with(good, "nbf", now+55), "expired within the leeway": with(good, "exp", now-30),
		"expiry as a fraction": with(good, "exp", float64(now)+60.5), "for the client, with scope": with(good, "aud", "web"),
	} {
		if _, err := authenticate(b, sign(t, p, claims, plain)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIDTokenIsNoBearer(t *testing.T) {
	s := newSite(t, siteOptions{})
	idToken := make(chan string, 1)
	s.provider.Misbehave(authntest.AlterJSON(authntest.TokenEndpoint, func(o map[string]any) { idToken <- o["id_token"].(string) }))
	s.signIn(t, s.browser(t), "alice", "/")
	b := newBearer(t, s.provider, func(c *authn.BearerConfig) { c.ClientID, c.Issuers[0].Audiences = "web", []string{"web"} })
	e := wantError(t, second(authenticate(b, <-idToken)), authn.ErrInvalid)
	if e.Detail != "this is an ID token; send an access token" {
		t.Error(e.Detail)
	}
}

func second[T any](_ T, err error) error { return err }

// TestBadBearerIsNotMadeGoodByACookie: nor the other way round.
func TestBadBearerIsNotMadeGoodByACookie(t *testing.T) {
	s := newSite(t, siteOptions{})
	answer := http.Header{}
	if err := s.sessions.Start(answer, request(), &authn.Identity{Issuer: s.provider.Issuer(), Subject: "cookie"}, authn.Tokens{}); err != nil {
		t.Fatal(err)
	}
	both := authn.FirstOf(s.bearer, s.sessions)
	id, err := both.Authenticate(http.Header{}, carry(answer, request("Authorization", "Bearer a.b.c")))
	if wantError(t, err, authn.ErrInvalid); id != nil {
		t.Errorf("%+v", id)
	}
	id, err = both.Authenticate(http.Header{}, carry(answer, request("Authorization", "Bearer "+sign(t, s.provider, accessClaims(s.provider)))))
	if err != nil || id.Subject != "user-alice" {
		t.Errorf("%v %v", id, err)
	}
	id, err = both.Authenticate(http.Header{}, carry(answer, request("Authorization", "Basic YTpi")))
	if err != nil || id.Subject != "cookie" {
		t.Errorf("%v %v", id, err)
	}
}

// TestTokenOfOneIssuerIsNotTakenFromAnother: claims choose whose keys to ask, and
// no others are.
func TestTokenOfOneIssuerIsNotTakenFromAnother(t *testing.T) {
	p, q := startProvider(t, "https://models.example.com", nil), startProvider(t, "https://models.example.com", nil)
	b := newBearer(t, p, func(c *authn.BearerConfig) {
		c.Issuers = append(c.Issuers, authn.Issuer{URL: q.Issuer(), Audiences: []string{"api://other"}})
	})
	if _, err := authenticate(b, sign(t, p, accessClaims(p))); err != nil {
		t.Error(err)
	}
	wantError(t, second(authenticate(b, sign(t, q, accessClaims(q)))), authn.ErrInvalid) // the other's audience
	wantError(t, second(authenticate(b, sign(t, q, accessClaims(p)))), authn.ErrInvalid) // the other's key
	if _, err := authenticate(b, sign(t, q, with(accessClaims(q), "aud", "api://other"))); err != nil {
		t.Error(err)
	}
}

func TestIdentityStaysWhatTheTokenSays(t *testing.T) {
	p := startProvider(t, "https://models.example.com", nil)
	plan := func(c *authn.BearerConfig) { c.Claims = func() []string { return []string{"plan"} } }
	b := newBearer(t, p, plan)
	token := sign(t, p, with(accessClaims(p), "plan", []string{"free"}))
	want := must(authenticate(newBearer(t, p, plan), token))(t)
	for range 3 {
		id := must(authenticate(b, token))(t)
		if d := cmp.Diff(want, id, cmpopts.IgnoreUnexported(authn.Identity{})); d != "" {
			t.Fatal(d)
		}
	}
}

func TestATokenIsVerifiedOnce(t *testing.T) {
	p := startProvider(t, "https://models.example.com", nil)
	var verified atomic.Int64
	b := newBearer(t, p, func(c *authn.BearerConfig) {
		c.Observe = func(e authn.Event) {
			if e == (authn.Event{Kind: authn.TokenVerified, Outcome: authn.OK}) {
				verified.Add(1)
			}
		}
	})
	const tokens, times = 20, 50
	var all sync.WaitGroup
	for i := range tokens {
		token := sign(t, p, with(accessClaims(p), "jti", i))
		for range times {
			all.Go(func() {
				if _, err := authenticate(b, token); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	if n := verified.Load(); n != tokens {
		t.Errorf("%d tokens, each brought %d times at once, were verified %d times", tokens, times, n)
	}
}

// TestALeaverTakesNobodyAlong has somebody leave while the provider is waited for.
func TestALeaverTakesNobodyAlong(t *testing.T) {
	p := startProvider(t, "https://models.example.com", nil)
	b := newBearer(t, p)
	token := sign(t, p, accessClaims(p))
	ctx, leave := context.WithCancel(t.Context())
	leave()
	gone := request("Authorization", "Bearer "+token).WithContext(ctx)
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			if _, err := b.Authenticate(http.Header{}, gone); err != nil && !errors.Is(err, authn.ErrUnavailable) {
				t.Error(err)
			}
		})
		all.Go(func() {
			if _, err := authenticate(b, token); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// A token that is being verified when the rules change is verified again for whoever
// brings it under the new ones: an identity without the claim that a ban names would
// pass it.
func TestWhoComesUnderOtherRulesSharesNoVerification(t *testing.T) {
	p := startProvider(t, "https://models.example.com", nil)
	rules := atomic.Pointer[string]{}
	rules.Store(new(string))
	asked, goOn := make(chan struct{}), make(chan struct{})
	var entered atomic.Bool
	b := newBearer(t, p, func(c *authn.BearerConfig) {
		c.Vocabulary = func() string { return *rules.Load() }
		c.Claims = func() []string {
			said := *rules.Load()
			if entered.CompareAndSwap(false, true) {
				close(asked)
				<-goOn
			}
			return []string{said}
		}
	})
	token := sign(t, p, with(accessClaims(p), "dept", "banned"))
	var before sync.WaitGroup
	before.Go(func() { _, _ = authenticate(b, token) })
	<-asked
	now := "dept"
	rules.Store(&now)
	after := make(chan *authn.Identity, 1)
	go func() {
		id, _ := authenticate(b, token)
		after <- id
	}()
	select { // it must not wait for the other one
	case id := <-after:
		if id == nil || !cmp.Equal(id.Claims["dept"], []string{"banned"}) {
			t.Errorf("the new rules see %+v", id)
		}
	case <-time.After(10 * time.Second):
		t.Error("it joined a verification under the old rules")
	}
	close(goOn)
	before.Wait()
}

func TestNewBearerRefuses(t *testing.T) {
	good := authn.Issuer{URL: "https://idp.example", Audiences: []string{audience}}
	for name, issuers := range map[string][]authn.Issuer{
		"no issuer":      nil,
		"no audience":    {{URL: good.URL}},
		"empty audience": {{URL: good.URL, Audiences: []string{""}}},
		"no address":     {{Audiences: good.Audiences}},
		"ftp":            {{URL: "ftp://idp.example", Audiences: good.Audiences}},
		"query":          {{URL: "https://idp.example?x", Audiences: good.Audiences}},
		"password":       {{URL: "https://u:p@idp.example", Audiences: good.Audiences}},
		"twice":          {good, good},
		"algorithm none": {{URL: good.URL, Audiences: good.Audiences, Algorithms: []string{"none"}}},
		"HMAC":           {{URL: good.URL, Audiences: good.Audiences, Algorithms: []string{"RS256", "HS256"}}},
		"every tenant":   {{URL: "https://login.microsoftonline.com/organizations/v2.0", Audiences: good.Audiences}},
		"no scheme":      {{URL: "login.microsoftonline.com", Audiences: good.Audiences}},
		"another case":   {{URL: "HTTPS://login.microsoftonline.com/common/v2.0", Audiences: good.Audiences}},
		"a query":        {{URL: "https://login.microsoftonline.com/common/v2.0?", Audiences: good.Audiences}},
		"a fragment":     {{URL: "https://login.microsoftonline.com/common/v2.0#", Audiences: good.Audiences}},
	} {
		if b, err := authn.NewBearer(authn.BearerConfig{Issuers: issuers}); err == nil || b != nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
