package authntest_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/oauth2"

	"amlproxy/authn/authntest"
)

// direct carries requests to a handler without a network, so that time may be
// synthetic. What is for nobody else is answered with 200.
type direct struct{ provider *authntest.Provider }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	if r.URL.Host == "127.0.0.1:1" {
		d.provider.ServeHTTP(answer, r)
	}
	result := answer.Result()
	result.Request = r
	return result, nil
}

func TestEverythingExpires(t *testing.T) {
	const callback = "http://127.0.0.1:2/callback"
	for _, c := range []struct {
		name string
		last time.Duration // good until then
		use  func(t *testing.T, p *party, wait func()) error
	}{
		{"a login that nobody fills in", 15 * time.Minute, func(t *testing.T, p *party, wait func()) error {
			form, err := p.browser.Get(p.oauth2.AuthCodeURL("s"))
			if err != nil {
				return err
			}
			body(t, form)
			wait()
			_, err = p.submit(t, form.Request.URL.String())
			return err
		}},
		{"a code", time.Minute, func(t *testing.T, p *party, wait func()) error {
			response, err := p.submit(t, p.oauth2.AuthCodeURL("s"))
			if err != nil {
				return err
			}
			wait()
			_, err = p.oauth2.Exchange(p.context(t), response.Get("code"))
			return err
		}},
		{"an access token", time.Hour, func(t *testing.T, p *party, wait func()) error {
			token, err := p.provider.AccessToken("web", "alice")
			if err != nil {
				return err
			}
			wait()
			if status, _ := p.userinfo(t, token); status != http.StatusOK {
				return errNot200
			}
			return nil
		}},
		{"a browser's session", 12 * time.Hour, func(t *testing.T, p *party, wait func()) error {
			if _, err := p.submit(t, p.oauth2.AuthCodeURL("s")); err != nil {
				return err
			}
			wait()
			r, err := p.browser.Get(p.oauth2.AuthCodeURL("s"))
			if err != nil {
				return err
			}
			body(t, r)
			if !r.Request.URL.Query().Has("code") {
				return errNoCode
			}
			return nil
		}},
		{"a refresh token", 30 * 24 * time.Hour, func(t *testing.T, p *party, wait func()) error {
			p.oauth2.Scopes = []string{"openid", "offline_access"}
			response, err := p.submit(t, p.oauth2.AuthCodeURL("s"))
			if err != nil {
				return err
			}
			tokens, err := p.oauth2.Exchange(p.context(t), response.Get("code"))
			if err != nil {
				return err
			}
			wait()
			_, err = p.refresh(t, tokens.RefreshToken)
			return err
		}},
	} {
		for _, late := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				provider, err := authntest.New(authntest.Options{
					Issuer:  "http://127.0.0.1:1",
					Users:   []authntest.User{{Name: "alice", Password: "wonderland"}},
					Clients: []authntest.Client{{ID: "web", Secret: "s3cret", RedirectURIs: []string{callback}}},
				})
				if err != nil {
					t.Fatal(err)
				}
				jar, err := cookiejar.New(nil)
				if err != nil {
					t.Fatal(err)
				}
				p := &party{provider: provider, browser: &http.Client{Jar: jar, Transport: direct{provider}}, oauth2: &oauth2.Config{
					ClientID: "web", ClientSecret: "s3cret", RedirectURL: callback, Scopes: []string{"openid"},
					Endpoint: oauth2.Endpoint{AuthURL: provider.Issuer() + "/authorize", TokenURL: provider.Issuer() + "/oauth/token", AuthStyle: oauth2.AuthStyleInHeader},
				}}
				err = c.use(t, p, func() {
					time.Sleep(c.last - time.Second)
					if late {
						time.Sleep(2 * time.Second)
					}
				})
				if (err != nil) != late {
					t.Errorf("%s, late %v: error is %v", c.name, late, err)
				}
			})
		}
	}
}

// submit signs alice in and returns the authorization response.
func (p *party) submit(t *testing.T, start string) (url.Values, error) {
	t.Helper()
	r, err := authntest.SignIn(t.Context(), p.browser, start, "alice", "wonderland")
	if err != nil {
		return nil, err
	}
	body(t, r)
	if r.StatusCode != http.StatusOK {
		return nil, errNot200
	}
	return r.Request.URL.Query(), nil
}
