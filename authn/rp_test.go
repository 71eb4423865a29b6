package authn_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
	"amlproxy/internal/secret"
)

// The tests in this file are named after the modules of the OpenID Foundation's
// certification suite for relying parties: those of the plans Basic, Form Post
// Basic, Config and RP-Initiated Logout that a relying party with the code flow and
// a registered client can take, and of the comprehensive plan those that are about
// what this one does. The provider misbehaves as the module says.

// A module is one of them: what it has the provider do, and how it is to end.
type module struct {
	fault    []authntest.Fault
	provider func(*authntest.Options)
	login    func(*authn.LoginConfig)
	refused  string // in the log, if signing in must fail; empty if it must not
}

// run runs a module in both response modes: the plan Form Post Basic is the plan
// Basic once more.
func (m module) run(t *testing.T, more ...func(*testing.T, *site, *authn.Identity)) {
	t.Helper()
	for _, mode := range []string{"query", "form_post"} {
		t.Run(mode, func(t *testing.T) {
			s := newSite(t, siteOptions{provider: m.provider, login: func(c *authn.LoginConfig) {
				c.FormPost = mode == "form_post"
				if m.login != nil {
					m.login(c)
				}
			}})
			for _, f := range m.fault {
				s.provider.Misbehave(f)
			}
			browser := s.browser(t)
			answer := s.enter(t, browser)
			if m.refused != "" {
				m.mustFail(t, s, browser, answer)
				return
			}
			id, code := readIdentity(t, answer)
			if id == nil || answer.Request.URL.Path != "/deep" {
				t.Fatalf("answer %d at %s: %v", code, answer.Request.URL, s.lastFailure(t))
			}
			for _, check := range more {
				check(t, s, id)
			}
		})
	}
}

func (m module) mustFail(t *testing.T, s *site, browser *http.Client, answer *http.Response) {
	t.Helper()
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusForbidden && answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("answer %d at %s", answer.StatusCode, answer.Request.URL)
	}
	if err := s.lastFailure(t); !strings.Contains(err.Error(), m.refused) {
		t.Errorf("refused because %v, want %q", err, m.refused)
	}
	if _, code := s.whoAmI(t, browser); code != http.StatusUnauthorized {
		t.Errorf("there is a session: %d", code)
	}
}

