package app_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"amlproxy/authn/authntest"
	"amlproxy/internal/app"
	"amlproxy/internal/config"
	"amlproxy/internal/soak"
)

// streaming is a deployment whose model streams: replicas at one public URL, of
// which a test takes the one that it wants.
type streaming struct {
	replicas []string
	provider *authntest.Provider
	log      *logs
}

// newStreaming starts so many replicas, which share what environ says.
func newStreaming(t *testing.T, replicas int, environ ...string) *streaming {
	t.Helper()
	model := httptest.NewServer(http.HandlerFunc(streamOrTalk))
	t.Cleanup(func() { model.CloseClientConnections(); model.Close() })
	s := &streaming{log: &logs{}}
	var apps []func()
	for range replicas {
		l := listen(t)
		s.replicas = append(s.replicas, "http://"+l.Addr().String())
		apps = append(apps, func() {
			settings, err := config.Load(append([]string{
				"AMLPROXY_ROUTES_0_NAME=m", "AMLPROXY_ROUTES_0_URL=" + model.URL + "/score", "AMLPROXY_ROUTES_0_AUTH=none",
				"AMLPROXY_ADMIN_LISTEN=127.0.0.1:0", "AMLPROXY_OIDC_ISSUER=" + s.provider.Issuer(), "AMLPROXY_OIDC_CLIENT_ID=web",
				"AMLPROXY_OIDC_CLIENT_SECRET=s", "AMLPROXY_PUBLIC_URL=" + s.replicas[0],
			}, environ...))
			if err != nil {
				t.Fatal(err)
			}
			a, err := app.New(settings, app.Options{Log: s.log, Listener: l})
			if err != nil {
				t.Fatal(err)
			}
			serveUntilTheEnd(t, a)
		})
	}
	s.provider = startTB(t, authntest.Options{
		Users: []authntest.User{{Name: "ann", Password: "x"}, {Name: "amy", Password: "x"}, {Name: "ada", Password: "x"}, {Name: "bob", Password: "x"}},
		Clients: []authntest.Client{{
			ID: "web", Secret: "s", RedirectURIs: []string{s.replicas[0] + "/oauth2/callback"}, PostLogoutURIs: []string{s.replicas[0] + "/oauth2/sign_in"},
		}},
	})
	for _, start := range apps {
		start()
	}
	return s
}

// streamOrTalk sends one event and waits, or answers a WebSocket with its own words.
func streamOrTalk(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "" {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		said := []byte("hello")
		for err == nil && c.Write(r.Context(), websocket.MessageText, said) == nil {
			_, said, err = c.Read(r.Context())
		}
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	_, _ = io.WriteString(w, "data: 1\n\n")
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// signIn signs somebody in at the first replica, and returns his cookies.
func (s *streaming) signIn(t *testing.T, user string) string {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := authntest.SignIn(t.Context(), &http.Client{Jar: jar}, s.replicas[0]+"/oauth2/start?rd=/oauth2/userinfo", user, "x")
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", answer, err)
	}
	_ = answer.Body.Close()
	at, _ := url.Parse(s.replicas[0])
	var all []string
	for _, c := range jar.Cookies(at) {
		all = append(all, c.Name+"="+c.Value)
	}
	return strings.Join(all, "; ")
}

// ask sends a request with cookies, and does not follow a redirect.
func ask(t *testing.T, method, url, cookies, body string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", cookies)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

// An opened is a stream and a WebSocket of one session at one replica.
type opened struct {
	body   io.Closer
	events *bufio.Reader
	socket *websocket.Conn
}

func (s *streaming) open(t *testing.T, replica int, cookies string) opened {
	t.Helper()
	res := ask(t, http.MethodGet, s.replicas[replica]+"/models/m", cookies, "")
	o := opened{body: res.Body, events: bufio.NewReader(res.Body)}
	if line, err := o.events.ReadString('\n'); line != "data: 1\n" {
		t.Fatalf("%d %q %v", res.StatusCode, line, err)
	}
	_, _ = o.events.ReadString('\n')
	var err error
	o.socket, _, err = websocket.Dial(t.Context(), s.replicas[replica]+"/models/m", &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {cookies}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.socket.CloseNow() })
	if _, said, err := o.socket.Read(t.Context()); string(said) != "hello" {
		t.Fatalf("%q %v", said, err)
	}
	return o
}

// ends fails unless both are broken off, and soon; how soon is for make soak.
func (o opened) ends(t *testing.T, why string) time.Duration {
	t.Helper()
	begun := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = o.body.Close() })()
	if rest, err := io.ReadAll(o.events); err == nil || len(rest) > 0 {
		t.Errorf("%s: %q %v", why, rest, err)
	}
	if _, _, err := o.socket.Read(ctx); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
		t.Errorf("%s: %v", why, err)
	}
	return time.Since(begun)
}

