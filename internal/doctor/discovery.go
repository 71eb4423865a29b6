package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"amlproxy/authn"
)

const answerLimit = 1 << 20 // bytes of an answer, as everywhere

// metadata is the part of OpenID Connect Discovery 1.0 section 3 that is examined.
type metadata struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Keys          string   `json:"jwks_uri"`
	UserInfo      string   `json:"userinfo_endpoint"`
	EndSession    string   `json:"end_session_endpoint"`
	Scopes        []string `json:"scopes_supported"`
	ResponseTypes []string `json:"response_types_supported"`
	Grants        []string `json:"grant_types_supported"`
	Challenges    []string `json:"code_challenge_methods_supported"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
}

func (i *issuer) metadata() metadata {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.said
}

// discover reads the discovery document and judges what it says of itself.
func (i *issuer) discover(ctx context.Context, w way) Finding {
	if i.byHand {
		return Finding{State: OK, Detail: "not asked for: the endpoints are set by hand"}
	}
	at, err := url.Parse(strings.TrimSuffix(i.written, "/") + "/.well-known/openid-configuration")
	if err != nil {
		return Finding{Fail, "the address of the issuer is malformed", []string{"see " + i.setting}}
	}
	status, header, body, err := ask(ctx, w.transport, at)
	i.dated(header)
	switch {
	case err != nil:
		return w.trouble(ctx, at, err)
	case status >= 300 && status < 400:
		return Finding{Fail, fmt.Sprintf("%s answers %d, and a redirect is not followed", at, status), []string{"name the issuer that it leads to in " + i.setting}}
	case status != http.StatusOK:
		return Finding{Fail, fmt.Sprintf("%s answers %d", at, status), []string{"is it the whole issuer, a path included (Entra: …/TENANT/v2.0, Keycloak: …/realms/REALM)? it comes from " + i.setting}}
	}
	var said metadata
	if err := json.Unmarshal(body, &said); err != nil {
		return Finding{Fail, fmt.Sprintf("%s is no discovery document", at), []string{"is there a page for people at that address? the issuer comes from " + i.setting}}
	}
	i.mu.Lock()
	i.said = said
	i.mu.Unlock()
	return i.judge(said)
}

func (i *issuer) judge(said metadata) Finding {
	if said.Issuer != i.written && !i.isTemplate(said.Issuer) {
		f := Finding{Fail, fmt.Sprintf("the issuer calls itself %q, not %q, and tokens will", said.Issuer, i.written), []string{i.setting + "=" + said.Issuer}}
		if i.entra() && !strings.HasSuffix(i.written, "/v2.0") {
			f.Hints = []string{i.setting + "=" + strings.TrimSuffix(i.written, "/") + "/v2.0"}
		}
		return f
	}
	endpoints := map[string]string{"jwks_uri": said.Keys, "userinfo_endpoint": said.UserInfo, "end_session_endpoint": said.EndSession}
	if i.name == "login" {
		endpoints["authorization_endpoint"], endpoints["token_endpoint"] = said.Authorization, said.Token
	}
	for _, name := range []string{"authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "end_session_endpoint"} {
		address, asked := endpoints[name]
		optional := name == "userinfo_endpoint" || name == "end_session_endpoint"
		if !asked || (address == "" && optional) {
			continue
		}
		u, err := url.Parse(address)
		switch {
		case address == "" || err != nil || u.Host == "":
			return Finding{Fail, "the discovery document names no " + name, []string{"is this an OpenID provider, and not an OAuth server alone? the issuer comes from " + i.setting}}
		case u.Scheme != "https" && u.Scheme != i.at.Scheme:
			return Finding{Fail, fmt.Sprintf("its %s is %s: not https", name, address), []string{
				"the provider does not know under which scheme it is called: behind a proxy, it has to be told (Keycloak: KC_HOSTNAME, KC_PROXY_HEADERS)",
			}}
		}
	}
	if f, ok := i.signed(said.Algorithms); !ok {
		return f
	}
	return Finding{Detail: "of " + said.Issuer}
}

// isTemplate reports whether that is how Entra's multi-tenant issuers call themselves.
func (i *issuer) isTemplate(said string) bool {
	tenant, _, _ := strings.Cut(strings.TrimPrefix(i.at.Path, "/"), "/")
	return i.entra() && slices.Contains([]string{"common", "organizations", "consumers"}, tenant) &&
		said == "https://"+i.at.Host+"/{tenantid}/v2.0"
}

// signed compares the algorithms that are allowed with those that are offered.
func (i *issuer) signed(offered []string) (Finding, bool) {
	allowed := i.algorithms
	if len(allowed) == 0 {
		allowed = authn.SigningAlgorithms()
	}
	if offered == nil || slices.ContainsFunc(offered, func(a string) bool { return slices.Contains(allowed, a) }) {
		return Finding{}, true
	}
	return Finding{Fail, fmt.Sprintf("it signs with %s, and allowed is %s", strings.Join(offered, ", "), strings.Join(allowed, ", ")), []string{
		"have it sign with one of these, or allow another: " + i.sibling("ALGORITHMS"),
	}}, false
}

// keys looks whether there is one that a token can be checked with.
func (i *issuer) keys(ctx context.Context, w way) Finding {
	at, err := url.Parse(i.metadata().Keys)
	if err != nil {
		return Finding{Fail, "the address of the keys is malformed", []string{"it comes from the discovery document"}}
	}
	w.setting = "the discovery document (jwks_uri)"
	status, header, body, err := ask(ctx, w.transport, at)
	i.dated(header)
	if err != nil {
		return w.trouble(ctx, at, err)
	}
	if status != http.StatusOK {
		return Finding{Fail, fmt.Sprintf("%s answers %d", at, status), []string{"no token can be checked until whoever runs the provider mends that"}}
	}
	usable, all, err := authn.UsableKeys(body)
	switch {
	case err != nil:
		return Finding{Fail, fmt.Sprintf("%s: %v", at, err), []string{"no token can be checked until whoever runs the provider mends that"}}
	case usable == 0:
		return Finding{Fail, fmt.Sprintf("none of %d keys is usable: not public RSA of 2048 bits or more, EC or Ed25519 for signatures", all), []string{
			"have the provider sign with an asymmetric key (RS256, say): a shared secret (HS256) is not accepted",
		}}
	case usable < all:
		return Finding{Detail: fmt.Sprintf("%d of %d are usable, the others are skipped", usable, all)}
	}
	return Finding{Detail: fmt.Sprint(all)}
}

var errLong = errors.New("the answer is longer than 1 MiB")

// ask gets a small answer. It follows no redirect.
func ask(ctx context.Context, transport http.RoundTripper, at *url.URL) (status int, header http.Header, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("User-Agent", "amlproxy doctor")
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, answerLimit+1))
	if err == nil && len(body) > answerLimit {
		err = errLong
	}
	return resp.StatusCode, resp.Header, body, err
}
