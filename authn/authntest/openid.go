package authntest

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	httphelper "github.com/zitadel/oidc/v3/pkg/http"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"github.com/zitadel/schema"
)

// openID is what op's handlers ask about the provider that they serve. op has one
// of its own, op.Provider, whose router also leads to what this package does
// itself: the authorization callback, whose page is an html/template, and the
// device flow. Whoever makes one links all of that.
type openID struct {
	storage   *opStorage
	signedOut string // where a sign-out ends that names no address
	decoder   *schema.Decoder
	encoder   *schema.Encoder
}

var (
	_ op.Authorizer                     = (*openID)(nil)
	_ op.JWTAuthorizationGrantExchanger = (*openID)(nil)
	_ op.UserinfoProvider               = (*openID)(nil)
	_ op.Introspector                   = (*openID)(nil)
	_ op.RevokerJWTProfile              = (*openID)(nil)
	_ op.SessionEnder                   = (*openID)(nil)
)

func newOpenID(storage *opStorage, signedOut string) *openID {
	o := &openID{storage: storage, signedOut: signedOut, decoder: schema.NewDecoder(), encoder: oidc.NewEncoder()}
	o.decoder.IgnoreUnknownKeys(true) // RFC 6749 section 3.1
	return o
}

// The endpoints, as op answers them. The issuer is in the context of r: see ServeHTTP.

func (o *openID) authorize(w http.ResponseWriter, r *http.Request)  { op.Authorize(w, r, o) }
func (o *openID) exchange(w http.ResponseWriter, r *http.Request)   { op.Exchange(w, r, o) }
func (o *openID) userinfo(w http.ResponseWriter, r *http.Request)   { op.Userinfo(w, r, o) }
func (o *openID) introspect(w http.ResponseWriter, r *http.Request) { op.Introspect(w, r, o) }
func (o *openID) revoke(w http.ResponseWriter, r *http.Request)     { op.Revoke(w, r, o) }
func (o *openID) endSession(w http.ResponseWriter, r *http.Request) { op.EndSession(w, r, o) }
func (o *openID) publish(w http.ResponseWriter, r *http.Request)    { op.Keys(w, r, o.storage) }

// What they work with.

func (o *openID) Storage() op.Storage              { return o.storage }
func (o *openID) Decoder() httphelper.Decoder      { return o.decoder }
func (o *openID) Encoder() httphelper.Encoder      { return o.encoder }
func (o *openID) Crypto() op.Crypto                { return unencrypted{} }
func (o *openID) DefaultLogoutRedirectURI() string { return o.signedOut }
func (o *openID) Logger() *slog.Logger             { return slog.Default() }

func (o *openID) IDTokenHintVerifier(ctx context.Context) *op.IDTokenHintVerifier {
	return op.NewIDTokenHintVerifier(op.IssuerFromContext(ctx), &op.OpenIDKeySet{Storage: o.storage})
}

func (o *openID) AccessTokenVerifier(ctx context.Context) *op.AccessTokenVerifier {
	return op.NewAccessTokenVerifier(op.IssuerFromContext(ctx), &op.OpenIDKeySet{Storage: o.storage})
}

// JWTProfileVerifier checks what clients sign that have a key: of the last hour,
// with a second for clocks that differ.
func (o *openID) JWTProfileVerifier(ctx context.Context) *op.JWTProfileVerifier {
	return op.NewJWTProfileVerifier(o.storage, op.IssuerFromContext(ctx), time.Hour, time.Second)
}

// What they allow. The grant of RFC 7523 is among it, and is refused by the storage.

func (o *openID) AuthMethodPostSupported() bool             { return true }
func (o *openID) AuthMethodPrivateKeyJWTSupported() bool    { return true }
func (o *openID) GrantTypeRefreshTokenSupported() bool      { return true }
func (o *openID) GrantTypeClientCredentialsSupported() bool { return true }
func (o *openID) GrantTypeJWTAuthorizationSupported() bool  { return true }
func (o *openID) GrantTypeTokenExchangeSupported() bool     { return false }
func (o *openID) GrantTypeDeviceCodeSupported() bool        { return false }
func (o *openID) RequestObjectSupported() bool              { return false }

// unencrypted says that no token is encrypted here. op tries to decrypt an access
// token before it takes it for a signed one.
type unencrypted struct{}

func (unencrypted) Encrypt(string) (string, error) { return "", errUnsupported }
func (unencrypted) Decrypt(string) (string, error) { return "", errUnsupported }
