package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"amlproxy/upstream/azureml"
)

// The names of the checks of Azure's own hosts and of who the proxy is there.
const (
	authorityDNS        = "authority: dns"
	authorityConnection = "authority: connection"
	armDNS              = "resource manager: dns"
	armConnection       = "resource manager: connection"
	clock               = "clock"
	tenant              = "tenant"
	identity            = "identity"
)

const (
	clockWarn = 30 * time.Second
	clockFail = 5 * time.Minute // what Entra ID and tokens tolerate

	signInLimit = 15 * time.Minute // of an operator who has to type a code
)

// A reading is how far our clock is ahead of a host's.
type reading struct {
	host  string
	ahead time.Duration
}

// azure adds the checks that do not depend on any workspace.
func (u *upstreams) azure() {
	authority, arm := u.identity.Addresses()
	u.host(authorityDNS, authorityConnection, authority, "AZURE_AUTHORITY_HOST, or else AMLPROXY_AZURE_CLOUD")
	for i := range u.checks {
		ask := u.checks[i].Ask
		u.checks[i].Ask = func(ctx context.Context) Finding { return u.unlessNeeded(ask(ctx)) }
	}
	dated := []string{authorityConnection}
	if len(u.places) > 0 { // a route with an Entra token alone needs no more than that
		u.host(armDNS, armConnection, arm, "AMLPROXY_AZURE_ARM_URL, or else AMLPROXY_AZURE_CLOUD")
		dated = append(dated, armConnection)
	}
	u.add(Check{Name: clock, After: dated, Ask: u.clock})
	u.add(Check{Name: tenant, Needs: []string{authorityConnection}, Ask: u.tenant})
	c := Check{Name: identity, Needs: []string{tenant}, Ask: u.signIn}
	if u.settings.AzureLogin != "" {
		c.Limit = signInLimit
	}
	u.add(c)
}

// host adds the two checks of a host that is known from the settings.
func (u *upstreams) host(dns, connection string, at *url.URL, setting string) {
	w := way{u.toAzure, u.options.Lookup, setting}
	u.add(Check{Name: dns, Ask: func(ctx context.Context) Finding { return w.resolves(ctx, at) }})
	u.add(Check{Name: connection, Needs: []string{dns}, Ask: func(ctx context.Context) Finding {
		c, f := w.connects(ctx, at)
		if f.State == OK && c.dated {
			u.mu.Lock()
			u.clocks = append(u.clocks, reading{at.Hostname(), c.ahead})
			u.mu.Unlock()
		}
		return f
	}})
}

// unlessNeeded makes a failure of the authority a warning where the identity may
// be a managed one, which the machine itself gives tokens to.
func (u *upstreams) unlessNeeded(f Finding) Finding {
	if f.State == Fail && u.settings.Identity.IsZero() && u.settings.AzureLogin == "" {
		f.State = Warn
		f.Detail += "; a managed identity does not need it"
	}
	return f
}

// clock compares ours with those of the hosts that answered.
func (u *upstreams) clock(context.Context) Finding {
	u.mu.Lock()
	defer u.mu.Unlock()
	return compareClocks(u.clocks, "Azure's")
}

// compareClocks judges by the host that differs most.
func compareClocks(clocks []reading, whose string) Finding {
	if len(clocks) == 0 {
		return Finding{State: Skip, Detail: "nobody said what time it is"}
	}
	worst := clocks[0]
	for _, r := range clocks[1:] {
		if r.ahead.Abs() > worst.ahead.Abs() {
			worst = r
		}
	}
	f := Finding{Detail: fmt.Sprintf("as %s, to %s", whose, worst.ahead.Abs().Round(time.Second))}
	if worst.ahead.Abs() <= clockWarn {
		return f
	}
	side := "ahead of"
	if worst.ahead < 0 {
		side = "behind"
	}
	f = Finding{
		Warn, fmt.Sprintf("this machine is %s %s %s", worst.ahead.Abs().Round(time.Second), side, worst.host),
		[]string{"have the clock set by the network: timedatectl set-ntp true"},
	}
	if worst.ahead.Abs() > clockFail {
		f.State = Fail
		f.Detail += ": tokens will be thought expired, or not valid yet"
	}
	return f
}

func (u *upstreams) tenant(ctx context.Context) Finding {
	named := u.settings.Identity.TenantID
	if named == "" {
		return Finding{State: Skip, Detail: "the settings name none: that of whoever signs in"}
	}
	if err := u.identity.Tenant(ctx); err != nil {
		return u.problem(ctx, err)
	}
	return Finding{Detail: "the authority knows " + named}
}

// signIn gets the token that everything else is asked with.
func (u *upstreams) signIn(ctx context.Context) Finding {
	ask := u.identity.SignIn
	if len(u.places) == 0 {
		ask = u.identity.Entra
	}
	who, err := ask(ctx)
	if err != nil {
		return u.problem(ctx, err)
	}
	u.mu.Lock()
	u.principal = who
	u.mu.Unlock()
	return Finding{Detail: fmt.Sprintf("%s has a token, valid for %s", u.self(who), until(who.Expires))}
}

// self is what to call the identity.
func (u *upstreams) self(who azureml.Principal) string {
	name := "the identity"
	switch {
	case who.Name != "":
		name = who.Name
	case u.settings.Identity.ClientID != "":
		name = "client " + u.settings.Identity.ClientID
	case who.ClientID != "":
		name = "client " + who.ClientID
	}
	if who.ObjectID != "" {
		name += " (object " + who.ObjectID + ")"
	}
	return name
}

func until(t time.Time) string { return time.Until(t).Round(time.Second).String() }

// problem makes a failure of what Azure answered, with what mends it.
func (u *upstreams) problem(ctx context.Context, err error) Finding {
	var e *azureml.Error
	if !errors.As(err, &e) {
		return Finding{Fail, err.Error(), advice(u.settings, err.Error())}
	}
	var sent *url.Error
	if e.Status == 0 && errors.As(err, &sent) {
		if at, parseErr := url.Parse(sent.URL); parseErr == nil {
			f := way{u.toAzure, u.options.Lookup, "what the workspace said"}.trouble(ctx, at, err)
			f.Detail = e.Op + ": " + f.Detail
			return f
		}
	}
	f := Finding{State: Fail, Detail: told(err, e)}
	switch f.Hints = advice(u.settings, f.Detail); {
	case len(f.Hints) > 0:
	case e.Grant != "":
		f.Detail = fmt.Sprintf("%s: %d %s: the action %s on %s is missing", e.Op, e.Status, e.Code, e.Action, e.Scope)
		f.Hints = []string{e.Grant}
	case e.Status == 0 && context.Cause(ctx) != nil:
		f.Detail = e.Op + ": " + context.Cause(ctx).Error()
	case e.Status == http.StatusUnauthorized:
		f.Hints = []string{"Azure does not take the identity's token: see AMLPROXY_AZURE_ARM_AUDIENCE, AMLPROXY_AZURE_CLOUD and the clock"}
	case e.Status == http.StatusForbidden:
		f.Hints = []string{"no role mends that: a firewall or a policy of the workspace refuses this machine or this identity"}
	case e.Status == http.StatusTooManyRequests || e.Status >= http.StatusInternalServerError:
		f.Hints = []string{"ask again later; for an outage see https://azure.status.microsoft"}
	}
	return f
}

// told is an error's text without the command, which stands on a line of its own.
func told(err error, e *azureml.Error) string {
	if e.Grant == "" {
		return err.Error()
	}
	bare := *e
	bare.Grant = ""
	return bare.Error()
}