// enter signs alice in. By form_post it is the provider's page that sends what it
// has to say, as a browser without scripts would when its button is pressed.
func (s *site) enter(t testing.TB, browser *http.Client) *http.Response {
	t.Helper()
	answer := s.signIn(t, browser, "alice", "/deep")
	if strings.HasPrefix(answer.Request.URL.String(), s.url) || answer.StatusCode != http.StatusOK {
		return answer
	}
	page, form := text(t, answer), url.Values{}
	to := regexp.MustCompile(`<form method="post" action="([^"]*)">`).FindStringSubmatch(page)
	for _, field := range regexp.MustCompile(`name="([^"]*)" value="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		form.Add(html.UnescapeString(field[1]), html.UnescapeString(field[2]))
	}
	if to == nil {
		t.Fatalf("no form on the page: %s", page)
	}
	r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, html.UnescapeString(to[1]), strings.NewReader(form.Encode())))(t)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", s.provider.Issuer())
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	return must(browser.Do(r))(t)
}

func idToken(alter func(*authntest.Token)) []authntest.Fault {
	return []authntest.Fault{authntest.AlterIDToken(alter)}
}

func idClaim(name string, value any) []authntest.Fault {
	return idToken(func(t *authntest.Token) {
		if t.Claims[name] = value; value == nil {
			delete(t.Claims, name)
		}
	})
}

func rs256(o *authntest.Options) { o.Algorithm = "RS256" }

// oidcc-client-test: code flow, nonce and state that are checked, userinfo.
func TestRP_oidcc_client_test(t *testing.T) {
	module{provider: rs256}.run(t, func(t *testing.T, _ *site, id *authn.Identity) {
		if id.Subject != "user-alice" || id.Email != "alice@example.com" {
			t.Errorf("%+v", id)
		}
	})
}

func TestRP_oidcc_client_test_invalid_iss(t *testing.T) {
	module{fault: idClaim("iss", "https://evil.example"), refused: `issuer is "https://evil.example"`}.run(t)
}

func TestRP_oidcc_client_test_missing_sub(t *testing.T) {
	module{fault: idClaim("sub", nil), refused: "no subject"}.run(t)
}

func TestRP_oidcc_client_test_invalid_aud(t *testing.T) {
	module{fault: idClaim("aud", "https://other.example"), refused: "audience"}.run(t)
}

func TestRP_oidcc_client_test_missing_aud(t *testing.T) {
	module{fault: idClaim("aud", nil), refused: "audience"}.run(t)
}

func TestRP_oidcc_client_test_missing_iat(t *testing.T) {
	module{fault: idClaim("iat", nil), refused: "iat is missing"}.run(t)
}

func TestRP_oidcc_client_test_nonce_invalid(t *testing.T) {
	module{fault: idClaim("nonce", "of another login"), refused: "nonce"}.run(t)
}

// oidcc-client-test-kid-absent-single-jwks: one key, named by nobody.
func TestRP_oidcc_client_test_kid_absent_single_jwks(t *testing.T) {
	module{provider: rs256, fault: append(idToken(withoutKid), keysWithoutKid())}.run(t)
}

// oidcc-client-test-kid-absent-multiple-jwks: which of the keys it is, the
// signature says.
func TestRP_oidcc_client_test_kid_absent_multiple_jwks(t *testing.T) {
	for name, fault := range map[string][]authntest.Fault{
		"in the token":         idToken(withoutKid),
		"in the key set":       {keysWithoutKid()},
		"in both":              append(idToken(withoutKid), keysWithoutKid()),
		"in both, first of 12": append(idToken(withoutKid), keysWithoutKid(), moreKeys(t, 12)),
	} {
		t.Run(name, func(t *testing.T) {
			module{provider: rs256, fault: append(fault, moreKeys(t, 1))}.run(t)
		})
	}
}

func withoutKid(t *authntest.Token) { delete(t.Header, "kid") }

func keysWithoutKid() authntest.Fault {
	return authntest.AlterJSON(authntest.Keys, func(set map[string]any) {
		for _, k := range set["keys"].([]any) {
			delete(k.(map[string]any), "kid")
		}
	})
}

// moreKeys puts keys of somebody else before the provider's own.
func moreKeys(t *testing.T, n int) authntest.Fault {
	t.Helper()
	var more []any
	for range n {
		key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
		point := must(key.PublicKey.Bytes())(t)
		b := base64.RawURLEncoding
		more = append(more, map[string]any{"kty": "EC", "crv": "P-256", "use": "sig", "x": b.EncodeToString(point[1:33]), "y": b.EncodeToString(point[33:])})
	}
	return authntest.AlterJSON(authntest.Keys, func(set map[string]any) { set["keys"] = append(more[:len(more):len(more)], set["keys"].([]any)...) })
}

func TestRP_oidcc_client_test_idtoken_sig_rs256(t *testing.T) {
	module{provider: rs256, login: func(c *authn.LoginConfig) { c.Issuer.Algorithms = []string{"RS256"} }}.run(t)
}

// oidcc-client-test-idtoken-sig-none: a relying party that takes no such token is
// to refuse it.
func TestRP_oidcc_client_test_idtoken_sig_none(t *testing.T) {
	module{fault: idToken(func(t *authntest.Token) { t.Header["alg"] = "none" }), refused: "accepted algorithm"}.run(t)
}

func TestRP_oidcc_client_test_invalid_sig_rs256(t *testing.T) {
	other := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	module{provider: rs256, fault: idToken(func(t *authntest.Token) { t.Key = other }), refused: "signature"}.run(t)
}

func TestRP_oidcc_client_test_invalid_sig_es256(t *testing.T) {
	other := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	module{fault: idToken(func(t *authntest.Token) { t.Key = other }), refused: "signature"}.run(t)
}

func TestRP_oidcc_client_test_invalid_sig_hs256(t *testing.T) {
	module{fault: idToken(func(t *authntest.Token) {
		t.Header["alg"], t.Key = "HS256", []byte(repeated("web-secret", 4))
	}), refused: "accepted algorithm"}.run(t)
}

// gaps leaves out of the ID token what userinfo says too, so that it is asked.
func gaps() authntest.Fault {
	return authntest.AlterIDToken(func(t *authntest.Token) {
		for _, name := range []string{"email", "email_verified", "name", "preferred_username", "groups", "roles"} {
			delete(t.Claims, name)
		}
	})
}

func TestRP_oidcc_client_test_userinfo_invalid_sub(t *testing.T) {
	module{fault: []authntest.Fault{gaps(), authntest.AlterJSON(authntest.UserInfo, func(o map[string]any) { o["sub"] = "user-aliceinvalid" })}, refused: "somebody else"}.run(t)
}

// oidcc-client-test-scope-userinfo-claims: the claims of the scopes asked for.
func TestRP_oidcc_client_test_scope_userinfo_claims(t *testing.T) {
	module{fault: []authntest.Fault{gaps()}}.run(t, func(t *testing.T, _ *site, id *authn.Identity) {
		if id.Name != "Alice Liddell" || id.Email != "alice@example.com" || !id.EmailVerified {
			t.Errorf("%+v", id)
		}
	})
}

// oidcc-client-test-userinfo-bearer-header: never in the address.
func TestRP_oidcc_client_test_userinfo_bearer_header(t *testing.T) {
	module{fault: []authntest.Fault{gaps(), authntest.Wrap(authntest.UserInfo, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") || r.URL.RawQuery != "" || r.Method != http.MethodGet {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			next.ServeHTTP(w, r)
		})
	})}}.run(t)
}

func TestRP_oidcc_client_test_client_secret_basic(t *testing.T) {
	module{
		fault: []authntest.Fault{
			authntest.AlterJSON(authntest.Discovery, func(o map[string]any) {
				o["token_endpoint_auth_methods_supported"] = []any{"client_secret_basic"}
			}),
			authntest.Wrap(authntest.TokenEndpoint, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_ = r.ParseForm()
					if id, _, ok := r.BasicAuth(); !ok || id != "web" || r.PostForm.Has("client_id") || r.PostForm.Has("client_secret") {
						t.Errorf("%v %v", r.Header, r.PostForm)
					}
					next.ServeHTTP(w, r)
				})
			}),
		},
	}.run(t)
}

// oidcc-client-test with client_auth_type client_secret_post: as discovery asks.
func TestRP_oidcc_client_test_client_secret_post(t *testing.T) {
	module{fault: []authntest.Fault{authntest.AlterJSON(authntest.Discovery, func(o map[string]any) {
		o["token_endpoint_auth_methods_supported"] = []any{"client_secret_post"}
	})}}.run(t)
}

// oidcc-client-test with client_auth_type private_key_jwt.
func TestRP_oidcc_client_test_private_key_jwt(t *testing.T) {
	key := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	module{
		provider: func(o *authntest.Options) { o.Clients[0].Secret, o.Clients[0].Key = "", key.Public() },
		login: func(c *authn.LoginConfig) {
			c.ClientSecret, c.ClientKey = secret.Value{}, &authn.ClientKey{Key: key}
		},
	}.run(t)
}

// oidcc-client-test with client_auth_type none.
func TestRP_oidcc_client_test_none(t *testing.T) {
	module{login: func(c *authn.LoginConfig) { c.ClientID, c.ClientSecret = "public", secret.Value{} }}.run(t)
}

// oidcc-client-test-aggregated-claims and -distributed-claims: claims of others are
// no claims of the provider's.
func TestRP_oidcc_client_test_distributed_claims(t *testing.T) {
	module{fault: idToken(func(t *authntest.Token) {
		t.Claims["_claim_names"] = map[string]any{"email": "src1"}
		t.Claims["_claim_sources"] = map[string]any{"src1": map[string]any{"endpoint": "http://127.0.0.1:1/", "access_token": "x"}}
	})}.run(t)
}

// Plan Config.

func TestRP_oidcc_client_test_discovery_openid_config(t *testing.T) {
	module{}.run(t, func(t *testing.T, s *site, _ *authn.Identity) {
		if s.provider.Calls(authntest.Discovery) == 0 {
			t.Error("nothing was discovered")
		}
	})
}

func TestRP_oidcc_client_test_discovery_jwks_uri_keys(t *testing.T) {
	module{}.run(t, func(t *testing.T, s *site, _ *authn.Identity) {
		if s.provider.Calls(authntest.Keys) == 0 {
			t.Error("no keys were fetched")
		}
	})
}

func TestRP_oidcc_client_test_discovery_issuer_mismatch(t *testing.T) {
	module{
		fault:   []authntest.Fault{authntest.AlterJSON(authntest.Discovery, func(o map[string]any) { o["issuer"] = "https://evil.example" })},
		refused: "issuer",
	}.run(t)
}

// oidcc-client-test-signing-key-rotation: the next login is signed with another key.
func TestRP_oidcc_client_test_signing_key_rotation(t *testing.T) {
	module{provider: rs256}.run(t, func(t *testing.T, s *site, _ *authn.Identity) {
		must(s.provider.RotateKey())(t)
		s.provider.RetireKeys()
		if id, code := readIdentity(t, s.enter(t, s.browser(t))); id == nil {
			t.Errorf("after the rotation: %d, %v", code, s.lastFailure(t))
		}
	})
}

// oidcc-client-test-signing-key-rotation-just-before-signing: the keys were
// fetched before this login's token was signed with another.
func TestRP_oidcc_client_test_signing_key_rotation_just_before_signing(t *testing.T) {
	module{provider: rs256}.run(t, func(t *testing.T, s *site, _ *authn.Identity) {
		s.provider.Misbehave(authntest.Wrap(authntest.TokenEndpoint, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := s.provider.RotateKey(); err != nil {
					t.Error(err)
				}
				s.provider.RetireKeys()
				next.ServeHTTP(w, r)
			})
		}))
		if id, code := readIdentity(t, s.enter(t, s.browser(t))); id == nil {
			t.Errorf("after the rotation: %d, %v", code, s.lastFailure(t))
		}
	})
}

// Plan RP-Initiated Logout.

// signOutWith signs alice in and out; alter may change the address that the
// provider sends the browser back to. It returns what the sign-in page knows.
func signOutWith(t *testing.T, alter func(url.Values)) (asked url.Values, page string) {
	t.Helper()
	s := newSite(t, siteOptions{})
	s.provider.Misbehave(authntest.Wrap(authntest.EndSession, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked = r.URL.Query()
			next.ServeHTTP(w, r)
		})
	}))
	browser := s.browser(t)
	s.signIn(t, browser, "alice", "/")
	back := errors.New("back")
	stopping := *browser
	stopping.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/oauth2/sign_in" {
			return back
		}
		return nil
	}
	_, err := stopping.Get(s.url + "/oauth2/sign_out?rd=/models/iris")
	var stopped *url.Error
	if !errors.Is(err, back) || !errors.As(err, &stopped) {
		t.Fatalf("never came back: %v", err)
	}
	at := must(url.Parse(stopped.URL))(t)
	q := at.Query()
	alter(q)
	at.RawQuery = q.Encode()
	page = text(t, must(browser.Get(at.String()))(t))
	if _, code := s.whoAmI(t, browser); code != http.StatusUnauthorized {
		t.Errorf("still signed in: %d", code)
	}
	return asked, page
}

func TestRP_oidcc_client_test_rp_init_logout(t *testing.T) {
	asked, page := signOutWith(t, func(url.Values) {})
	if !strings.HasSuffix(page, "on to /models/iris") {
		t.Errorf("%s", page)
	}
	if !strings.HasSuffix(asked.Get("post_logout_redirect_uri"), "/oauth2/sign_in") || asked.Get("state") == "" || asked.Get("client_id") != "web" {
		t.Errorf("asked with %v", asked)
	}
}

// oidcc-client-test-rp-init-logout-other-state: what comes back is not what was sent.
func TestRP_oidcc_client_test_rp_init_logout_other_state(t *testing.T) {
	_, page := signOutWith(t, func(q url.Values) { q.Set("state", "/models/evil") })
	if !strings.HasSuffix(page, "on to /") {
		t.Errorf("%s", page)
	}
}

func TestRP_oidcc_client_test_rp_init_logout_no_state(t *testing.T) {
	_, page := signOutWith(t, func(q url.Values) { q.Del("state") })
	if !strings.HasSuffix(page, "on to /") {
		t.Errorf("%s", page)
	}
}
