package proxy_test

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"amlproxy/proxy"
)

// spoofed are fields by which some server behind a proxy learns who is calling,
// from where, or what for.
var spoofed = []string{
	"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username", "X-Forwarded-Access-Token",
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-Method",
	"X-Forwarded-Server", "X-Forwarded-Client-Cert", "X-Forwarded", "Forwarded", "Via", "X-Real-Ip", "True-Client-Ip", "X-Client-Ip",
	"X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Groups", "X-Auth-Request-Access-Token",
	"X-Ms-Client-Principal", "X-Ms-Client-Principal-Name", "X-Ms-Client-Principal-Id", "X-Ms-Client-Principal-Idp", "X-Ms-Token-Aad-Access-Token",
	"X-Original-Url", "X-Original-Uri", "X-Original-Host", "X-Original-Method", "X-Rewrite-Url", "X-Envoy-Original-Path", "X-Envoy-External-Address",
	"Azureml-Model-Deployment", "Proxy-Authorization", "Cookie2", "Remote-User", "X-Remote-User", "X-Remote-Group", "X-Http-Method-Override",
	"X-Goog-Authenticated-User-Email", "X-Amzn-Oidc-Identity", "Ssl-Client-Verify", "X-Ssl-Client-Dn", "X-Client-Cert",
	"Proxy", "X-Username", "X-User-Id", "X-Userinfo", "X-Consumer-Username", "X-Consumer-Custom-Id", "X-Vouch-User", "X-Pomerium-Jwt-Assertion",
	"Tailscale-User-Login", "Cf-Access-Authenticated-User-Email", "Cf-Access-Jwt-Assertion", "X-Azure-Clientip", "X-Azure-Socketip",
	"Api-Key", "X-Api-Key", "Ocp-Apim-Subscription-Key",
	"Remote-Name", "Remote-Email", "Remote-Groups", "X-Authentik-Username", "X-Authelia-User", "Oidc-Claim-Sub", "X-Oidc-Claims", "X-Id-Token", "X-Access-Token", "X-Credential-Identifier",
	"Impersonate-User", "Impersonate-Extra-Scopes", "L5d-Client-Id", "X-Appengine-User-Email", "X-Amzn-Mtls-Clientcert-Subject", "X-Spiffe-Id", "X-Apigateway-Api-Userinfo", "X-Endpoint-Api-Userinfo",
	"X-Serverless-Authorization", "X-Jwt-Assertion", "X-Auth-User", "X-Anonymous-Consumer", "Disguised-Host", "Was-Default-Hostname", "X-Waws-Unencoded-Url", "X-Appservice-Proto",
	"X-Remote-Ip", "Wl-Proxy-Client-Ip", "Cf-Connecting-Ipv6", "X-Url-Scheme", "Front-End-Https",
}

// TestNamesThatAServerReadsAsOthersNeverReachTheModel: a CGI-like server makes one
// variable of "Content_Length" and the field that frames the message.
func TestNamesThatAServerReadsAsOthersNeverReachTheModel(t *testing.T) {
	up := record(t, "")
	routes, pass := kinds(to(t, up.url()))
	h := open(t, proxy.Config{Routes: routes})
	for kind, field := range pass {
		for _, name := range []string{"Content_Length", "Transfer_Encoding", "Host_", "_Host", "X_Anything", "Content.Length", "X~Y", "X!"} {
			h.raw(t, "POST /models/"+kind+" HTTP/1.1\r\nHost: x\r\n"+field+"\r\n"+name+": SPOOFED\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n")
			if head, _ := up.last(t); strings.Contains(head, "SPOOFED") || !strings.Contains(head, "X-Kept: 1") {
				t.Errorf("%s: %s:\n%s", kind, name, head)
			}
		}
	}
}

