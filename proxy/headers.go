package proxy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"amlproxy/authn"
)

// Inbound fields that never reach a model, in lower case.
// Credentials are for the proxy. The others are believed by some server or
// framework when a proxy in front of it sends them; a caller must not be able to.
var (
	removedNames = map[string]bool{
		"authorization": true, "proxy-authorization": true, "cookie": true, "cookie2": true,
		// Taken for a credential by some endpoints of Azure.
		"api-key": true, "x-api-key": true, "ocp-apim-subscription-key": true,
		// Becomes HTTP_PROXY, through which a CGI program then calls (CVE-2016-5385).
		"proxy":     true,
		"forwarded": true, "x-forwarded": true, "via": true, "x-real-ip": true, "x-client-ip": true,
		"client-ip": true, "true-client-ip": true, "x-azure-clientip": true, "x-azure-socketip": true, "cf-connecting-ip": true, "fastly-client-ip": true,
		"x-cluster-client-ip": true, "x-host": true, "x-remote-addr": true, "x-remote-ip": true, "x-remote-host": true, "x-originating-ip": true,
		"cf-connecting-ipv6": true, "proxy-client-ip": true, "wl-proxy-client-ip": true, "incap-client-ip": true, "x-proxyuser-ip": true,
		"disguised-host": true, "was-default-hostname": true, "x-waws-unencoded-url": true, "x-appservice-proto": true, "x-url-scheme": true, "front-end-https": true,
		// Pin a deployment past the traffic split: the route's to say.
		"azureml-model-deployment": true,
		"remote-user":              true, "remote-name": true, "remote-email": true, "remote-groups": true, "x-remote-user": true, "x-remote-group": true, "x-user": true, "x-email": true, "x-groups": true,
		"x-username": true, "x-userid": true, "x-user-id": true, "x-user-name": true, "x-user-email": true, "x-userinfo": true,
		"x-id-token": true, "x-access-token": true, "x-auth-user": true, "x-auth-token": true, "x-jwt-assertion": true, "x-anonymous-consumer": true, "x-serverless-authorization": true,
		"x-apigateway-api-userinfo": true, "x-endpoint-api-userinfo": true,
		"x-ms-client-cert": true, "x-arr-clientcert": true, "x-arr-ssl": true, "x-arr-log-id": true,
		// Call another method than the one that was authorised.
		"x-http-method": true, "x-http-method-override": true, "x-method-override": true,
		// The caller's "Expect: 100-continue" was answered here; the Transport says
		// by itself when it wants one.
		"expect": true,
	}
	removedPrefixes = []string{
		"x-forwarded-", "x-auth-request-", "x-authenticated-", "x-ms-client-principal", "x-ms-token-", "x-original-", "x-rewrite-",
		"x-envoy-", "x-amzn-oidc-", "x-goog-authenticated-user-", "x-goog-iap-", "x-remote-extra-", "x-webauth-", "x-ssl-", "ssl-client-", "x-client-cert",
		"x-consumer-", "x-vouch-", "x-pomerium-", "tailscale-", "cf-access-",
		"x-authentik-", "x-authelia-", "oidc-", "x-oidc-", "x-credential-", "impersonate-", "l5d-", "x-appengine-", "x-amzn-mtls-", "x-spiffe-",
	}
	// websocketOnly are removed unless a WebSocket is being opened.
	websocketOnly = []string{"Connection", "Upgrade"}
)

// scrubRequest removes them in every spelling, and every field whose name is not
// of letters, digits and hyphens: "X_Forwarded_User" becomes the same variable as
// "X-Forwarded-User" in a CGI-like server (CVE-2025-64484), "Content_Length" that
// of the length, and only the server knows of which others that is true.
func scrubRequest(h http.Header) {
	for name := range h {
		if removed(name) {
			delete(h, name)
		}
	}
	// What ReverseProxy put back for an upgrade: only WebSockets pass. h2c would be
	// a tunnel in which nobody authorises (smuggling by upgrade).
	if !isWebSocket(h) {
		for _, name := range websocketOnly {
			delete(h, name)
		}
	}
}

func removed(name string) bool {
	var room [64]byte // most names are shorter
	folded := room[:0]
	for i := range len(name) {
		c := name[i]
		if c != '-' && !isAlnum(c) {
			return true
		}
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		folded = append(folded, c)
	}
	if removedNames[string(folded)] {
		return true
	}
	for _, prefix := range removedPrefixes {
		if len(folded) >= len(prefix) && string(folded[:len(prefix)]) == prefix {
			return true
		}
	}
	return false
}

