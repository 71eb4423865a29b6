package authn_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"amlproxy/authn"
	"amlproxy/authn/authntest"
)

// An issuer is the least that an OpenID provider is: metadata and keys. Unlike
// authntest's it can have any name, Entra's for one, and needs no socket.
type issuer struct {
	url, named string // named is what its metadata says instead
	mu         sync.Mutex
	key        *ecdsa.PrivateKey
	signer     any // the member issuer of the key in the set, as Entra has it; nil: none
	kid        int
	down       bool
}

func newIssuer(t testing.TB, url string) *issuer {
	i := &issuer{url: url, named: url}
	i.rotate(t)
	return i
}

func (i *issuer) rotate(t testing.TB) {
	t.Helper()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key, i.kid = must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t), i.kid+1
}

func (i *issuer) setDown(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.down:
		w.WriteHeader(http.StatusBadGateway)
	case strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
		_ = json.NewEncoder(w).Encode(map[string]string{
			"issuer": i.named, "jwks_uri": i.url + "/keys", "authorization_endpoint": i.url + "/authorize", "token_endpoint": i.url + "/token",
		})
	default:
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": []any{i.published()}})
	}
}

func (i *issuer) published() map[string]any {
	text, _ := json.Marshal(jose.JSONWebKey{Key: i.key.Public(), KeyID: i.keyID(), Use: "sig"})
	var members map[string]any
	_ = json.Unmarshal(text, &members)
	if i.signer != nil {
		members["issuer"] = i.signer
	}
	return members
}

func (i *issuer) keyID() string { return fmt.Sprint(i.kid) }

const (
	ours   = "11111111-1111-1111-1111-111111111111"
	theirs = "22222222-2222-2222-2222-222222222222"
)