// spellings returns name as a caller could write it so that some server takes it
// for the same.
func spellings(name string) []string {
	all := []string{name, strings.ToLower(name), strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"), strings.ToUpper(strings.ReplaceAll(name, "-", "_"))}
	if first := strings.Index(name, "-"); first >= 0 {
		all = append(all, name[:first]+"_"+name[first+1:], strings.ReplaceAll(name, "-", "."))
	}
	if last := strings.LastIndex(name, "-"); last >= 0 {
		all = append(all, strings.ToLower(name[:last]+"_"+name[last+1:]))
	}
	return all
}

func TestSpoofedHeadersNeverReachTheModel(t *testing.T) {
	up := record(t, "")
	routes, pass := kinds(to(t, up.url()))
	h := open(t, proxy.Config{Routes: routes})
	for kind, field := range pass {
		for _, name := range spoofed {
			for _, spelt := range spellings(name) {
				request := "POST /models/" + kind + " HTTP/1.1\r\nHost: x\r\n" + field + "\r\n" + spelt + ": SPOOFED\r\n" + spelt + ": 203.0.113.9, SPOOFED\r\nContent-Length: 0\r\n\r\n"
				if status := h.raw(t, request); status != http.StatusOK {
					t.Errorf("%s with %s: status %d", kind, spelt, status)
				}
				if head, _ := up.last(t); strings.Contains(head, "SPOOFED") || strings.Contains(head, "203.0.113.9") {
					t.Errorf("%s: %s reached the upstream:\n%s", kind, spelt, head)
				}
			}
		}
	}
}

func TestCallersCredentialsNeverReachTheModel(t *testing.T) {
	up := record(t, "")
	routes, pass := kinds(to(t, up.url()))
	h := open(t, proxy.Config{Routes: routes})
	for kind, field := range pass {
		extra := "Cookie: other=CANARY; amlproxy-state=CANARY\r\n"
		if strings.HasPrefix(field, "Cookie") {
			extra = "Proxy-Authorization: Bearer CANARY\r\n"
		}
		if kind == "public" {
			extra += "Authorization: Bearer CANARY\r\nAuthorization: Basic CANARY\r\n"
		}
		if status := h.raw(t, "GET /models/"+kind+" HTTP/1.1\r\nHost: x\r\n"+field+"\r\n"+extra+"\r\n"); status != http.StatusOK {
			t.Errorf("%s: status %d", kind, status)
		}
		head, _ := up.last(t)
		if strings.Contains(head, "CANARY") || len(fields(head, "Cookie")) != 0 || strings.Contains(head, "Bearer batch") {
			t.Errorf("%s: the upstream got\n%s", kind, head)
		}
		if got := fields(head, "Authorization"); !slices.Equal(got, []string{"Bearer " + credential}) {
			t.Errorf("%s: Authorization %q", kind, got)
		}
	}
}

func TestConnectionHeaderCannotStripCredential(t *testing.T) {
	up := record(t, "")
	routes, _ := kinds(to(t, up.url()))
	routes[1].IdentityHeaders = []string{"user", "email", "groups"}
	h := open(t, proxy.Config{Routes: routes})
	ours := []string{
		"Authorization", "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
		"X-Request-Id", "Traceparent",
	}
	var lines strings.Builder
	for _, name := range ours {
		lines.WriteString("Connection: close, " + strings.ToLower(name) + "\r\nConnection: " + name + "\r\n")
	}
	for _, connection := range []string{lines.String(), "Connection: " + strings.Join(ours, ",") + "\r\n", "connection: " + strings.ToUpper(strings.Join(ours, " ,\t")) + "\r\n", "Connection:\r\n"} {
		if status := h.raw(t, "GET /models/signed-in HTTP/1.1\r\nHost: x\r\nCookie: amlproxy=alice\r\n"+connection+"\r\n"); status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		head, _ := up.last(t)
		for _, name := range ours {
			if got := fields(head, name); len(got) != 1 || got[0] == "" {
				t.Errorf("%q: %s is %q", connection, name, got)
			}
		}
		if got := fields(head, "Connection"); len(got) != 0 {
			t.Errorf("Connection %q was passed on", got)
		}
	}
}

func TestIdentityHeadersSayWhoIsCallingAndNothingElse(t *testing.T) {
	up := record(t, "")
	everything := []string{"user", "email", "groups"}
	people["odd"] = people["alice"]
	odd := *people["alice"]
	odd.Subject, odd.Email, odd.Groups = "o\r\nX-Evil: 1", "é@example.com", []string{"a,ml-admins", "plain", "ünder", "tab\tbed", " spaced"}
	people["odd"] = &odd
	t.Cleanup(func() { delete(people, "odd") })
	h := open(t, proxy.Config{Routes: []proxy.Route{
		{Name: "all", IdentityHeaders: everything, Transport: to(t, up.url())},
		{Name: "user", IdentityHeaders: everything[:1], Transport: to(t, up.url())},
		{Name: "public", Public: true, IdentityHeaders: everything, Transport: to(t, up.url())},
	}})
	for _, c := range []struct{ route, who, user, email, groups string }{
		{"all", "alice", "a1", "alice@Example.com", "ml-users,ml-admins"},
		{"all", "bob", "b1", "", "ml-users"}, // nobody vouches for his address
		{"all", "odd", "", "", "plain"},      // a value that could be read as two is left out
		{"user", "alice", "a1", "", ""},
		{"public", "alice", "", "", ""},
	} {
		h.ask(t, "GET", "/models/"+c.route, "", "Cookie: amlproxy="+c.who, "X-Forwarded-User: admin", "X-Forwarded-Email: admin", "X-Forwarded-Groups: admin")
		head, _ := up.last(t)
		for name, want := range map[string]string{"X-Forwarded-User": c.user, "X-Forwarded-Email": c.email, "X-Forwarded-Groups": c.groups, "X-Evil": ""} {
			if got := strings.Join(fields(head, name), "|"); got != want {
				t.Errorf("%s as %s: %s is %q, want %q", c.route, c.who, name, got, want)
			}
		}
	}
}

func TestForwardedFieldsAreBelievedFromTrustedProxiesAlone(t *testing.T) {
	up := record(t, "")
	claims := []string{"X-Forwarded-For: 198.51.100.1, garbage, 203.0.113.7", "X-Forwarded-For: 10.1.1.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: outer.example"}
	routes := []proxy.Route{{Name: "m", Public: true, Transport: to(t, up.url())}}
	loopback, inner := netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")
	for _, c := range []struct {
		name    string
		trusted []netip.Prefix
		claims  []string
		address string
		chain   string
	}{
		{"none by default", nil, claims, "127.0.0.1", "127.0.0.1"},
		{"private addresses are not special", []netip.Prefix{inner}, claims, "127.0.0.1", "127.0.0.1"},
		{"the hop that a trusted one saw", []netip.Prefix{loopback}, claims, "10.1.1.1", "10.1.1.1, 127.0.0.1"},
		{"through two trusted ones, not further", []netip.Prefix{loopback, inner}, claims, "203.0.113.7", "203.0.113.7, 10.1.1.1, 127.0.0.1"},
		{"a hop that is no address ends it", []netip.Prefix{loopback}, []string{"X-Forwarded-For: 198.51.100.1, nonsense"}, "127.0.0.1", "127.0.0.1"},
		{"mapped addresses are their IPv4", []netip.Prefix{loopback, inner}, []string{"X-Forwarded-For: 198.51.100.1, ::ffff:10.0.0.1"}, "198.51.100.1", "198.51.100.1, 10.0.0.1, 127.0.0.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := open(t, proxy.Config{Routes: routes, TrustedProxies: c.trusted})
			h.ask(t, "GET", "/models/m", "", c.claims...)
			head, _ := up.last(t)
			if got := fields(head, "X-Forwarded-For"); !slices.Equal(got, []string{c.chain}) {
				t.Errorf("X-Forwarded-For %q, want %q", got, c.chain)
			}
			// The public URL is set: nobody's word is needed about these.
			if got := fields(head, "X-Forwarded-Proto"); !slices.Equal(got, []string{"https"}) {
				t.Errorf("X-Forwarded-Proto %q", got)
			}
			if got := fields(head, "X-Forwarded-Host"); !slices.Equal(got, []string{"models.example.com"}) {
				t.Errorf("X-Forwarded-Host %q", got)
			}
			if got := h.record(t).Address.String(); got != c.address {
				t.Errorf("recorded address %s, want %s", got, c.address)
			}
		})
	}
}