// goesOn fails unless the WebSocket is open.
func (o opened) goesOn(t *testing.T, why string) {
	t.Helper()
	if err := o.socket.Write(t.Context(), websocket.MessageText, []byte("still here")); err != nil {
		t.Errorf("%s: %v", why, err)
	}
	if _, said, err := o.socket.Read(t.Context()); string(said) != "still here" {
		t.Errorf("%s: %q %v", why, said, err)
	}
}

// TestSoakStreamsEndWithASignOut in every replica that shares the sessions, in whatever
// way a session ends, and without a store in this process.
func TestSoakStreamsEndWithASignOut(t *testing.T) {
	ways := map[string]func(t *testing.T, s *streaming, cookies string){
		"ann": func(t *testing.T, s *streaming, cookies string) {
			ask(t, http.MethodGet, s.replicas[0]+"/oauth2/sign_out", cookies, "")
		},
		"amy, everywhere": func(t *testing.T, s *streaming, _ string) {
			ask(t, http.MethodPost, s.replicas[0]+"/oauth2/sign_out?everywhere=1", s.signIn(t, "amy"), "")
		},
		"ada, the provider says so": func(t *testing.T, s *streaming, _ string) {
			s.logout(t, "user-ada")
		},
	}
	for name, c := range map[string]struct {
		replicas int
		environ  []string
	}{
		"in cookies": {1, []string{"AMLPROXY_COOKIE_SECRET=" + newCookieSecret()}},
		"in Redis":   {2, append(newStore(t).environ(), "AMLPROXY_COOKIE_SECRET="+newCookieSecret())},
	} {
		s := newStreaming(t, c.replicas, c.environ...)
		for way, end := range ways {
			t.Run(name+", "+way, func(t *testing.T) {
				t.Parallel()
				user, _, _ := strings.Cut(way, ",")
				mine, others := s.signIn(t, user), s.signIn(t, "bob")
				var ending []opened
				for replica := range s.replicas {
					ending = append(ending, s.open(t, replica, mine))
				}
				other := s.open(t, 0, others)
				end(t, s, mine)
				var took time.Duration
				for _, o := range ending {
					took += o.ends(t, way)
				}
				other.goesOn(t, way)
				if took > 5*time.Second && soak.On() {
					t.Error("too late")
				}
				soak.Note(t, "F12", "stream and WebSocket at each replica, sessions "+name+": "+way, "they end within 5 s", fmt.Sprintf("%.1f s", took.Seconds()))
			})
		}
	}
}

// logout has the provider say that somebody is signed out, to the first replica.
func (s *streaming) logout(t *testing.T, subject string) {
	t.Helper()
	now := time.Now()
	token, err := s.provider.Sign(map[string]any{
		"iss": s.provider.Issuer(), "aud": "web", "sub": subject, "jti": fmt.Sprint(now.UnixNano()), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}, authntest.WithHeader("typ", "logout+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	if res := ask(t, http.MethodPost, s.replicas[0]+"/oauth2/backchannel_logout", "", "logout_token="+token); res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(res.Body)
		t.Fatalf("%d %s", res.StatusCode, body)
	}
}
