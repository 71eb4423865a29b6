package app_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"amlproxy/authn/authntest"
)

// C6: tokens. The same hand-made tokens are shown at every door, each alone and
// beside a good session, which must not make it good.

// claims are those of a good token, by hand.
func (f *fort) claims(p *authntest.Provider, audience string) map[string]any {
	return map[string]any{
		"iss": p.Issuer(), "sub": "user-ann", "aud": audience, "client_id": "cli", "scope": "score", "groups": []string{"g"},
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
}

func TestBadTokens(t *testing.T) {
	f := newFort(t)
	good := f.claims(f.provider, "api")
	with := func(name string, value any) map[string]any {
		c := maps.Clone(good)
		if c[name] = value; value == nil {
			delete(c, name)
		}
		return c
	}
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	header := authntest.WithHeader
	tokens := map[string]string{}
	forge := func(name string, p *authntest.Provider, claims map[string]any, options ...authntest.SignOption) {
		token, err := p.Sign(claims, options...)
		if err != nil {
			t.Fatal(err)
		}
		tokens[name] = token
	}
	forge("alg none", f.provider, good, authntest.Unsigned())
	forge("HMAC", f.provider, good, authntest.WithKey("HS256", []byte(strings.Repeat("k", 32))))
	forge("a stranger's key", f.provider, good, authntest.WithKey("ES256", stranger))
	forge("a stranger's key at his address", f.provider, good, authntest.WithKey("ES256", stranger), header("kid", "x"), header("jku", f.other.Issuer()+"/keys"))
	forge("kid as a path", f.provider, good, authntest.WithKey("ES256", stranger), header("kid", "../../../dev/null"))
	forge("kid as SQL", f.provider, good, authntest.WithKey("ES256", stranger), header("kid", "' UNION SELECT 'k"))
	forge("the other issuer's key", f.other, good)
	forge("the other issuer's audience", f.other, f.claims(f.other, "api"))
	forge("our audience for the other", f.provider, f.claims(f.provider, "api-of-other"))
	forge("an issuer nobody knows", f.provider, with("iss", "https://evil.example"))
	forge("issuer with a slash", f.provider, with("iss", f.provider.Issuer()+"/"))
	forge("expired", f.provider, with("exp", time.Now().Add(-2*time.Minute).Unix()))
	forge("no expiry", f.provider, with("exp", nil))
	forge("expiry 1e300", f.provider, with("exp", 1e300))
	forge("not yet", f.provider, with("nbf", time.Now().Add(10*time.Minute).Unix()))
	forge("another API's", f.provider, with("aud", "https://other.example"))
	forge("Azure's own", f.provider, with("aud", "https://ml.azure.com"))
	forge("no audience", f.provider, with("aud", nil))
	forge("audience [null]", f.provider, with("aud", []any{nil}))
	forge("no subject", f.provider, with("sub", nil))
	forge("an ID token by its nonce", f.provider, with("nonce", "n"), header("typ", "JWT"))
	forge("an ID token of the login's client", f.provider, map[string]any{"iss": good["iss"], "sub": "user-ann", "aud": "web", "exp": good["exp"], "iat": good["iat"]}, header("typ", "JWT"))
	forge("a logout token", f.provider, good, header("typ", "logout+jwt"))
	forge("claims twice", f.provider, nil, authntest.WithPayload([]byte(`{"iss":"`+f.provider.Issuer()+`","sub":"user-ann","sub":"user-p1","aud":"api","exp":9999999999}`)))
	forge("claims in capitals", f.provider, with("ISS", "https://evil.example"))
	tokens["a JWE"] = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..a.b.c"
	tokens["dots"] = strings.Repeat(".", 10_000)
	tokens["too long"] = f.token(t, "ann") + strings.Repeat("A", 16<<10)
	tokens["nonsense"] = "a.b.c"
	tokens["a session"] = f.cookie(t, f.signedIn(t, "ann"), "amlproxy").Value
	tokens["a state"] = f.signInStarted(t).Value

	session := "Cookie: amlproxy=" + f.cookie(t, f.signedIn(t, "ann"), "amlproxy").Value
	for name, token := range tokens {
		for _, d := range doors() {
			if d.open {
				continue
			}
			for _, fields := range [][]string{{"Authorization: Bearer " + token}, {"Authorization: Bearer " + token, session, "Sec-Fetch-Mode: navigate", "Accept: text/html"}} {
				f.refused(t, name, f.bare, d, []int{401}, fields...)
			}
			if a := f.knock(t, f.bare, d, "Authorization: Bearer "+token); !strings.Contains(a.Header.Get("Www-Authenticate"), `error="invalid_token"`) {
				t.Errorf("%s: %s: %q", name, d.name, a.Header.Get("Www-Authenticate"))
			}
		}
	}
	if f.provider.Calls(authntest.Keys) > 4 || f.other.Calls(authntest.Keys) > 4 {
		t.Errorf("the keys were fetched %d and %d times", f.provider.Calls(authntest.Keys), f.other.Calls(authntest.Keys))
	}
}

// TestMalformedCredentials: two fields, or one that holds no token, is a broken
// request whatever else it carries.
func TestMalformedCredentials(t *testing.T) {
	f := newFort(t)
	good := "Authorization: Bearer " + f.token(t, "ann")
	for name, fields := range map[string][]string{
		"two": {good, good}, "two schemes": {"Authorization: Basic YTpi", good}, "empty": {"Authorization: "}, "no token": {"Authorization: Bearer"},
		"two in one": {good + ", " + good}, "quoted": {`Authorization: Bearer "x"`},
	} {
		for _, d := range doors() {
			if !d.open {
				f.refused(t, name, f.bare, d, []int{400}, fields...)
			}
		}
	}
	for _, d := range doors() {
		if !d.open { // a scheme that is not ours is no credential
			f.refused(t, "basic", f.bare, d, []int{401}, "Authorization: Basic YTpi")
			f.refused(t, "by query", f.bare, door{d.name, d.method, d.path + map[bool]string{true: "&", false: "?"}[strings.Contains(d.path, "?")] + "access_token=" + f.token(t, "ann"), false}, []int{400, 401})
		}
	}
}

// TestTokenOfOneIssuerOnARouteOfAnother: a verified token is remembered, and what is
// remembered of one issuer opens nothing of the other (CVE-2026-33496).
func TestTokenOfOneIssuerOnARouteOfAnother(t *testing.T) {
	f := newFort(t)
	token, err := f.other.Sign(f.claims(f.other, "api-of-other"))
	if err != nil {
		t.Fatal(err)
	}
	ofOther, ofOurs := "Authorization: Bearer "+token, "Authorization: Bearer "+f.token(t, "ann")
	route := door{"of the other issuer", http.MethodPost, "/models/other", false}
	for range 3 {
		if a := f.knock(t, f.bare, route, ofOther); a.StatusCode != http.StatusOK {
			t.Fatalf("its own: %d %s", a.StatusCode, a.body)
		}
		f.refused(t, "ours", f.bare, route, []int{403}, ofOurs)
		if a := f.knock(t, f.bare, door{"userinfo", http.MethodGet, "/oauth2/userinfo", false}, ofOther); !strings.Contains(a.body, f.other.Issuer()) {
			t.Errorf("%s", a.body)
		}
		if a := f.knock(t, f.bare, door{"userinfo", http.MethodGet, "/oauth2/userinfo", false}, ofOurs); !strings.Contains(a.body, f.provider.Issuer()) {
			t.Errorf("%s", a.body)
		}
	}
}

// FuzzTokensAtEveryDoor: no Authorization field but one with a signed token opens a
// door.
func FuzzTokensAtEveryDoor(f *testing.F) {
	house := newFort(f)
	good := house.token(f, "ann")
	signed := good[:strings.LastIndexByte(good, '.')]
	for _, s := range []string{"Bearer " + signed, "Bearer " + signed + ".", "bearer a.b.c", "Bearer ....", "Basic YTpi", "", "Bearer"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		if strings.Contains(field, signed+".") && len(field) > len(signed)+10 || strings.ContainsAny(field, "\r\n\x00") || len(field) > 8<<10 {
			return
		}
		for _, d := range doors() {
			if d.open {
				continue
			}
			before := house.reached.Load()
			a, err := house.send(house.bare, d, "Authorization: "+field)
			if err == nil && (a.StatusCode < 400 || house.reached.Load() != before) {
				t.Errorf("%q opens %s: %d", field, d.name, a.StatusCode)
			}
		}
	})
}
