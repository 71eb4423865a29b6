package authn

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/time/rate"
)

const (
	metadataStale = time.Hour
	keysStale     = 5 * time.Minute // a key that the provider withdrew ends its tokens by then
)

// A provider is an issuer with what its discovery document says and its keys.
// Nothing is fetched before it is needed, so a provider that is down when the
// proxy starts is found when it is back.
type provider struct {
	Issuer
	client   *http.Client
	metadata remote[*metadata]
	keys     remote[[]key]
}

// metadata is the part of OpenID Connect Discovery 1.0 section 3 in use here.
type metadata struct {
	endpoint oauth2.Endpoint

	Keys       string   `json:"jwks_uri"`
	UserInfo   string   `json:"userinfo_endpoint"`
	EndSession string   `json:"end_session_endpoint"`
	Revocation string   `json:"revocation_endpoint"` // RFC 8414 section 2
	TokenAuth  []string `json:"token_endpoint_auth_methods_supported"`
	// AssertionAlgs are what a client's assertion may be signed with.
	AssertionAlgs []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	IssInReply    bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207 section 3
}

// wantsPost reports whether a secret is to be sent in the body and not in a header.
func (m *metadata) wantsPost() bool {
	return slices.Contains(m.TokenAuth, SecretPost) && !slices.Contains(m.TokenAuth, SecretBasic)
}

func newProvider(issuer Issuer, client *http.Client) (*provider, error) {
	if err := issuer.check(); err != nil {
		return nil, err
	}
	p := &provider{Issuer: issuer, client: client}
	bucket := func() *rate.Limiter { return rate.NewLimiter(rate.Every(10*time.Second), 2) }
	find := p.discover
	if issuer.Endpoints != nil {
		find = p.endpoints
	}
	p.metadata = remote[*metadata]{fetch: find, stale: metadataStale, again: bucket()}
	p.keys = remote[[]key]{fetch: p.fetchKeys, stale: keysStale, again: bucket(), same: sameKeys}
	return p, nil
}

// discover reads the discovery document, whose issuer has to be the one we asked for.
func (p *provider) discover(ctx context.Context) (*metadata, error) {
	ctx = oidc.ClientContext(calling(ctx, CallDiscovery), p.client)
	if p.multiTenant() {
		// Entra names a template there; the issuer of each token is compared with
		// its tenant, and the tenant with the allow-list, by Issuer.names and Issuer.admits.
		ctx = oidc.InsecureIssuerURLContext(ctx, p.URL)
	}
	found, err := oidc.NewProvider(ctx, p.URL)
	if err != nil {
		return nil, fmt.Errorf("discovering %s: %w", p.URL, brief(err))
	}
	m := &metadata{endpoint: found.Endpoint()}
	if err := found.Claims(m); err != nil {
		return nil, fmt.Errorf("discovering %s: %w", p.URL, brief(err))
	}
	return m, p.checkEndpoints(m)
}

// endpoints returns what would be discovered from what was set by hand.
func (p *provider) endpoints(context.Context) (*metadata, error) {
	e := p.Endpoints
	m := &metadata{
		endpoint: oauth2.Endpoint{AuthURL: e.Authorization, TokenURL: e.Token},
		Keys:     e.Keys, UserInfo: e.UserInfo, EndSession: e.EndSession,
	}
	return m, p.checkEndpoints(m)
}

func (p *provider) checkEndpoints(m *metadata) error {
	for _, address := range []string{m.Keys, m.endpoint.AuthURL, m.endpoint.TokenURL, m.UserInfo, m.EndSession} {
		if err := p.checkEndpoint(address); err != nil {
			return fmt.Errorf("endpoints of %s: %w", p.URL, err)
		}
	}
	if p.checkEndpoint(m.Revocation) != nil {
		m.Revocation = "" // nothing depends on it
	}
	return nil
}

// checkEndpoint refuses a step down from https to http. An endpoint may be absent.
func (p *provider) checkEndpoint(address string) error {
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return fmt.Errorf("endpoint %.100q is not an address", address)
	}
	if u.Scheme != "https" && u.Scheme != p.scheme() {
		return fmt.Errorf("endpoint %.100q is not https", address)
	}
	return nil
}

func (p *provider) fetchKeys(ctx context.Context) ([]key, error) {
	m, err := p.metadata.get(ctx)
	if err != nil {
		return nil, err
	}
	if m.value.Keys == "" {
		return nil, fmt.Errorf("discovering %s: no jwks_uri", p.URL)
	}
	body, err := get(calling(ctx, CallKeys), p.client, m.value.Keys, "")
	if err != nil {
		return nil, fmt.Errorf("fetching keys of %s: %w", p.URL, err)
	}
	keys, err := parseKeys(body)
	if err != nil {
		return nil, fmt.Errorf("fetching keys of %s: %w", p.URL, err)
	}
	return keys, nil
}

// verify checks that the provider signed t, and returns the key set that says
// so. A key unknown so far is looked for once more, as often as the bucket allows.
func (p *provider) verify(ctx context.Context, t *jwt) (*held[[]key], error) {
	if !p.accepts(t.alg) {
		return nil, invalid("the algorithm %s is not one that tokens of %s may be signed with", clip(t.alg, 20), p.URL)
	}
	keys, err := p.keys.get(ctx)
	if err != nil {
		return nil, unavailable(err)
	}
	may := func(k key) bool { return p.binds(k.issuer, t.claims.text("tid")) }
	said := t.signedBy(keys.value, may)
	if said == unknownKey {
		keys, err = p.keys.newer(ctx, keys)
		said = t.signedBy(keys.value, may)
	}
	switch {
	case said == genuine:
		return keys, nil
	case said == unknownKey && err != nil:
		return nil, unavailable(err)
	}
	return nil, invalid("the signature is not by a key of %s", p.URL)
}