func TestCallersTrailersAreNotForwarded(t *testing.T) {
	up := record(t, "")
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Transport: to(t, up.url())}}})
	status := h.raw(t, "POST /models/m HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nTrailer: X-Forwarded-User, X-Free\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Forwarded-User: admin\r\nX-Free: 1\r\n\r\n")
	up.mu.Lock()
	defer up.mu.Unlock()
	if status != http.StatusOK || len(up.heads) != 1 || up.bodies[0] != "{}" || len(up.trailers[0]) != 0 || len(fields(up.heads[0], "Trailer")) != 0 {
		t.Errorf("status %d, upstream got %q %q %v", status, up.heads, up.bodies, up.trailers)
	}
}

func TestUpgradesOtherThanWebSocketAreNotForwarded(t *testing.T) {
	up := record(t, "")
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Transport: to(t, up.url())}}})
	for _, upgrade := range []string{"h2c", "TLS/1.0", "websocket, h2c", "connect-udp"} {
		h.raw(t, "GET /models/m HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nUpgrade: "+upgrade+"\r\n\r\n")
		head, _ := up.last(t)
		if head == "" || len(fields(head, "Upgrade"))+len(fields(head, "Connection"))+len(fields(head, "HTTP2-Settings")) != 0 {
			t.Errorf("%s: the upstream got\n%s", upgrade, head)
		}
	}
}

