package authn_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

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
	b := newBearer(t, p, func(c *authn.BearerConfig) { c.ClientID, c.Claims = "web", []string{"plan", "level", "odd"} })

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
		if d := cmp.Diff(want, id); d != "" {
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
		{"issuer unknown", with(good, "iss", "https://evil.example"), nil, "issuer"},
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
		{"audience of another API", with(good, "aud", "https://management.azure.com/"), nil, `the audience is "https://management.azure.com/", this proxy expects "api://models"`},
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
	if err := s.sessions.Start(answer, request(), &authn.Identity{Issuer: "i", Subject: "cookie"}); err != nil {
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

func TestIdentityOfOneRequestIsNotAnothers(t *testing.T) {
	p := startProvider(t, "https://models.example.com", nil)
	b := newBearer(t, p, func(c *authn.BearerConfig) { c.Claims = []string{"plan"} })
	token := sign(t, p, with(accessClaims(p), "plan", []string{"free"}))
	untouched := newBearer(t, p, func(c *authn.BearerConfig) { c.Claims = []string{"plan"} })
	want := must(authenticate(untouched, token))(t)
	for range 3 {
		id, err := authenticate(b, token)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, id); d != "" {
			t.Fatal(d)
		}
		id.Groups[0], id.Scopes[0], id.Claims["plan"][0], id.Claims["x"] = "ml-admins", "all", "gold", []string{"y"}
	}
}

// TestUnknownKeyFlood: 200 tokens with made-up kids fetch the keys at most twice,
// and hold up nobody whose key is known.
func TestUnknownKeyFlood(t *testing.T) {
	p := startProvider(t, "https://models.example.com", nil)
	b := newBearer(t, p)
	good := sign(t, p, accessClaims(p))
	if _, err := authenticate(b, good); err != nil {
		t.Fatal(err)
	}
	before := p.Calls(authntest.Keys)
	var all sync.WaitGroup
	for i := range 200 {
		token := sign(t, p, accessClaims(p), authntest.WithHeader("kid", fmt.Sprint("made-up-", i)))
		all.Go(func() { wantError(t, second(authenticate(b, token)), authn.ErrInvalid) })
	}
	all.Wait()
	if n := p.Calls(authntest.Keys) - before; n > 2 {
		t.Errorf("%d fetches", n)
	}
	if _, err := authenticate(b, sign(t, p, with(accessClaims(p), "jti", "new"))); err != nil {
		t.Error(err)
	}
}

func TestRotatedKeyIsFetchedOnce(t *testing.T) {
	p := startProvider(t, "https://models.example.com", nil)
	b := newBearer(t, p)
	if _, err := authenticate(b, sign(t, p, accessClaims(p))); err != nil {
		t.Fatal(err)
	}
	before := p.Calls(authntest.Keys)
	old := sign(t, p, with(accessClaims(p), "jti", "old"))
	must(p.RotateKey())(t)
	var all sync.WaitGroup
	for i := range 50 {
		token := sign(t, p, with(accessClaims(p), "jti", i))
		all.Go(func() {
			if _, err := authenticate(b, token); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if _, err := authenticate(b, old); err != nil {
		t.Error(err)
	}
	if n := p.Calls(authntest.Keys) - before; n != 1 {
		t.Errorf("%d fetches", n)
	}
}

// TestUnusableKeysAreSkipped: one key of a kind we do not know, or a broken one,
// must not refuse every login; a symmetric one must not verify anything.
func TestUnusableKeysAreSkipped(t *testing.T) {
	p := startProvider(t, "https://models.example.com", nil)
	secretKey := []byte(repeated("k", 32))
	weak := must(rsa.GenerateKey(rand.Reader, 1024))(t)
	var weakJWK map[string]any
	if err := json.Unmarshal(must(json.Marshal(jose.JSONWebKey{Key: weak.Public(), KeyID: "weak"}))(t), &weakJWK); err != nil {
		t.Fatal(err)
	}
	p.Misbehave(authntest.AlterJSON(authntest.Keys, func(o map[string]any) {
		o["keys"] = append([]any{
			map[string]any{"kty": "AKP", "alg": "ML-DSA-65", "kid": "a", "pub": "AAAA"},
			map[string]any{"kty": "OKP", "crv": "X448", "kid": "b", "x": "AAAA"},
			map[string]any{"kty": "EC", "crv": "P-256", "kid": "c", "x": "AAAA", "y": "!"},
			map[string]any{"kty": "RSA", "kid": "d", "n": 7},
			map[string]any{"kty": "RSA", "kid": "e", "n": "AQAB", "e": "AQAB"},
			map[string]any{"kty": "oct", "kid": "f", "k": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s"},
			map[string]any{},
			"key", nil, 7,
		}, o["keys"].([]any)...)
	}))
	b := newBearer(t, p)
	if _, err := authenticate(b, sign(t, p, accessClaims(p))); err != nil {
		t.Error(err)
	}
	wantError(t, second(authenticate(b, sign(t, p, accessClaims(p), authntest.WithKey("HS256", secretKey), authntest.WithHeader("kid", "f")))), authn.ErrInvalid)
	// RFC 7518 section 3.3: 2048 bits or more.
	wantError(t, second(authenticate(b, sign(t, p, accessClaims(p), authntest.WithKey("RS256", weak), authntest.WithHeader("kid", "weak")))), authn.ErrInvalid)
}

// TestKeysDown: without keys nobody can say whether a token is good; with keys
// once fetched, the provider may be gone, and a forgery is still a forgery.
func TestKeysDown(t *testing.T) {
	for name, fault := range map[string]authntest.Fault{
		"refused":     authntest.Refuse(authntest.Keys),
		"500":         authntest.Status(authntest.Keys, 500, ""),
		"2 MiB":       authntest.Body(authntest.Keys, "application/json", []byte(`{"keys":[]}`+repeated(" ", 2<<20))),
		"not JSON":    authntest.Body(authntest.Keys, "text/html", []byte("<html>")),
		"no keys":     authntest.Body(authntest.Keys, "application/json", []byte(`{"keys":[]}`)),
		"not a set":   authntest.Body(authntest.Keys, "application/json", []byte(`[]`)),
		"step to ftp": authntest.AlterJSON(authntest.Discovery, func(o map[string]any) { o["jwks_uri"] = "ftp://127.0.0.1/keys" }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startProvider(t, "https://models.example.com", nil)
			b := newBearer(t, p)
			good := sign(t, p, accessClaims(p))
			undo := p.Misbehave(fault)
			for range 10 {
				if e := wantError(t, second(authenticate(b, good)), authn.ErrUnavailable); !e.Bearer {
					t.Errorf("%+v", e)
				}
			}
			undo()
			eventually(t, "tokens are accepted again", func() bool { return second(authenticate(b, good)) == nil })

			p.Misbehave(authntest.Refuse(authntest.Any))
			if _, err := authenticate(b, sign(t, p, with(accessClaims(p), "jti", "2"))); err != nil {
				t.Errorf("the keys held were lost: %v", err)
			}
			stranger := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
			forged := sign(t, p, accessClaims(p), authntest.WithKey("ES256", stranger))
			wantError(t, second(authenticate(b, forged)), authn.ErrInvalid)
			unknown := sign(t, p, accessClaims(p), authntest.WithHeader("kid", "new"))
			wantError(t, second(authenticate(b, unknown)), authn.ErrUnavailable)
		})
	}
}

// TestHungKeysHoldNobodyElse: who waits for keys waits on their own context.
func TestHungKeysHoldNobodyElse(t *testing.T) {
	p := startProvider(t, "https://models.example.com", nil)
	b := newBearer(t, p)
	known := sign(t, p, accessClaims(p))
	if _, err := authenticate(b, known); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	p.Misbehave(authntest.Hold(authntest.Keys, release))
	must(p.RotateKey())(t)
	before := p.Calls(authntest.Keys)
	rotated := sign(t, p, accessClaims(p))
	ctx, cancel := context.WithCancel(t.Context())
	waiting, leaving := make(chan error, 1), make(chan error, 1)
	go func() {
		leaving <- second(b.Authenticate(http.Header{}, request("Authorization", "Bearer "+rotated).WithContext(ctx)))
	}()
	eventually(t, "the keys are asked for", func() bool { return p.Calls(authntest.Keys) > before })
	go func() { waiting <- second(authenticate(b, rotated)) }()
	if _, err := authenticate(b, known); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-leaving; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(release)
	if err := <-waiting; err != nil {
		t.Error(err)
	}
}

// TestRedirectedKeysAreNotFollowed: keys come from where discovery says, over the
// connection that vouches for them.
func TestRedirectedKeysAreNotFollowed(t *testing.T) {
	p, evil := startProvider(t, "https://models.example.com", nil), startProvider(t, "https://models.example.com", nil)
	p.Misbehave(authntest.Answer(authntest.Keys, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, evil.Issuer()+"/keys", http.StatusTemporaryRedirect)
	}))
	wantError(t, second(authenticate(newBearer(t, p), sign(t, evil, accessClaims(p)))), authn.ErrUnavailable)
	if evil.Calls(authntest.Keys) > 0 {
		t.Error("the redirect was followed")
	}
}

// TestSlowProviders: every call ends after 15 s, also when the answer is begun and
// then trickles in or stops, and the next one starts afresh.
func TestSlowProviders(t *testing.T) {
	for _, path := range []string{"/keys", "/.well-known/openid-configuration"} {
		for name, misbehave := range map[string]func(http.ResponseWriter, *http.Request){
			"silence":    func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			"half a set": func(w http.ResponseWriter, r *http.Request) { flush(w, `{"keys":[`); <-r.Context().Done() },
			"trickle": func(w http.ResponseWriter, r *http.Request) {
				for r.Context().Err() == nil {
					flush(w, " ")
					time.Sleep(200 * time.Millisecond)
				}
			},
		} {
			t.Run(path+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					idp := newIssuer(t, "http://idp.example")
					var slow atomic.Bool
					slow.Store(true)
					transport := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if slow.Load() && r.URL.Path == path {
							misbehave(w, r)
							return
						}
						idp.ServeHTTP(w, r)
					}))
					b := must(authn.NewBearer(authn.BearerConfig{
						Issuers: []authn.Issuer{{URL: idp.url, Audiences: []string{audience}}}, Client: &http.Client{Transport: transport},
					}))(t)
					token, asked := idp.sign(t, idp.claims()), time.Now()
					wantError(t, second(authenticate(b, token)), authn.ErrUnavailable)
					if waited := time.Since(asked); waited > 15*time.Second {
						t.Errorf("waited %v", waited)
					}
					slow.Store(false)
					time.Sleep(5 * time.Second)
					if _, err := authenticate(b, token); err != nil {
						t.Error(err)
					}
				})
			})
		}
	}
}