func TestEntraIssuers(t *testing.T) {
	const login, sts = "https://login.microsoftonline.com/", "https://sts.windows.net/"
	for _, c := range []struct {
		name     string
		tenant   string // of the issuer
		tenants  []string
		iss, tid string
		want     error
	}{
		{"v2", ours, nil, login + ours + "/v2.0", ours, nil},
		{"v1", ours, nil, sts + ours + "/", ours, nil},
		{"v2 of another tenant", ours, nil, login + theirs + "/v2.0", theirs, authn.ErrInvalid},
		{"v1 of another tenant", ours, nil, sts + theirs + "/", theirs, authn.ErrInvalid},
		{"our iss, their tid", ours, nil, login + ours + "/v2.0", theirs, authn.ErrInvalid},
		{"multi-tenant, ours", "common", []string{ours}, login + ours + "/v2.0", ours, nil},
		{"multi-tenant, ours, v1", "organizations", []string{ours}, sts + ours + "/", ours, nil},
		{"multi-tenant, theirs", "common", []string{ours}, login + theirs + "/v2.0", theirs, authn.ErrForbidden},
		{"multi-tenant, iss and tid differ", "common", []string{ours}, login + theirs + "/v2.0", ours, authn.ErrInvalid},
		{"multi-tenant, no tid", "common", []string{ours}, login + ours + "/v2.0", "", authn.ErrInvalid},
		{"multi-tenant, the template", "common", []string{ours}, login + "{tenantid}/v2.0", "{tenantid}", authn.ErrForbidden},
		{"multi-tenant, a path for a tid", "common", []string{ours}, login + ours + "/x/v2.0", ours + "/x", authn.ErrInvalid},
		{"one tenant, not on its list", ours, []string{theirs}, login + ours + "/v2.0", ours, authn.ErrForbidden},
		{"another host", ours, nil, "https://login.microsoftonline.com.evil.example/" + ours + "/v2.0", ours, authn.ErrInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			entra := newIssuer(t, login+c.tenant+"/v2.0")
			if c.tenant != ours {
				entra.named = login + "{tenantid}/v2.0"
			}
			b := must(authn.NewBearer(authn.BearerConfig{
				Issuers: []authn.Issuer{{URL: entra.url, Audiences: []string{audience}, Tenants: c.tenants}},
				Client:  &http.Client{Transport: inMemory{entra}},
			}))(t)
			claims := map[string]any{"iss": c.iss, "aud": audience, "sub": "s", "exp": time.Now().Add(time.Hour).Unix(), "scp": "score"}
			if c.tid != "" {
				claims["tid"] = c.tid
			}
			id, err := authenticate(b, entra.sign(t, claims))
			if c.want == nil {
				if err != nil || id.Tenant != c.tid || id.Issuer != c.iss {
					t.Errorf("%+v %v", id, err)
				}
				return
			}
			if e := wantError(t, err, c.want); !e.Bearer {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestKeyOfAnotherTenant: Entra's common key set holds keys that are for single
// tenants; one of those signs for that tenant alone.
func TestKeyOfAnotherTenant(t *testing.T) {
	const login = "https://login.microsoftonline.com/"
	for _, c := range []struct {
		name   string
		tenant string // of the issuer
		signer any
		v1     bool
		want   error
	}{
		{"no issuer", "common", nil, false, nil},
		{"the template", "common", login + "{tenantid}/v2.0", false, nil},
		{"the template, a v1 token", "common", login + "{tenantid}/v2.0", true, nil},
		{"our tenant", "common", login + ours + "/v2.0", false, nil},
		{"the consumers' tenant", "common", login + "9188040d-6c67-4c5b-b112-36a304b66dad/v2.0", false, authn.ErrInvalid},
		{"the consumers' tenant, a v1 token", "common", login + "9188040d-6c67-4c5b-b112-36a304b66dad/v2.0", true, authn.ErrInvalid},
		{"another host", "common", "https://login.microsoftonline.us/{tenantid}/v2.0", false, authn.ErrInvalid},
		{"one tenant, the template", ours, login + "{tenantid}/v2.0", false, nil},
		{"one tenant, another's key", ours, login + theirs + "/v2.0", false, authn.ErrInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			entra := newIssuer(t, login+c.tenant+"/v2.0")
			entra.signer = c.signer
			if c.tenant == "common" {
				entra.named = login + "{tenantid}/v2.0"
			}
			b := must(authn.NewBearer(authn.BearerConfig{
				Issuers: []authn.Issuer{{URL: entra.url, Audiences: []string{audience}, Tenants: []string{ours}}},
				Client:  &http.Client{Transport: inMemory{entra}},
			}))(t)
			claims := map[string]any{"iss": login + ours + "/v2.0", "tid": ours, "aud": audience, "sub": "s", "exp": time.Now().Add(time.Hour).Unix()}
			if c.v1 {
				claims["iss"] = "https://sts.windows.net/" + ours + "/"
			}
			if _, err := authenticate(b, entra.sign(t, claims)); c.want == nil && err != nil {
				t.Error(err)
			} else if c.want != nil {
				wantError(t, err, c.want)
			}
		})
	}
	broken := newIssuer(t, login+ours+"/v2.0")
	broken.signer = 7
	b := must(authn.NewBearer(authn.BearerConfig{
		Issuers: []authn.Issuer{{URL: broken.url, Audiences: []string{audience}}}, Client: &http.Client{Transport: inMemory{broken}},
	}))(t)
	wantError(t, second(authenticate(b, broken.sign(t, broken.claims()))), authn.ErrUnavailable)

	other := newIssuer(t, "https://idp.example") // elsewhere the member means nothing
	other.signer = "https://login.microsoftonline.com/" + theirs + "/v2.0"
	if _, err := authenticate(other.bearer(t), other.sign(t, other.claims())); err != nil {
		t.Error(err)
	}
}

func TestEntraIdentities(t *testing.T) {
	entra := newIssuer(t, "https://login.microsoftonline.com/"+ours+"/v2.0")
	b := must(authn.NewBearer(authn.BearerConfig{
		Issuers: []authn.Issuer{{URL: entra.url, Audiences: []string{"web"}}}, ClientID: "web",
		Client: &http.Client{Transport: inMemory{entra}},
	}))(t)
	base := map[string]any{"iss": entra.url, "aud": "web", "sub": "s", "tid": ours, "oid": "o", "exp": time.Now().Add(time.Hour).Unix()}
	token := func(more map[string]any) string {
		claims := maps.Clone(base)
		maps.Copy(claims, more)
		return entra.sign(t, claims)
	}
	for _, c := range []struct {
		name   string
		claims map[string]any
		check  func(*authn.Identity) bool
	}{
		{"app-only, v2", map[string]any{"azp": "app", "azpacr": "1", "roles": []string{"Score"}}, func(id *authn.Identity) bool {
			return id.Client == "app" && id.Email == "" && id.Roles[0] == "Score" && id.ObjectID == "o"
		}},
		{"app-only, v1", map[string]any{"appid": "app", "appidacr": "1", "roles": []string{"Score"}}, func(id *authn.Identity) bool {
			return id.Client == "app" && id.Scopes == nil
		}},
		{"delegated, v1", map[string]any{"appid": "app", "scp": "a b", "upn": "alice@corp.example"}, func(id *authn.Identity) bool {
			return len(id.Scopes) == 2 && id.Username == "alice@corp.example" && id.Email == ""
		}},
		// nOAuth: Entra lets anybody write any address into this claim.
		{"mutable email", map[string]any{"scp": "a", "email": "ceo@corp.example"}, func(id *authn.Identity) bool {
			return id.Email == "ceo@corp.example" && !id.EmailVerified
		}},
		{"email of a verified domain", map[string]any{"scp": "a", "email": "a@corp.example", "xms_edov": true}, func(id *authn.Identity) bool {
			return id.EmailVerified
		}},
		{"groups overage", map[string]any{"scp": "a", "_claim_names": map[string]any{"groups": "src1"}, "_claim_sources": map[string]any{
			"src1": map[string]any{"endpoint": "https://graph.windows.net/x/users/y/getMemberObjects"},
		}}, func(id *authn.Identity) bool { return id.GroupsOmitted && id.Groups == nil }},
		{"groups overage, short", map[string]any{"scp": "a", "hasgroups": true}, func(id *authn.Identity) bool { return id.GroupsOmitted }},
		{"another claim elsewhere", map[string]any{"scp": "a", "_claim_names": map[string]any{"wids": "src1"}, "hasgroups": false, "groups": []string{"g"}}, func(id *authn.Identity) bool {
			return !id.GroupsOmitted && len(id.Groups) == 1
		}},
		{"a guest", map[string]any{"scp": "a", "idp": "https://sts.windows.net/" + theirs + "/", "upn": "eve_evil.example#EXT#@corp.example", "email": "eve@evil.example"}, func(id *authn.Identity) bool {
			return id.Tenant == ours && id.Username == "eve_evil.example#EXT#@corp.example" && !id.EmailVerified
		}},
		{"app-only, optional claims", map[string]any{"appid": "app", "idtyp": "app", "roles": []string{"Score"}, "oid": "sp"}, func(id *authn.Identity) bool {
			return id.Client == "app" && id.ObjectID == "sp" && id.Tenant == ours && id.Name == "" && !id.EmailVerified
		}},
		{"authenticated when", map[string]any{"scp": "a", "auth_time": 1700000000}, func(id *authn.Identity) bool {
			return id.Method == authn.ByBearer && id.Time.Unix() == 1700000000
		}},
		{"verified, but there is no email", map[string]any{"scp": "a", "email_verified": true}, func(id *authn.Identity) bool {
			return !id.EmailVerified
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, err := authenticate(b, token(c.claims))
			if err != nil {
				t.Fatal(err)
			}
			if !c.check(id) {
				t.Errorf("%+v", id)
			}
		})
	}
	wantError(t, second(authenticate(b, token(map[string]any{"name": "Alice"}))), authn.ErrInvalid) // an ID token without a nonce
}

// TestOmittedGroupsStayOmittedInASession: a session must not turn "too many to
// say" into "none".
func TestOmittedGroupsStayOmittedInASession(t *testing.T) {
	for _, verified := range []bool{false, true} {
		for _, omitted := range []bool{false, true} {
			s, id := newSessions(t), alice()
			id.EmailVerified, id.GroupsOmitted = verified, omitted
			_, r := started(t, s, id)
			got, err := s.Authenticate(http.Header{}, r)
			if err != nil || got.EmailVerified != verified || got.GroupsOmitted != omitted {
				t.Errorf("%+v %v", got, err)
			}
		}
	}
}

// TestAuthenticatedWhen: a session says when even if the provider does not.
func TestAuthenticatedWhen(t *testing.T) {
	for _, silent := range []bool{false, true} {
		s := newSite(t, siteOptions{})
		s.provider.Misbehave(authntest.AlterIDToken(func(token *authntest.Token) {
			token.Claims["auth_time"] = 1700000000
			if silent {
				delete(token.Claims, "auth_time")
			}
		}))
		before := time.Now().Add(-2 * time.Second)
		browser := s.browser(t)
		s.signIn(t, browser, "alice", "/whoami")
		id, status := s.whoAmI(t, browser)
		if status != http.StatusOK || id.Method != authn.BySession || id.Client != "web" {
			t.Fatalf("%d %+v", status, id)
		}
		if silent != id.Time.After(before) || (!silent && id.Time.Unix() != 1700000000) {
			t.Errorf("silent %t: %v", silent, id.Time)
		}
	}
}
