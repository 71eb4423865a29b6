package authntest

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// SignIn does what a person does: it opens start, is led to the login form of a
// Provider, fills it in and sends it. What it returns is the answer to that, after
// the redirects that browser follows; the caller closes its body. browser needs a
// cookie jar if the session is to last. If no form comes up, because there is a
// session already, the answer to start is returned.
func SignIn(browser *http.Client, start, username, password string) (*http.Response, error) {
	form, err := browser.Get(start)
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
	answer, err := browser.PostForm(form.Request.URL.String(), url.Values{"username": {username}, "password": {password}})
	if err != nil {
		return nil, fmt.Errorf("sending the login form: %w", err)
	}
	return answer, nil
}
