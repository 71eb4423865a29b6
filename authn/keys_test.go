package authn_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
)

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
}

// TestShortRSAKeys: RFC 7518 section 3.3 wants 2048 bits or more. Each key is in
// the set, and each token rightly signed; the last row shows that they would do.
func TestShortRSAKeys(t *testing.T) {
	for bits, want := range map[int]error{1024: authn.ErrInvalid, 2047: authn.ErrInvalid, 2048: nil} {
		p := startProvider(t, "https://models.example.com", nil)
		private := must(rsa.GenerateKey(rand.Reader, bits))(t)
		var published map[string]any
		if err := json.Unmarshal(must(json.Marshal(jose.JSONWebKey{Key: private.Public(), KeyID: "rsa", Use: "sig"}))(t), &published); err != nil {
			t.Fatal(err)
		}
		p.Misbehave(authntest.AlterJSON(authntest.Keys, func(o map[string]any) { o["keys"] = append(o["keys"].([]any), published) }))
		_, err := authenticate(newBearer(t, p), sign(t, p, accessClaims(p), authntest.WithKey("RS256", private), authntest.WithHeader("kid", "rsa")))
		switch {
		case want == nil && err != nil:
			t.Errorf("%d bits: %v", bits, err)
		case want != nil:
			wantError(t, err, want)
		}
	}
}

// TestAlgorithmsOfAnIssuer: each algorithm serves unless the issuer is known not
// to use it, whatever its keys could do.
func TestAlgorithmsOfAnIssuer(t *testing.T) {
	p := startProvider(t, "https://models.example.com", nil)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	private := map[string]crypto.Signer{
		"ES256": must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t), "ES384": must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))(t),
		"ES512": must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))(t), "EdDSA": edKey,
	}
	for _, alg := range []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"} {
		private[alg] = rsaKey
	}
	var set jose.JSONWebKeySet
	for alg, k := range private {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Public(), KeyID: alg})
	}
	p.Misbehave(authntest.Body(authntest.Keys, "application/json", must(json.Marshal(set))(t)))
	if all := authn.SigningAlgorithms(); len(all) != len(private) {
		t.Errorf("%v", all)
	}
	every := newBearer(t, p)
	for _, alg := range authn.SigningAlgorithms() {
		token := sign(t, p, accessClaims(p), authntest.WithKey(alg, private[alg]), authntest.WithHeader("kid", alg))
		if _, err := authenticate(every, token); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		one := newBearer(t, p, func(c *authn.BearerConfig) { c.Issuers[0].Algorithms = []string{"PS384"} })
		_, err := authenticate(one, token)
		if alg == "PS384" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if e := wantError(t, err, authn.ErrInvalid); !strings.Contains(e.Detail, "algorithm "+alg) {
			t.Errorf("%+v", e)
		}
	}
}

// TestLoginAndBearerFetchOnce: one issuer, one discovery document, one key set.
func TestLoginAndBearerFetchOnce(t *testing.T) {
	for _, c := range []struct {
		name       string
		algorithms []string
		want       int
	}{{"as the login", nil, 1}, {"with other algorithms", []string{"ES256"}, 2}} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t, siteOptions{})
			b := newBearer(t, s.provider, func(b *authn.BearerConfig) { b.Login, b.Issuers[0].Algorithms = s.login, c.algorithms })
			if _, status := readIdentity(t, s.signIn(t, s.browser(t), "alice", "/")); status != http.StatusOK {
				t.Fatal(status)
			}
			if _, err := authenticate(b, must(s.provider.AccessToken("web", "alice"))(t)); err != nil {
				t.Fatal(err)
			}
			if d, k := s.provider.Calls(authntest.Discovery), s.provider.Calls(authntest.Keys); d != c.want || k != c.want {
				t.Errorf("discovery %d times, keys %d", d, k)
			}
		})
	}
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