func TestRequestIDIsKeptOrMade(t *testing.T) {
	up := record(t, "")
	h := open(t, proxy.Config{Routes: []proxy.Route{{Name: "m", Public: true, Transport: to(t, up.url())}}})
	for id, kept := range map[string]bool{
		"abc-123_X.y:z/+=": true, strings.Repeat("a", 100): true, strings.Repeat("a", 101): false, "a b": false, "a\"b": false, "<b>": false, "é": false,
	} {
		a := h.ask(t, "GET", "/models/m", "", "X-Request-Id: "+id)
		head, _ := up.last(t)
		got := a.Header.Values("X-Request-Id")
		if len(got) != 1 || (got[0] == id) != kept || len(got[0]) > 100 || !slices.Equal(fields(head, "X-Request-Id"), got) || h.record(t).RequestID != got[0] {
			t.Errorf("%q: answered %q, forwarded %q", id, got, fields(head, "X-Request-Id"))
		}
	}
	const good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for parent, kept := range map[string]bool{good: true, "00-00000000000000000000000000000000-b7ad6b7169203331-01": false, "junk": false, strings.ToUpper(good): false, good + "-x": false} {
		h.ask(t, "GET", "/models/m", "", "Traceparent: "+parent, "Tracestate: a=b")
		head, _ := up.last(t)
		got := fields(head, "Traceparent")
		if len(got) != 1 || (got[0] == parent) != kept || len(got[0]) != len(good) || (len(fields(head, "Tracestate")) == 1) != kept {
			t.Errorf("traceparent %q became %q", parent, got)
		}
	}
}

