package authntest

import (
	"crypto"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"
)

// The lifetimes that apply where Options names none.
const (
	defaultTokenLife   = time.Hour
	defaultSessionLife = 12 * time.Hour
)

// Options say what a Provider is. The zero value is a provider on a free
// loopback port that knows nobody.
type Options struct {
	// Listen is the address that Start listens on; 127.0.0.1:0 when empty.
	// Listener, when given, is used instead and closed with the Provider.
	Listen   string
	Listener net.Listener

	// Issuer is the provider's identifier, and where its endpoints are for those
	// who call it. It may name a host that resolves to nothing here. A port of 0
	// stands for the port that Start listens on. When empty it is the listener's own
	// address. An http issuer must be a loopback address (OpenID Connect
	// Discovery 1.0 section 3 asks for https).
	Issuer string

	// TLS makes Start serve TLS with these certificates.
	TLS *tls.Config

	Users   []User
	Clients []Client

	// Audiences are the aud of access tokens of clients that name none of their own.
	// Without either, aud is the client's ID.
	Audiences []string

	// Algorithm signs all tokens: ES256, the default because its keys are made in
	// no time, or RS256, which is what Entra uses.
	Algorithm string

	AccessTokenLife time.Duration // one hour when zero
	IDTokenLife     time.Duration // one hour when zero
	SessionLife     time.Duration // of a browser's session with the provider; 12 hours when zero

	// Title heads the pages, and Notes are lines of help below the login form,
	// the accounts of a demonstration, say.
	Title string
	Notes []string
}

// A User can sign in with a name and a password.
type User struct {
	Name, Password string

	Subject       string // sub; "user-" and the name when empty
	FullName      string
	Email         string
	EmailVerified bool

	Groups, Roles []string
	Claims        map[string]any // further claims, in every token and at userinfo
}

func (u *User) subject() string {
	if u.Subject != "" {
		return u.Subject
	}
	return "user-" + u.Name
}

// A Client is an application that may ask for tokens: a web application, a
// public client that has nothing but PKCE, or a service account.
type Client struct {
	ID string
	// Secret is sent by basic or post; empty makes a public client. RFC 6749 section
	// 2.3.1 form-encodes it in basic, which curl -u does not: choose letters and digits.
	Secret string

	// Key, the public half of one, makes a client that signs what it authenticates
	// with (private_key_jwt), instead of a Secret.
	Key crypto.PublicKey

	RedirectURIs   []string // compared byte for byte
	PostLogoutURIs []string

	// ServiceAccount allows the client_credentials grant, which needs a Secret. Its
	// tokens have the client's ID as sub, and these groups and roles.
	ServiceAccount bool
	Groups, Roles  []string

	Audiences []string       // aud of its access tokens; Options.Audiences when empty
	Scopes    []string       // what it may ask for besides the scopes of OpenID Connect
	Claims    map[string]any // further claims of its access tokens
}

// resolve checks o and returns it with every default filled in. listening is
// the address that is served, empty when a caller mounts the provider itself.
func (o Options) resolve(listening string) (Options, *url.URL, error) {
	if o.Issuer == "" {
		o.Issuer = o.scheme() + "://" + listening
	}
	base, err := url.Parse(o.Issuer)
	if err != nil {
		return o, nil, fmt.Errorf("issuer: %w", err)
	}
	if base.Port() == "0" && listening != "" {
		_, port, err := net.SplitHostPort(listening)
		if err != nil {
			return o, nil, fmt.Errorf("issuer: %w", err)
		}
		base.Host = net.JoinHostPort(base.Hostname(), port)
		o.Issuer = base.String()
	}
	if err := checkIssuer(base); err != nil {
		return o, nil, err
	}
	o.AccessTokenLife = orDefault(o.AccessTokenLife, defaultTokenLife)
	o.IDTokenLife = orDefault(o.IDTokenLife, defaultTokenLife)
	o.SessionLife = orDefault(o.SessionLife, defaultSessionLife)
	if o.Algorithm == "" {
		o.Algorithm = "ES256"
	}
	if o.Title == "" {
		o.Title = "Sign in"
	}
	return o, base, o.checkNames()
}

func (o Options) scheme() string {
	if o.TLS != nil {
		return "https"
	}
	return "http"
}

func orDefault(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

func checkIssuer(u *url.URL) error {
	switch {
	case u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("issuer %q: want scheme, host and perhaps a path", u.Redacted())
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("issuer %q: want https, or http on a loopback address", u.Redacted())
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return ip.IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}

func (o Options) checkNames() error {
	seen := map[string]bool{}
	for _, u := range o.Users {
		// An account whose password is empty would let anyone in.
		if u.Name == "" || u.Password == "" {
			return errors.New("a user needs a name and a password")
		}
		if seen["user "+u.Name] || seen["sub "+u.subject()] {
			return fmt.Errorf("user %q is there twice", u.Name)
		}
		seen["user "+u.Name], seen["sub "+u.subject()] = true, true
	}
	for _, c := range o.Clients {
		if c.ID == "" {
			return errors.New("a client needs an ID")
		}
		if c.ServiceAccount && c.Secret == "" {
			return fmt.Errorf("client %q: a service account needs a secret", c.ID)
		}
		if seen["client "+c.ID] {
			return fmt.Errorf("client %q is there twice", c.ID)
		}
		seen["client "+c.ID] = true
	}
	return nil
}
