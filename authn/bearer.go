package authn

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

const maxToken = 16 << 10

// BearerConfig is what NewBearer needs.
type BearerConfig struct {
	// Issuers are those whose access tokens are accepted; at least one, each with
	// at least one audience.
	Issuers []Issuer
	// ClientID is the client of the login, if there is one. ID tokens are made
	// out to it, so a token with this audience must show that it is an access token.
	ClientID string
	// Login, if not nil, shares what it fetches of its issuer: that one's metadata
	// and keys are then fetched once for both.
	Login *Login
	// Client makes every outgoing call with its Transport; nil means the default
	// one. Its redirect policy, cookie jar and timeout are not used.
	Client *http.Client
	// Claims, if not nil, names further claims to keep in Identity.Claims. It is
	// asked for each token that is verified, since rules change while the proxy runs.
	Claims func() []string
	// Vocabulary, if not nil, returns a short text that is another one when Claims
	// returns something else than before: a remembered token is then read again.
	Vocabulary func() string
	// Observe, if not nil, is told of each token that is verified. It must not block.
	Observe func(Event)
}

// Bearer is the Authenticator of access tokens in the Authorization field (RFC
// 6750 section 2.1): JWTs signed by one of its issuers (RFC 9068, or as Entra
// and others made them before it).
//
// A field of another scheme (Basic, say) is not a credential of this kind and
// counts as none: the answer to it is the same challenge that names Bearer.
type Bearer struct {
	parties    []party
	clientID   string
	claims     func() []string
	vocabulary func() string
	observe    func(Event)
	remembered *memory
}

// A party is an issuer of access tokens, and the provider that signs them.
type party struct {
	Issuer
	provider *provider
}

// NewBearer returns a Bearer. It does not touch the network. An issuer without
// an audience is an error: tokens for every other API would be accepted.
func NewBearer(cfg BearerConfig) (*Bearer, error) {
	if len(cfg.Issuers) == 0 {
		return nil, errors.New("bearer tokens need an issuer")
	}
	remembered, err := newMemory()
	if err != nil {
		return nil, err
	}
	b := &Bearer{clientID: cfg.ClientID, claims: orNone(cfg.Claims), vocabulary: orSilent(cfg.Vocabulary), observe: cfg.Observe, remembered: remembered}
	client := outgoing(cfg.Client)
	for _, issuer := range cfg.Issuers {
		if len(issuer.Audiences) == 0 {
			return nil, fmt.Errorf("issuer %q needs an audience", issuer.URL)
		}
		if slices.ContainsFunc(b.parties, func(p party) bool { return p.URL == issuer.URL }) {
			return nil, fmt.Errorf("issuer %q is listed twice", issuer.URL)
		}
		p, err := newProvider(issuer, client)
		if err != nil {
			return nil, err
		}
		if l := cfg.Login; l != nil && l.provider.URL == issuer.URL && slices.Equal(l.provider.Algorithms, issuer.Algorithms) {
			p = l.provider
		}
		b.parties = append(b.parties, party{issuer, p})
	}
	return b, nil
}

// Authenticate implements Authenticator. Its failures have Error.Bearer set.
func (b *Bearer) Authenticate(_ http.Header, r *http.Request) (*Identity, error) {
	token, err := bearerToken(r.Header["Authorization"])
	if err != nil {
		return nil, err
	}
	of := nameOf(token)
	if v, ok := b.remembered.get(r.Context(), of, b.vocabulary()); ok {
		return v.identity, nil
	}
	if !isToken68(token) {
		return nil, malformed("the Authorization field holds no bearer token")
	}
	v, err := b.remembered.once(r.Context(), of, b.vocabulary(), func(ctx context.Context) (verified, error) {
		v, err := b.verify(ctx, token)
		b.tell(err)
		return v, asBearer(err)
	})
	if err != nil {
		return nil, err
	}
	return v.identity, nil
}

// tell tells the observer, if there is one, of a token that was verified.
func (b *Bearer) tell(err error) {
	switch {
	case b.observe == nil:
	case err == nil:
		b.observe(Event{TokenVerified, OK})
	case errors.Is(err, ErrUnavailable):
		b.observe(Event{TokenVerified, Unavailable})
	default:
		b.observe(Event{TokenVerified, Forbidden})
	}
}

func orNone(claims func() []string) func() []string {
	if claims == nil {
		return func() []string { return nil }
	}
	return claims
}

func asBearer(err error) error {
	var e *Error
	if errors.As(err, &e) {
		e.Bearer = true
	}
	return err
}

// bearerToken takes what should be the token from the values of the Authorization field. Two
// fields are refused: what stands before or behind us might read the other one.
func bearerToken(fields []string) (string, error) {
	if len(fields) == 0 {
		return "", ErrNone
	}
	if len(fields) > 1 {
		return "", malformed("more than one Authorization field")
	}
	scheme, token, _ := strings.Cut(fields[0], " ")
	switch {
	case strings.EqualFold(scheme, "Bearer"): // RFC 9110 section 11.1
		return strings.Trim(token, " "), nil
	case isScheme(scheme):
		return "", ErrNone
	}
	return "", malformed("the Authorization field names no scheme")
}

