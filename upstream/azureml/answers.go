package azureml

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"amlproxy/internal/secret"
	"amlproxy/upstream"
)

var errNotBoolean = errors.New("whether it authenticates is not said by a boolean")

// A place is what a look at an endpoint found: where it is and how it
// authenticates.
type place struct {
	scoring     *url.URL
	description *url.URL
	kind        upstream.Kind // empty when the answer named none that is known
	authMode    string        // as the answer named it
	compute     string        // of a v1 service: ACI, AKS
	region      string        // empty when the answer did not say
}

// A pair is what a key listing answers.
type pair struct {
	Primary   secret.Value `json:"primaryKey"`
	Secondary secret.Value `json:"secondaryKey"`
}

// decode reads JSON without quoting any of it in an error: an answer may hold
// keys.
func decode(body []byte, into any) error {
	err := json.Unmarshal(body, into)
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNotBoolean):
		return errNotBoolean
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return fmt.Errorf("the answer's %q is not what it should be", wrongType.Field)
	}
	return errors.New("the answer is not the JSON that it should be")
}

// parseService reads a v1 web service. Fields of another type than expected are
// as good as absent, except those that decide about the credential.
func parseService(body []byte) (place, error) {
	var s struct {
		Compute     text `json:"computeType"`
		Region      text `json:"location"`
		State       text `json:"state"`
		Scoring     text `json:"scoringUri"`
		Description text `json:"swaggerUri"`
		Auth        flag `json:"authEnabled"`
		AADAuth     flag `json:"aadAuthEnabled"`
	}
	if err := decode(body, &s); err != nil {
		return place{}, err
	}
	p := place{kind: upstream.None, compute: string(s.Compute), region: string(s.Region)}
	switch {
	case bool(s.AADAuth): // the workspace's own tokens, whatever the name says
		p.kind = upstream.Token
	case bool(s.Auth):
		p.kind = upstream.Key
	}
	err := p.locate(string(s.Scoring), string(s.Description), string(s.State))
	return p, err
}

// parseEndpoint reads a v2 online endpoint.
func parseEndpoint(body []byte) (place, error) {
	var e struct {
		Region     text `json:"location"`
		Properties struct {
			AuthMode    text `json:"authMode"`
			Scoring     text `json:"scoringUri"`
			Description text `json:"swaggerUri"`
			State       text `json:"provisioningState"`
		} `json:"properties"`
	}
	if err := decode(body, &e); err != nil {
		return place{}, err
	}
	p := place{authMode: string(e.Properties.AuthMode), region: string(e.Region)}
	switch strings.ToLower(p.authMode) {
	case "key":
		p.kind = upstream.Key
	case "amltoken":
		p.kind = upstream.Token
	case "aadtoken":
		p.kind = upstream.Entra
	}
	err := p.locate(string(e.Properties.Scoring), string(e.Properties.Description), string(e.Properties.State))
	return p, err
}

// parseServerless reads a serverless endpoint. It has keys unless it says
// otherwise.
func parseServerless(body []byte) (place, error) {
	var e struct {
		Region     text `json:"location"`
		Properties struct {
			AuthMode  text `json:"authMode"`
			State     text `json:"provisioningState"`
			Inference struct {
				URI text `json:"uri"`
			} `json:"inferenceEndpoint"`
		} `json:"properties"`
	}
	if err := decode(body, &e); err != nil {
		return place{}, err
	}
	p := place{authMode: string(e.Properties.AuthMode), region: string(e.Region)}
	if mode := strings.ToLower(p.authMode); mode == "" || mode == "key" {
		p.kind = upstream.Key
	}
	err := p.locate(string(e.Properties.Inference.URI), "", string(e.Properties.State))
	return p, err
}

// locate fills in the addresses. A description on another host, or in clear when
// scoring is not, is ignored: it would be asked for with the same credential.
func (p *place) locate(scoring, description, state string) error {
	if scoring == "" {
		if state == "" {
			state = "unknown"
		}
		return fmt.Errorf("it has no scoring address; its state is %s", tidy(state))
	}
	u, err := webURL(scoring)
	if err != nil {
		return fmt.Errorf("its scoring address: %w", err)
	}
	p.scoring = u
	if d, err := webURL(description); err == nil && d.Host == u.Host && d.Scheme == u.Scheme {
		p.description = d
	}
	return nil
}

