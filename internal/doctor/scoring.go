package doctor

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"amlproxy/internal/secret"
	"amlproxy/upstream"
)

// address connects to where calls would go, without a credential.
func (e *endpoint) address(ctx context.Context) Finding {
	at := e.report.Scoring
	if at == nil {
		return Finding{State: Skip, Detail: "it has none"}
	}
	there := way{e.toModel, e.options.Lookup, "the workspace, which says where the endpoint is"}
	if e.w == nil {
		there.setting = e.at("url")
	}
	if f := there.resolves(ctx, at); f.State == Fail {
		return f
	}
	_, f := there.connects(ctx, at)
	if f.State == OK && at.Scheme == "http" && !loopback(at.Hostname()) {
		what := "what is sent there"
		if e.report.Kind != upstream.None {
			what = "its credential, and all that is sent there,"
		}
		f.State, f.Detail = Warn, f.Detail+", over plain http: "+what+" can be read and changed on the way"
		f.Hints = []string{"let it serve TLS, or have the proxy and it on one network that nobody else is on"}
	}
	return f
}

// scoring asks for the endpoint's description with each credential that a call
// could carry. Asking for a score could cost.
func (e *endpoint) scoring(ctx context.Context) Finding {
	if e.lease == nil {
		return Finding{State: Skip, Detail: "there is nothing to call it with"}
	}
	status, f := e.tried(ctx, e.lease.Primary)
	switch {
	case status == 0:
		return f
	case status == http.StatusUnauthorized:
		return e.rejected("the endpoint refuses the credential (401)")
	case status == http.StatusForbidden:
		return e.forbidden()
	case status >= 300 && status < 400:
		return Finding{Warn, fmt.Sprintf("it answers %d and sends calls elsewhere, where the proxy does not follow", status), []string{
			"is there a sign-in or a moved address in front of it? " + e.backend.Where,
		}}
	case status == http.StatusTooManyRequests || status >= 500 || status == http.StatusFailedDependency || status == http.StatusRequestTimeout:
		return Finding{Warn, fmt.Sprintf("it answers %d, which does not tell whether it accepts the credential", status), []string{"see the endpoint's logs, in the studio under Endpoints"}}
	}
	return e.accepted(ctx, status)
}

// accepted looks at what remains once the first credential was not refused: the
// other key, and whether the answer proves anything.
func (e *endpoint) accepted(ctx context.Context, status int) Finding {
	if e.lease.Kind == upstream.None {
		return Finding{Detail: fmt.Sprintf("it answers (swagger.json: %d), without a credential", status)}
	}
	if !e.lease.Secondary.IsZero() {
		second, f := e.tried(ctx, e.lease.Secondary)
		if second == http.StatusUnauthorized {
			f = e.rejected("the endpoint accepts the first key, and refuses the second (401)")
			f.State = Warn
		}
		if f.State != OK {
			return f
		}
	}
	f := Finding{Detail: fmt.Sprintf("it accepts the credential (swagger.json: %d)", status)}
	if open, _ := e.tried(ctx, secret.Value{}); open == status {
		f.Detail = fmt.Sprintf("it answers (swagger.json: %d), as it does without a credential: only a call would tell", status)
	}
	return f
}

// tried asks for the description and returns the status of the answer. Without
// one it is 0, and the finding says why.
func (e *endpoint) tried(ctx context.Context, credential secret.Value) (int, Finding) {
	at := e.lease.Description
	if at == nil {
		at = e.lease.Scoring.ResolveReference(&url.URL{Path: "swagger.json"})
	}
	header := http.Header{"Accept": {"application/json"}}
	if !credential.IsZero() {
		header.Set("Authorization", "Bearer "+credential.Reveal())
	}
	if e.lease.Deployment != "" {
		header.Set("Azureml-Model-Deployment", e.lease.Deployment)
	}
	there := way{e.toModel, e.options.Lookup, "the scoring address"}
	c, err := there.get(ctx, at, header)
	if err != nil {
		return 0, there.trouble(ctx, at, err)
	}
	return c.status, Finding{}
}

// rejected says what to do when the endpoint does not take what the settings or
// the workspace gave.
func (e *endpoint) rejected(detail string) Finding {
	switch {
	case e.w != nil && e.lease.Kind == upstream.None:
		return Finding{Fail, "the endpoint wants a credential (401), and the workspace says that it does not", []string{"deploy it again, or say key in " + e.at("auth")}}
	case e.lease.Kind == upstream.None:
		return Finding{Fail, "the endpoint wants a credential (401)", []string{"say key, and which, or entra in " + e.at("auth")}}
	case e.w != nil:
		return Finding{Fail, detail + ", which the workspace gave a moment ago", []string{
			"a new credential may take a minute: ask again; then see whether something stands in front of the endpoint, or deploy it again",
		}}
	case e.lease.Kind == upstream.Key:
		return Finding{Fail, detail, []string{"it was regenerated, or is of another endpoint: set the current one in " + e.at("key")}}
	}
	return Finding{Fail, detail, []string{"is its audience the right one? see AMLPROXY_AZURE_ML_SCOPE and AMLPROXY_AZURE_CLOUD"}}
}

// forbidden says what an endpoint wants that knows who is calling.
func (e *endpoint) forbidden() Finding {
	switch {
	case e.lease.Kind != upstream.Entra:
		return Finding{Fail, "the endpoint accepts nobody from here (403)", []string{
			"is public network access off, or a firewall in front of it? then it can be called from its own network alone",
		}}
	case e.w == nil || e.backend.Endpoint == "":
		return Finding{Fail, "the endpoint knows the identity, and does not let it score (403)", []string{
			"grant it the action Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action on the endpoint",
		}}
	}
	action, scope, grant := e.w.inspector.ScoreGrant(e.backend.Endpoint, e.who())
	return Finding{Fail, fmt.Sprintf("the identity may not score (403): the action %s on %s is missing", action, scope), []string{grant}}
}