func TestUpstreamCannotSpeakForTheProxy(t *testing.T) {
	up := record(t, "HTTP/1.1 200 OK\r\nSet-Cookie: amlproxy=evil\r\nset-cookie: __Host-amlproxy=evil; Path=/\r\nWWW-Authenticate: Basic realm=x\r\n"+
		"Access-Control-Allow-Origin: https://evil.example\r\nAccess-Control-Allow-Credentials: true\r\nAlt-Svc: h3=\":443\"\r\nStrict-Transport-Security: max-age=1\r\n"+
		"Clear-Site-Data: \"*\"\r\nService-Worker-Allowed: /\r\nX-Auth-Request-User: root\r\nX-Request-Id: theirs\r\nX-Ms-Request-Id: theirs\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"+
		"X-Ms-Run-Fn-Exec-Ms: 3\r\nms-azureml-model-error-reason: because\r\nTransfer-Encoding: chunked\r\nTrailer: Ms-Azureml-Bandwidth-Request-Delay-Ms, Set-Cookie\r\n\r\n"+
		"2\r\n{}\r\n0\r\nMs-Azureml-Bandwidth-Request-Delay-Ms: 7\r\nSet-Cookie: a=b\r\nX-Late: 1\r\nAccess-Control-Allow-Origin: *\r\n\r\n")
	routes, pass := kinds(to(t, up.url()))
	h := open(t, proxy.Config{Routes: routes})
	for kind, field := range pass {
		a := h.ask(t, "GET", "/models/"+kind, "", field)
		for _, name := range []string{"Www-Authenticate", "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials", "Alt-Svc", "Strict-Transport-Security", "Clear-Site-Data", "Service-Worker-Allowed", "X-Auth-Request-User", "X-Hop"} {
			if got := a.Header.Values(name); len(got) != 0 {
				t.Errorf("%s: %s: %q", kind, name, got)
			}
		}
		if got := strings.Join(a.Header.Values("Set-Cookie"), "|"); strings.Contains(got, "evil") {
			t.Errorf("%s: Set-Cookie %q", kind, got)
		}
		if a.body != "{}" || a.Header.Get("X-Ms-Run-Fn-Exec-Ms") != "3" || a.Header.Get("Ms-Azureml-Model-Error-Reason") != "because" {
			t.Errorf("%s: %q %v", kind, a.body, a.Header)
		}
		if a.Trailer.Get("Ms-Azureml-Bandwidth-Request-Delay-Ms") != "7" || a.Trailer.Get("Set-Cookie") != "" || a.Trailer.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: trailer %v", kind, a.Trailer)
		}
		if rec := h.record(t); rec.UpstreamRequestID != "theirs" || a.Header.Get("X-Request-Id") != rec.RequestID {
			t.Errorf("%s: record %q, %q", kind, rec.UpstreamRequestID, rec.RequestID)
		}
	}
}

func FuzzSpoofedHeader(f *testing.F) {
	for _, name := range spoofed {
		f.Add(name)
		f.Add(strings.ReplaceAll(strings.ToUpper(name), "-", "_"))
	}
	f.Add("Authorization")
	f.Add("Cookie")
	out := make(chan http.Header, 1)
	p, err := proxy.New(proxy.Config{Record: func(*proxy.Record) {}, Routes: []proxy.Route{{
		Name: "m", Public: true,
		Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
			out <- r.Header
			return &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{}, Body: http.NoBody}, nil
		}),
	}}})
	if err != nil {
		f.Fatal(err)
	}
	known := map[string]bool{"authorization": true, "cookie": true}
	for _, name := range spoofed {
		known[strings.ToLower(name)] = true
	}
	f.Fuzz(func(t *testing.T, name string) {
		r, err := http.NewRequest(http.MethodGet, "http://x/models/m", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.RequestURI, r.RemoteAddr = "/models/m", "192.0.2.1:1"
		r.URL.Host, r.URL.Scheme = "", ""
		r.Header[name] = []string{"SPOOFED"}
		p.ServeHTTP(new(nullWriter), r)
		h := <-out
		folded := strings.NewReplacer("_", "-", ".", "-").Replace(strings.ToLower(name))
		for got, values := range h {
			if strings.Join(values, "") == "SPOOFED" && (known[folded] || strings.HasPrefix(folded, "x-forwarded-")) {
				t.Fatalf("%q reached the upstream as %q", name, got)
			}
		}
	})
}
