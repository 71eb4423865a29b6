package proxy

import (
	"net/http"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"
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
		// Between two hops. What frames a message, net/http says itself.
		"connection": true, "keep-alive": true, "proxy-connection": true, "te": true, "trailer": true, "transfer-encoding": true, "upgrade": true,
		"proxy-authenticate": true, "content-length": true,
	}
	removedPrefixes = []string{
		"x-forwarded-", "x-auth-request-", "x-authenticated-", "x-ms-client-principal", "x-ms-token-", "x-original-", "x-rewrite-",
		"x-envoy-", "x-amzn-oidc-", "x-goog-authenticated-user-", "x-goog-iap-", "x-remote-extra-", "x-webauth-", "x-ssl-", "ssl-client-", "x-client-cert",
		"x-consumer-", "x-vouch-", "x-pomerium-", "tailscale-", "cf-access-",
		"x-authentik-", "x-authelia-", "oidc-", "x-oidc-", "x-credential-", "impersonate-", "l5d-", "x-appengine-", "x-amzn-mtls-", "x-spiffe-",
	}
)

// outbound returns the header that the model gets, made in one go: what of the
// caller's may pass, less what he calls hop-by-hop (RFC 9110 section 7.6.1), and then
// what the proxy says. Whatever a caller names in Connection, nothing of the proxy's
// is there yet to be taken away.
func (x *exchange) outbound() http.Header {
	in := x.r.Header
	h := make(http.Header, len(in)+ours)
	for name, values := range in {
		if !removed(name) {
			h[name] = values
		}
	}
	for _, list := range in["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			h.Del(textproto.TrimString(name))
		}
	}
	// Only WebSockets pass. h2c would be a tunnel in which nobody authorises
	// (smuggling by upgrade).
	if opensWebSocket(in) {
		h["Connection"], h["Upgrade"] = upgrade, in["Upgrade"][:1]
	}
	if httpguts.HeaderValuesContainsToken(in["Te"], "trailers") { // and what else it may say is between two hops
		h["Te"] = trailers
	}
	x.caller.set(h, &x.values)
	x.route.identity.set(h, "X-Forwarded-", x.record.Identity)
	h["X-Request-Id"] = x.w.id
	if !x.follows {
		delete(h, "Tracestate") // it belongs to a trace that does not go on
	}
	x.values.set(h, "Traceparent", x.record.TraceParent)
	return h
}

// ours is how many fields most requests get, the credential included.
const ours = 6

// removed reports whether a field never reaches a model: one of those above in any
// spelling, and every one whose name is not of letters, digits and hyphens:
// "X_Forwarded_User" becomes the same variable as "X-Forwarded-User" in a CGI-like
// server (CVE-2025-64484), "Content_Length" that of the length, and only the server
// knows of which others that is true.
func removed(name string) bool {
	switch name { // most requests have nothing else
	case "Accept", "Accept-Encoding", "Accept-Language", "Content-Type", "User-Agent":
		return false
	case "Authorization", "Content-Length", "Cookie":
		return true
	}
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
