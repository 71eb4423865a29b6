package azuremltest

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// assertionType is the only kind of client assertion (RFC 7523, section 2.2).
const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// authority is Entra ID with one tenant and one client in it, which may ask for
// tokens with the client credentials grant (RFC 6749, section 4.4) and prove
// itself by a secret or a signed assertion (RFC 7523).
func (a *Azure) authority() http.Handler {
	p := newPlane(a, "authority", func(status int, code, message string) answer {
		return entraError(a.clock.Now(), status, code, 90033, message)
	})
	p.on("GET /{tenant}/v2.0/.well-known/openid-configuration", "authority discovery", a.inTenant(a.openIDConfiguration))
	p.on("GET /{tenant}/discovery/v2.0/keys", "authority keys", a.inTenant(a.tokenKeys))
	p.on("POST /{tenant}/oauth2/v2.0/token", "authority token", a.inTenant(a.clientCredentials))
	return p.mux
}

// inTenant refuses other tenants than the one there is.
func (a *Azure) inTenant(next operation) operation {
	return func(r *http.Request) answer {
		if tenant := r.PathValue("tenant"); tenant != a.options.Tenant {
			return a.entraRefusal(http.StatusBadRequest, "invalid_request", 90002, "Tenant '"+tenant+"' not found.")
		}
		return next(r)
	}
}

func (a *Azure) openIDConfiguration(*http.Request) answer {
	base := a.entra.url + "/" + a.options.Tenant
	return jsonAnswer(http.StatusOK, fields{
		"issuer":                                base + "/v2.0", // on the authority's own host, or clients refuse it
		"token_endpoint":                        base + "/oauth2/v2.0/token",
		"authorization_endpoint":                base + "/oauth2/v2.0/authorize",
		"device_authorization_endpoint":         base + "/oauth2/v2.0/devicecode",
		"jwks_uri":                              base + "/discovery/v2.0/keys",
		"response_types_supported":              []string{"code"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"ES256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
	})
}

func (a *Azure) tokenKeys(*http.Request) answer {
	return jsonAnswer(http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{a.mint.public}})
}

// clientCredentials issues an access token. The client is judged before what it
// asks for, so that a wrong secret learns nothing about scopes.
func (a *Azure) clientCredentials(r *http.Request) answer {
	r.Body = http.MaxBytesReader(nil, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		return a.entraRefusal(http.StatusBadRequest, "invalid_request", 900144, "The request body must be a form.")
	}
	if grant := r.PostForm.Get("grant_type"); grant != "client_credentials" {
		return a.entraRefusal(http.StatusBadRequest, "unsupported_grant_type", 70003, "The app requested an unsupported grant type '"+grant+"'.")
	}
	if refusal, ok := a.isClient(r); !ok {
		return refusal
	}
	if claims := r.PostForm.Get("claims"); claims != "" && !json.Valid([]byte(claims)) {
		return a.entraRefusal(http.StatusBadRequest, "invalid_request", 50002, "The claims parameter is not JSON.")
	}
	return a.accessToken(r.PostForm.Get("scope"))
}

// accessToken issues a token for the resource of a scope, which for this grant
// is always the resource's .default.
func (a *Azure) accessToken(scope string) answer {
	resource, ok := resourceOf(scope)
	if !ok {
		return a.entraRefusal(http.StatusBadRequest, "invalid_scope", 1002012, "The provided value for scope "+scope+" is not valid: client credential flows need a resource with /.default.")
	}
	if !slices.ContainsFunc(a.resources(), func(known string) bool { return sameAudience(known, resource) }) {
		return a.entraRefusal(http.StatusBadRequest, "invalid_resource", 500011, "The resource principal named "+resource+" was not found in the tenant.")
	}
	issuer := a.entra.url + "/" + a.options.Tenant + "/v2.0"
	valid, refresh := a.entraLifetime()
	text, err := a.mint.issue(issuer, a.options.ClientID, resource, valid, fields{"tid": a.options.Tenant, "azp": a.options.ClientID, "ver": "2.0"})
	if err != nil {
		return a.entraRefusal(http.StatusInternalServerError, "server_error", 90033, err.Error())
	}
	body := fields{"token_type": "Bearer", "access_token": text, "expires_in": int64(valid / time.Second), "ext_expires_in": int64(valid / time.Second)}
	if refresh > 0 {
		body["refresh_in"] = int64(refresh / time.Second)
	}
	return jsonAnswer(http.StatusOK, body).with("Cache-Control", "no-store")
}