func isWebSocket(h http.Header) bool { return strings.EqualFold(h.Get("Upgrade"), "websocket") }

// Fields of an upstream's answer that would speak for the proxy's own origin, in
// the spelling of net/http: its cookies, its challenges (they would ask callers
// for the credential that they must not have), its CORS, its transport policy, and
// what a page could be made to obey.
var (
	removedAnswers = map[string]bool{
		"Set-Cookie": true, "Set-Cookie2": true, "Www-Authenticate": true, "Proxy-Authenticate": true, "Authentication-Info": true,
		"Proxy-Authentication-Info": true, "Alt-Svc": true, "Strict-Transport-Security": true, "Public-Key-Pins": true, "Clear-Site-Data": true,
		"Service-Worker-Allowed": true, "Sourcemap": true, "Report-To": true, "Reporting-Endpoints": true, "Nel": true, "Origin-Agent-Cluster": true,
		"Refresh": true, "X-Accel-Redirect": true, "X-Sendfile": true, "X-Request-Id": true,
	}
	removedAnswerPrefixes = []string{"Access-Control-", "X-Accel-", "X-Auth-Request-"}
)

// scrubTrailer removes them from an answer's trailer, and the fields that must
// not stand in one because they frame or route a message (RFC 9110 section 6.5.1).
func scrubTrailer(h http.Header) {
	scrubAnswer(h)
	for _, name := range []string{"Connection", "Content-Encoding", "Content-Length", "Content-Type", "Host", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		delete(h, name)
	}
}

// scrubAnswer removes them from an answer's header.
func scrubAnswer(h http.Header) {
	for name := range h {
		if removedAnswers[name] || slices.ContainsFunc(removedAnswerPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			delete(h, name)
		}
	}
}

// Values that many messages have in common. Nobody changes one in its place: a
// field gets others, or more by append, which copies what is full.
var (
	noStore  = []string{"no-store"}
	noSniff  = []string{"nosniff"}
	sandbox  = []string{"sandbox"}
	byCaller = []string{"Cookie, Authorization"}
)

// join returns the values of a field that gets more.
func join(had, more []string) []string {
	if len(had) == 0 {
		return more
	}
	return append(had, more...)
}

// values are those of the fields that one message gets, in one piece of memory.
type values struct {
	all  []string
	room [8]string
}

// set sets a field, whose name is in canonical form.
func (v *values) set(h http.Header, name, value string) {
	if v.all == nil {
		v.all = v.room[:0]
	}
	v.all = append(v.all, value)
	h[name] = v.all[len(v.all)-1 : len(v.all) : len(v.all)]
}

// identityFields says what a model is told about the caller.
type identityFields struct{ user, email, groups bool }

func newIdentityFields(names []string) (identityFields, error) {
	var f identityFields
	for _, name := range names {
		switch name {
		case "user":
			f.user = true
		case "email":
			f.email = true
		case "groups":
			f.groups = true
		default:
			return f, fmt.Errorf("%q is none of user, email, groups", name)
		}
	}
	return f, nil
}

// set adds the fields under prefix ("X-Forwarded-", "X-Auth-Request-"). What the
// provider did not say is absent, and not the caller's own copy (CVE-2026-30851).
func (f identityFields) set(h http.Header, prefix string, id *authn.Identity) {
	if id == nil {
		return
	}
	if f.user && single(id.Subject) {
		h.Set(prefix+"User", id.Subject)
	}
	// An address that nobody vouches for is no identity (nOAuth).
	if f.email && id.EmailVerified && single(id.Email) {
		h.Set(prefix+"Email", id.Email)
	}
	if groups := joinable(id.Groups); f.groups && groups != "" {
		h.Set(prefix+"Groups", groups)
	}
}

// joinable joins values with commas and leaves out those that would be read as
// two, or as another: the group "a,admins" is not a membership of admins.
func joinable(values []string) string {
	kept := make([]string, 0, len(values))
	for _, v := range values {
		if single(v) {
			kept = append(kept, v)
		}
	}
	return strings.Join(kept, ",")
}

// single reports whether v stands in a field as the one value that it is. Where
// a field is read as a list (RFC 9110 section 5.6.1), the subject "a,root" is two.
func single(v string) bool { return plain(v) && !strings.Contains(v, ",") }

// plain reports whether v stands in a field as it is: printable ASCII (servers
// disagree about any other byte, CVE-2023-27493), no space at either end.
func plain(v string) bool {
	for i := range len(v) {
		if v[i] < ' ' || v[i] > '~' {
			return false
		}
	}
	return v != "" && v == strings.TrimSpace(v)
}