// parseKeys reads a pair of keys. One is enough.
func parseKeys(body []byte) (pair, error) {
	var keys pair
	if err := decode(body, &keys); err != nil {
		return pair{}, err
	}
	for _, key := range []secret.Value{keys.Primary, keys.Secondary} {
		if !httpguts.ValidHeaderFieldValue(key.Reveal()) {
			return pair{}, errors.New("a key that no header field can carry")
		}
	}
	if keys.Primary.IsZero() {
		keys.Primary, keys.Secondary = keys.Secondary, secret.Value{}
	}
	if keys.Primary.IsZero() {
		return pair{}, errors.New("an answer without a key")
	}
	return keys, nil
}

// parseToken reads a token that the workspace issued, in the words of a v1
// service or of a v2 endpoint.
func parseToken(body []byte, now time.Time) (credential, error) {
	var t struct {
		Token     secret.Value `json:"accessToken"`
		Expiry    instant      `json:"expiryOn"`
		Refresh   instant      `json:"refreshAfter"`
		ExpiryV2  instant      `json:"expiryTimeUtc"`
		RefreshV2 instant      `json:"refreshAfterTimeUtc"`
	}
	if err := decode(body, &t); err != nil {
		return credential{}, err
	}
	c := credential{primary: t.Token, asked: now, expires: t.Expiry.or(t.ExpiryV2), due: t.Refresh.or(t.RefreshV2)}
	switch {
	case c.primary.IsZero():
		return credential{}, errors.New("an answer without a token")
	case !httpguts.ValidHeaderFieldValue(c.primary.Reveal()):
		return credential{}, errors.New("a token that no header field can carry")
	case c.expires.IsZero():
		return c, nil
	case !now.Before(c.expires):
		return credential{}, fmt.Errorf("a token that expired at %s: is this machine's clock right?", c.expires.UTC().Format(time.RFC3339))
	}
	// A refresh time that is absent or makes no sense is half of the way.
	if !c.due.After(now) || c.due.After(c.expires) {
		c.due = now.Add(c.expires.Sub(now) / 2)
	}
	return c, nil
}

// parseHosts reads the map of hosts and returns that of model management. Its
// own name is only the second choice: "api" is the one that private links serve.
func parseHosts(body []byte) (*url.URL, error) {
	var hosts map[string]json.RawMessage
	if err := decode(body, &hosts); err != nil {
		return nil, err
	}
	for _, name := range []string{"api", "modelmanagement"} {
		host := word(hosts[name])
		if host == "" {
			continue
		}
		if !strings.Contains(host, "://") {
			host = "https://" + host
		}
		u, err := baseURL(host)
		if err != nil {
			return nil, fmt.Errorf("the host %q: %w", name, err)
		}
		return u, nil
	}
	return nil, errors.New(`a map of hosts without "api" and "modelmanagement"`)
}

// parseWorkspace reads where the workspace's map of hosts is, and its region.
func parseWorkspace(body []byte) (discovery *url.URL, region string, err error) {
	var w struct {
		Region     text `json:"location"`
		Properties struct {
			Discovery text `json:"discoveryUrl"`
		} `json:"properties"`
	}
	if err := decode(body, &w); err != nil {
		return nil, "", err
	}
	if w.Properties.Discovery == "" {
		return nil, "", errors.New("a workspace without a discoveryUrl")
	}
	if discovery, err = webURL(string(w.Properties.Discovery)); err != nil {
		return nil, "", fmt.Errorf("its discoveryUrl: %w", err)
	}
	return discovery, string(w.Region), nil
}

// text is a JSON string; anything else is as good as absent.
type text string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *text) UnmarshalJSON(raw []byte) error {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		*t = text(s)
	}
	return nil
}

// flag is a JSON boolean, also as a string. It decides whether a credential is
// needed, so anything else is an error and not false.
type flag bool

// UnmarshalJSON implements [json.Unmarshaler].
func (f *flag) UnmarshalJSON(raw []byte) error {
	switch strings.ToLower(strings.Trim(string(raw), `"`)) {
	case "true":
		*f = true
	case "false", "null":
		*f = false
	default:
		return errNotBoolean
	}
	return nil
}

// instant is a time in Unix seconds, as a number or a string; anything else is
// as good as absent.
type instant struct{ time.Time }

const year9999 = 253402300799 // later ones overflow in arithmetic

// UnmarshalJSON implements [json.Unmarshaler].
func (i *instant) UnmarshalJSON(raw []byte) error {
	var seconds json.Number
	_ = json.Unmarshal(raw, &seconds) // what is no number is empty, and absent
	if s, err := seconds.Float64(); err == nil && s > 0 && s <= year9999 {
		i.Time = time.Unix(int64(s), 0)
	}
	return nil
}

func (i instant) or(other instant) time.Time {
	if i.IsZero() {
		return other.Time
	}
	return i.Time
}
