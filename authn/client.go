package authn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"amlproxy/internal/secret"
)

// A client is the proxy as the provider knows it: it asks the token endpoint.
// It is safe for concurrent use. No request is sent twice: a code, a refresh
// token and an assertion each work once.
type client struct {
	id       string
	redirect string // the redirect_uri of every login
	prove    atomic.Pointer[proof]
	provider *provider
	http     *http.Client // made by outgoing
}

// errInvalidGrant is what the provider says of a code or a refresh token that
// is used, expired or revoked (RFC 6749 section 5.2).
var errInvalidGrant = errors.New("invalid_grant")

// A tokenError is a refusal of the token endpoint. Of the answer only what RFC
// 6749 section 5.2 puts there is kept: some echo the request.
type tokenError struct {
	status            int
	code, description string
}

func (e *tokenError) Error() string {
	return fmt.Sprintf("status %d, %q: %q", e.status, clip(e.code, 60), clip(e.description, 200))
}

// hide takes out of what the provider said what it was asked with: some quote that,
// and what it says goes to the log.
func (e *tokenError) hide(header http.Header, form url.Values) {
	secrets := []string{strings.TrimPrefix(header.Get("Authorization"), "Basic ")}
	for _, name := range []string{"code", "code_verifier", "refresh_token", "client_secret", "client_assertion"} {
		secrets = append(secrets, form.Get(name))
	}
	if r := (&http.Request{Header: header}); header.Get("Authorization") != "" {
		_, password, _ := r.BasicAuth()
		plain, _ := url.QueryUnescape(password)
		secrets = append(secrets, password, plain)
	}
	var pairs []string
	for _, s := range secrets {
		for _, spelling := range []string{s, url.QueryEscape(s), url.PathEscape(s)} {
			if len(spelling) >= 6 { // a shorter one is no secret, and a part of many words
				pairs = append(pairs, spelling, "[secret]")
			}
		}
	}
	hide := strings.NewReplacer(pairs...)
	e.code, e.description = hide.Replace(e.code), hide.Replace(e.description)
}

// Unwrap makes invalid_grant known to errors.Is.
func (e *tokenError) Unwrap() error {
	if e.code == errInvalidGrant.Error() {
		return errInvalidGrant
	}
	return nil
}

// exchange redeems a code (RFC 6749 section 4.1.3, RFC 7636 section 4.5). Its
// errors wrap errInvalidGrant if the code is worth nothing (any more), a
// *tokenError if the provider refused for another reason, and else say that it
// could not be asked.
func (c *client) exchange(ctx context.Context, code, verifier string) (*oauth2.Token, error) {
	token, err := c.ask(ctx, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "code_verifier": {verifier}, "redirect_uri": {c.redirect},
	})
	if err != nil {
		return nil, fmt.Errorf("redeeming the code: %w", err)
	}
	return token, nil
}

// refresh asks for new tokens (RFC 6749 section 6), with errors as those of
// exchange. Where the provider gives out no new refresh token, the old one goes on.
func (c *client) refresh(ctx context.Context, held secret.Value) (*oauth2.Token, error) {
	token, err := c.ask(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {held.Reveal()}})
	if err != nil {
		return nil, fmt.Errorf("refreshing: %w", err)
	}
	token.RefreshToken = orElse(token.RefreshToken, held.Reveal())
	return token, nil
}

// ask sends one request for tokens and reads the answer.
func (c *client) ask(ctx context.Context, form url.Values) (*oauth2.Token, error) {
	ctx, cancel := context.WithTimeout(calling(ctx, CallToken), callTimeout)
	defer cancel()
	held, err := c.provider.metadata.get(ctx)
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	status, body, err := c.post(ctx, held.value, held.value.endpoint.TokenURL, header, form)
	if err != nil {
		return nil, err
	}
	token, err := readTokens(status, body)
	var said *tokenError
	if errors.As(err, &said) {
		said.hide(header, form)
	}
	return token, err
}

// post sends a form to an endpoint of the provider, and adds to it and to header
// what proves who sends it.
func (c *client) post(ctx context.Context, m *metadata, address string, header http.Header, form url.Values) (status int, body []byte, err error) {
	if err := (*c.prove.Load())(header, form, m); err != nil {
		return 0, nil, fmt.Errorf("proving who asks: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, nil, err
	}
	r.Header = header
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	answer, err := c.http.Do(r)
	if err != nil {
		return 0, nil, brief(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if body, err = io.ReadAll(answer.Body); err != nil {
		return 0, nil, fmt.Errorf("reading the answer: %w", err)
	}
	return answer.StatusCode, body, nil
}

// readTokens reads an answer of the token endpoint (RFC 6749 sections 5.1 and
// 5.2). An error is one whatever its status: some providers say 200.
func readTokens(status int, body []byte) (*oauth2.Token, error) {
	said, err := decodeClaims(body)
	if status != http.StatusOK || said.has("error") {
		return nil, &tokenError{status: status, code: said.text("error"), description: said.text("error_description")}
	}
	if err != nil {
		return nil, fmt.Errorf("the answer is malformed: %w", err)
	}
	token := &oauth2.Token{
		AccessToken: said.text("access_token"), TokenType: said.text("token_type"), RefreshToken: said.text("refresh_token"),
	}
	if token.AccessToken == "" {
		return nil, errors.New("the answer has no access token")
	}
	// Entra's version 1 writes the number as text.
	if life := said.values("expires_in"); len(life) == 1 {
		if seconds, err := strconv.ParseInt(life[0], 10, 32); err == nil && seconds > 0 {
			token.Expiry = time.Now().Add(time.Duration(seconds) * time.Second)
		}
	}
	return token.WithExtra(map[string]any{"id_token": said.text("id_token")}), nil
}

// A proof adds to a request for tokens what shows that this client sends it
// (RFC 6749 section 2.3).
type proof func(header http.Header, form url.Values, m *metadata) error

// byNothing is a public client's: PKCE alone shows that who redeems a code is
// who asked for it.
func byNothing(id string) proof {
	return func(_ http.Header, form url.Values, _ *metadata) error {
		form.Set("client_id", id)
		return nil
	}
}

// bySecret sends the client's secret: as method says, or if that is empty as the
// provider does. It is said, not tried out: a second try would present a code twice.
// client_secret_basic is the default of Discovery 1.0 section 3.
func bySecret(id string, held secret.Value, method string) proof {
	return func(header http.Header, form url.Values, m *metadata) error {
		if method == SecretPost || (method == "" && m.wantsPost()) {
			form.Set("client_id", id)
			form.Set("client_secret", held.Reveal())
			return nil
		}
		r := http.Request{Header: header}
		r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(held.Reveal())) // RFC 6749 section 2.3.1
		return nil
	}
}