// TestRememberedTokenEnds: with its expiry, and when its key is withdrawn.
func TestRememberedTokenEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		issuer := newIssuer(t, "https://idp.example")
		b := must(authn.NewBearer(authn.BearerConfig{
			Issuers: []authn.Issuer{{URL: issuer.url, Audiences: []string{audience}}}, Client: &http.Client{Transport: inMemory{issuer}},
		}))(t)
		claims := func(life time.Duration) map[string]any {
			return map[string]any{"iss": issuer.url, "sub": "s", "aud": audience, "exp": time.Now().Add(life).Unix()}
		}
		long, short, brief := issuer.sign(t, claims(24*time.Hour)), issuer.sign(t, claims(10*time.Minute)), issuer.sign(t, claims(time.Minute))
		for _, token := range []string{long, short, brief} {
			if _, err := authenticate(b, token); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(2 * time.Minute) // and the keys are the same still
		wantError(t, second(authenticate(b, brief)), authn.ErrInvalid)
		time.Sleep(-2*time.Minute + 10*time.Minute + 59*time.Second) // within the leeway
		if _, err := authenticate(b, short); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		wantError(t, second(authenticate(b, short)), authn.ErrInvalid)

		// F05: keys once fetched serve for at least a day without the provider.
		issuer.setDown(true)
		for range 23 {
			time.Sleep(time.Hour)
			if _, err := authenticate(b, long); err != nil {
				t.Fatal(err)
			}
		}
		// F07: a key gone from a successful fetch ends its tokens.
		issuer.setDown(false)
		issuer.rotate(t)
		long = issuer.sign(t, claims(24*time.Hour))
		if _, err := authenticate(b, long); err != nil {
			t.Fatal(err)
		}
		issuer.rotate(t)
		time.Sleep(5*time.Minute + time.Second)
		_, _ = authenticate(b, long) // has the keys fetched
		synctest.Wait()
		wantError(t, second(authenticate(b, long)), authn.ErrInvalid)
	})
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
		"every tenant":   {{URL: "https://login.microsoftonline.com/organizations/v2.0", Audiences: good.Audiences}},
	} {
		if b, err := authn.NewBearer(authn.BearerConfig{Issuers: issuers}); err == nil || b != nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
