package proxy

import (
	"net/http"
	"net/url"
)

// newCSRF returns the check for requests that carry a session. Besides the
// proxy's own origin, it trusts the pages that the route lets send the cookie.
func newCSRF(public *url.URL, from *CORS) (*http.CrossOriginProtection, error) {
	check := http.NewCrossOriginProtection()
	if public != nil {
		if err := check.AddTrustedOrigin(originOfURL(public)); err != nil {
			return nil, err
		}
	}
	if from == nil || !from.Credentials {
		return check, nil
	}
	for _, origin := range from.Origins {
		if err := check.AddTrustedOrigin(origin); err != nil {
			return nil, err
		}
	}
	return check, nil
}

// crossSite reports whether r, which carries a session, was made by a page of
// another site and is more than a navigation, in which a person sees where he
// goes. net/http's check lets every GET pass, since a GET should change nothing;
// but a GET may score, and a WebSocket begins as one, so it is shown them as
// what they can be.
func crossSite(check *http.CrossOriginProtection, r *http.Request) bool {
	if !topNavigation(r) {
		r = r.WithContext(r.Context()) // a shallow copy
		r.Method = http.MethodPost
	}
	return check.Check(r) != nil
}

// topNavigation reports whether r fills the browser's window, and not a frame, an
// image or a script's variable.
func topNavigation(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" &&
		r.Header.Get("Sec-Fetch-Dest") == "document" &&
		r.Header.Get("Upgrade") == ""
}

func originOfURL(u *url.URL) string { return u.Scheme + "://" + u.Host }
