package authntest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// SignIn does what a person does: it opens start, is led to the login form of a
// Provider, fills it in and sends it. What it returns is the answer to that, after
// the redirects that browser follows; the caller closes its body. browser needs a
// cookie jar if the session is to last. If no form comes up, because there is a
// session already, the answer to start is returned.
func SignIn(ctx context.Context, browser *http.Client, start, username, password string) (*http.Response, error) {
	form, err := send(ctx, browser, http.MethodGet, start, nil)
	if err != nil {
		return nil, fmt.Errorf("opening the login: %w", err)
	}
	if u := form.Request.URL; form.StatusCode != http.StatusOK || !u.Query().Has("request") {
		return form, nil
	}
	_, _ = io.Copy(io.Discard, form.Body)
	if err := form.Body.Close(); err != nil {
		return nil, fmt.Errorf("reading the login form: %w", err)
	}
	filledIn := url.Values{"username": {username}, "password": {password}}
	answer, err := send(ctx, browser, http.MethodPost, form.Request.URL.String(), filledIn)
	if err != nil {
		return nil, fmt.Errorf("sending the login form: %w", err)
	}
	return answer, nil
}

func send(ctx context.Context, browser *http.Client, method, address string, form url.Values) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return browser.Do(req)
}
