package authn_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"amlproxy/authn"
)

// kinds fails unless err is nil with an identity, or one of the four without.
func kinds(t *testing.T, id *authn.Identity, err error) {
	t.Helper()
	if (id == nil) == (err == nil) {
		t.Fatalf("identity %v, error %v", id, err)
	}
	n := 0
	for _, k := range []error{authn.ErrNone, authn.ErrInvalid, authn.ErrForbidden, authn.ErrUnavailable} {
		if errors.Is(err, k) {
			n++
		}
	}
	if err != nil && n != 1 {
		t.Fatalf("%v is of %d kinds", err, n)
	}
}

// FuzzSessionCookie: no Cookie field but the one we set is a session.
func FuzzSessionCookie(f *testing.F) {
	s := newSessions(f)
	id := alice()
	id.Groups = numbered(repeated("g", 16), 150)
	_, big := started(f, s, id)
	_, small := started(f, s, alice())
	genuine := map[string]bool{}
	for _, r := range []*http.Request{big, small} {
		f.Add(r.Header.Get("Cookie"))
		for _, c := range r.Cookies() {
			genuine[c.Value] = true
		}
	}
	f.Add("__Host-amlproxy=4AAAAAAAAx; __Host-amlproxy-1=AAAAAAAAx")
	f.Fuzz(func(t *testing.T, line string) {
		r := request("Cookie", line)
		id, err := s.Authenticate(http.Header{}, r)
		kinds(t, id, err)
		if err != nil {
			return
		}
		for _, c := range r.CookiesNamed("__Host-amlproxy") {
			if genuine[c.Value] {
				return
			}
		}
		t.Errorf("%q is a session", line)
	})
}

// FuzzCallback: nothing a stranger sends begins a session or redeems a code.
func FuzzCallback(f *testing.F) {
	idp := newIssuer(f, "https://idp.example")
	l := must(authn.NewLogin(authn.LoginConfig{
		Issuer: authn.Issuer{URL: idp.url}, ClientID: "web", PublicURL: must(url.Parse(home))(f),
		Sessions: newSessions(f), Client: &http.Client{Transport: inMemory{idp}},
	}))(f)
	f.Add("GET", "state=a&code=b", "__Host-amlproxy-state-0123456789abcdef=AQAA", "")
	f.Add("POST", "", "", "state=a&code=b&iss=x")
	f.Add("POST", "state=a", "", "%zz;=&state[]=x")
	f.Fuzz(func(t *testing.T, method, query, cookie, body string) {
		r := httptest.NewRequest(http.MethodGet, "/oauth2/callback", strings.NewReader(body))
		r.Method, r.URL.RawQuery = method, query
		r.Header.Set("Cookie", cookie)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		err := l.Callback(w, r)
		kinds(t, nil, err)
		if len(w.Header()) > 0 || w.Body.Len() > 0 {
			t.Errorf("wrote %v", w.Header())
		}
	})
}

// FuzzAuthorization: no Authorization field but one with a signed token is anybody.
func FuzzAuthorization(f *testing.F) {
	idp := newIssuer(f, "https://idp.example")
	b := idp.bearer(f)
	good := idp.sign(f, idp.claims())
	for _, s := range []string{"Bearer " + good, "bearer  " + good, "Basic YTpi", "Bearer a.b.c", "Bearer ....", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		r := request()
		r.Header["Authorization"] = []string{field}
		id, err := b.Authenticate(http.Header{}, r)
		kinds(t, id, err)
		if err == nil && !strings.Contains(field, good[:strings.LastIndexByte(good, '.')]) {
			t.Errorf("%q is %+v", field, id)
		}
	})
}

// FuzzClaims: whatever an issuer signs, an identity has the subject, issuer and
// audience that a strict reader sees, and nothing panics.
func FuzzClaims(f *testing.F) {
	idp := newIssuer(f, "https://idp.example")
	b := idp.bearer(f)
	f.Add(must(json.Marshal(idp.claims()))(f))
	for _, s := range []string{
		`{"iss":"https://idp.example","ISS":"x","sub":"s","aud":"api://models","exp":9999999999}`,
		`{"iss":"https://idp.example","sub":"s","sub":"t","aud":["api://models"],"exp":9999999999}`,
		`{"iss":"https://idp.example","sub":"s","aud":[null],"exp":1e300,"groups":[[]],"auth_time":-1}`,
		`[]`, `null`, `{"a":[[[[]]]]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		id, err := authenticate(b, idp.signBytes(t, payload))
		kinds(t, id, err)
		if err != nil {
			return
		}
		var loose map[string]any
		if err := json.Unmarshal(payload, &loose); err != nil {
			t.Fatalf("%q is accepted and no JSON: %v", payload, err)
		}
		if loose["sub"] != id.Subject || loose["iss"] != id.Issuer || id.Subject == "" || id.Issuer != idp.url || id.Expires.Before(time.Now().Add(-time.Minute)) {
			t.Errorf("%q is %+v", payload, id)
		}
		if aud, _ := json.Marshal(loose["aud"]); !strings.Contains(string(aud), `"`+audience+`"`) {
			t.Errorf("%q is for us", payload)
		}
	})
}

// FuzzReturnPath: no browser leaves for a foreign origin.
func FuzzReturnPath(f *testing.F) {
	l := newLogin(f)
	for _, rd := range redirectPayloads() {
		f.Add(rd)
	}
	f.Fuzz(func(t *testing.T, rd string) {
		judge(t, l, rd)
		if to, ok := l.ReturnPath(rd); ok {
			if again, ok := l.ReturnPath(to); !ok || again != to {
				t.Errorf("ReturnPath(%q) = %q, which becomes %q", rd, to, again)
			}
		}
	})
}

func (i *issuer) bearer(t testing.TB) *authn.Bearer {
	t.Helper()
	return must(authn.NewBearer(authn.BearerConfig{
		Issuers: []authn.Issuer{{URL: i.url, Audiences: []string{audience}}}, Client: &http.Client{Transport: inMemory{i}},
	}))(t)
}

func (i *issuer) claims() map[string]any {
	return map[string]any{
		"iss": i.url, "sub": "s", "aud": audience, "exp": time.Now().Add(time.Hour).Unix(), "scope": "score",
		"groups": []string{"ml-users", "ml-admins"}, "email": "a@example.com", "name": "Alice",
	}
}

func (i *issuer) sign(t testing.TB, claims map[string]any) string {
	t.Helper()
	return i.signBytes(t, must(json.Marshal(claims))(t))
}

func (i *issuer) signBytes(t testing.TB, payload []byte) string {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	key := jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: i.key, KeyID: i.keyID()}}
	signer := must(jose.NewSigner(key, (&jose.SignerOptions{}).WithType("JWT")))(t)
	signed := must(signer.Sign(payload))(t)
	return must(signed.CompactSerialize())(t)
}