func malformed(detail string) error {
	return &Error{Kind: ErrInvalid, Malformed: true, Bearer: true, Detail: detail}
}

// isScheme reports whether s is a token as RFC 9110 section 5.6.2 has it.
func isScheme(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	}) < 0
}

// isToken68 reports whether s has the form of RFC 6750's b64token.
func isToken68(s string) bool {
	body := strings.TrimRight(s, "=")
	return body != "" && strings.IndexFunc(body, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._~+/", r))
	}) < 0
}

// verify is the whole judgement of a token, in order. Claims that are read
// before the signature is checked only choose whose keys to check it with.
func (b *Bearer) verify(ctx context.Context, raw string) (verified, error) {
	t, err := parseJWT(raw, maxToken)
	if err != nil {
		return verified{}, err
	}
	iss, tid := t.claims.text("iss"), t.claims.text("tid")
	at := slices.IndexFunc(b.parties, func(p party) bool { return p.names(iss, tid) })
	if at < 0 {
		return verified{}, invalid("the issuer is %q, this proxy trusts %s", clip(iss, 200), b.issuers())
	}
	p := b.parties[at]
	keys, err := p.provider.verify(ctx, t)
	if err != nil {
		return verified{}, err
	}
	if err := b.isAccessToken(t); err != nil {
		return verified{}, err
	}
	if err := isFor(t, p.Audiences); err != nil {
		return verified{}, err
	}
	expires, err := t.inTime(time.Now())
	if err != nil {
		return verified{}, err
	}
	if err := t.checkSubject(); err != nil {
		return verified{}, err
	}
	if !p.admits(tid) {
		return verified{}, forbidden("the tenant %q is not let in", clip(tid, 100))
	}
	vocabulary := b.vocabulary()
	id := p.identify(t.claims, b.claims())
	id.Vocabulary = vocabulary
	id.Method, id.Expires = ByBearer, expires
	return verified{id, expires, p.provider, keys}, nil
}

func (b *Bearer) issuers() string {
	var all []string
	for _, p := range b.parties {
		all = append(all, p.URL)
	}
	return quoted(all)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func isFor(t *jwt, expected []string) error {
	aud, err := t.claims.audience()
	if err != nil {
		return caused(invalid("the token has no audience"), err)
	}
	if slices.ContainsFunc(aud, func(a string) bool { return slices.Contains(expected, a) }) {
		return nil
	}
	if slices.ContainsFunc(aud, ofAzure) {
		return invalid("the audience is %s: that is a token for Azure itself, which this proxy takes from nobody; get one for %s", quoted(aud), quoted(expected))
	}
	return invalid("the audience is %s, this proxy expects %s", quoted(aud), quoted(expected))
}

// ofAzure reports whether an audience is that of the workspace's own interfaces.
// A token for them is what the proxy calls models with: one that somebody presents
// here was taken from the proxy, or lets him call the model without it (the
// collector that accepted any token like its own, CVE-2026-42602).
func ofAzure(audience string) bool {
	host, _, _ := strings.Cut(strings.TrimPrefix(audience, "https://"), "/")
	switch host {
	case "ml.azure.com", "ml.azure.us", "ml.azure.cn", "management.azure.com", "management.core.windows.net",
		"management.usgovcloudapi.net", "management.core.usgovcloudapi.net", "management.chinacloudapi.cn", "management.core.chinacloudapi.cn",
		"graph.microsoft.com", "00000003-0000-0000-c000-000000000000":
		return true
	}
	return false
}

func quoted(list []string) string {
	return clip(`"`+strings.Join(list, `" or "`)+`"`, 300)
}

// isAccessToken refuses tokens of other kinds that the same issuer signs. An ID
// token says that somebody signed in to a client; whoever holds that client's
// ID token must not be able to call models with it.
func (b *Bearer) isAccessToken(t *jwt) error {
	const advice = "this is an ID token; send an access token"
	switch t.typ {
	case "at+jwt": // RFC 9068 section 2.1: it says so itself
		return nil
	case "", "jwt":
	default:
		return invalid("a token of type %q is not an access token", clip(t.typ, 50))
	}
	for _, name := range []string{"nonce", "at_hash", "c_hash"} {
		if t.claims.has(name) {
			return invalid(advice)
		}
	}
	switch kind := t.claims.text("typ"); strings.ToLower(kind) { // Keycloak says it here
	case "", "bearer", "jwt", "at+jwt":
	default:
		return invalid("a token of type %q is not an access token", clip(kind, 50))
	}
	if b.clientID == "" || !slices.Contains(t.claims.texts("aud"), b.clientID) {
		return nil
	}
	for _, name := range []string{"scp", "scope", "client_id", "appid", "azpacr", "appidacr", "idtyp"} {
		if t.claims.has(name) {
			return nil
		}
	}
	if t.claims.text("typ") != "" {
		return nil
	}
	return invalid(advice)
}