// resourceOf returns the one resource of a scope. Microsoft's own library asks
// for OpenID's scopes too, which mean nothing to this grant.
func resourceOf(scope string) (string, bool) {
	asked := slices.DeleteFunc(strings.Fields(scope), func(s string) bool {
		return slices.Contains([]string{"openid", "offline_access", "profile", "email"}, s)
	})
	if len(asked) != 1 {
		return "", false
	}
	return strings.CutSuffix(asked[0], "/.default")
}

// resources are the audiences that the authority issues tokens for.
func (a *Azure) resources() []string {
	return append([]string{a.options.ARMAudience, a.options.MLAudience}, a.options.Audiences...)
}

func (a *Azure) entraLifetime() (valid, refresh time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.options.EntraLifetime, a.options.EntraRefresh
}

// SetEntraLifetime changes how long the tokens that Entra issues from now on
// are valid, and when they should be renewed (zero: Entra does not say).
func (a *Azure) SetEntraLifetime(valid, refresh time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.options.EntraLifetime, a.options.EntraRefresh = valid, refresh
}

// isClient reports whether the request comes from the one client, or what to
// answer it.
func (a *Azure) isClient(r *http.Request) (answer, bool) {
	id, given, inHeader := r.BasicAuth()
	if !inHeader {
		id, given = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	assertion := r.PostForm.Get("client_assertion")
	switch {
	case id != a.options.ClientID:
		return a.entraRefusal(http.StatusBadRequest, "unauthorized_client", 700016, "Application with identifier '"+id+"' was not found in the directory."), false
	case assertion != "" && r.PostForm.Get("client_assertion_type") == assertionType:
		if err := a.checkAssertion(assertion); err != nil {
			return a.entraRefusal(http.StatusUnauthorized, "invalid_client", 700027, "The client assertion failed validation: "+err.Error()), false
		}
	case given == "":
		return a.entraRefusal(http.StatusUnauthorized, "invalid_client", 7000218, "The request body must contain client_assertion or client_secret."), false
	case subtle.ConstantTimeCompare([]byte(given), []byte(a.options.ClientSecret)) != 1:
		return a.entraRefusal(http.StatusUnauthorized, "invalid_client", 7000215, "Invalid client secret provided for app '"+id+"'."), false
	}
	return answer{}, true
}

// errNoAssertionKey: Options.AssertionKey is not set.
var errNoAssertionKey = errors.New("the app has no certificate")

// checkAssertion verifies what RFC 7523, section 3, asks for: signature,
// issuer, subject, audience, expiry.
func (a *Azure) checkAssertion(text string) error {
	if t, known := a.mint.find(text); known {
		return a.checkFederated(t)
	}
	if a.options.AssertionKey == nil {
		return errNoAssertionKey
	}
	parsed, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256})
	if err != nil {
		return fmt.Errorf("reading it: %w", err)
	}
	var claims jwt.Claims
	if err := parsed.Claims(a.options.AssertionKey, &claims); err != nil {
		return fmt.Errorf("checking its signature: %w", err)
	}
	return claims.ValidateWithLeeway(jwt.Expected{
		Issuer: a.options.ClientID, Subject: a.options.ClientID, Time: a.clock.Now(),
		AnyAudience: jwt.Audience{a.entra.url + "/" + a.options.Tenant + "/oauth2/v2.0/token"},
	}, jwt.DefaultLeeway)
}

func (a *Azure) entraRefusal(status int, code string, number int, text string) answer {
	return entraError(a.clock.Now(), status, code, number, text)
}

// entraError is RFC 6749, section 5.2, with what Entra adds to it.
func entraError(now time.Time, status int, code string, number int, text string) answer {
	trace, correlation, at := guid(), guid(), now.UTC().Format("2006-01-02 15:04:05Z")
	return jsonAnswer(status, fields{
		"error":             code,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s", number, text, trace, correlation, at),
		"error_codes":       []int{number},
		"timestamp":         at,
		"trace_id":          trace,
		"correlation_id":    correlation,
	}).with("Cache-Control", "no-store")
}

// sameAudience compares as Entra does where a resource was registered with and
// without a slash at its end.
func sameAudience(a, b string) bool { return strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/") }
