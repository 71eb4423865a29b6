package azureml

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	hostsLifetime = 24 * time.Hour  // a workspace's hosts change when it gets a private link
	hostsPause    = time.Minute     // after a failure, while old ones are known
	hostsLimit    = 2 * callTimeout // two calls
)

// hosts keeps where the model management service is.
type hosts struct {
	mu      sync.Mutex
	known   site
	stale   time.Time // from when on it should be discovered anew
	looking *flight[site]
}

// A site is what is known of a workspace itself.
type site struct {
	base   *url.URL // of the model management service; nil: nothing is known yet
	region string   // of the workspace; empty when it did not say
}

// modelManagement returns the address of the model management service for this
// workspace, without a final slash. Old knowledge is used while no new can be had:
// v1 services must not depend on Azure Resource Manager being up.
func (w *Workspace) modelManagement(ctx context.Context) (string, error) {
	if w.id == "" {
		return "", errNoWorkspace
	}
	h := &w.hosts
	h.mu.Lock()
	base := h.known.base
	if base == nil || !time.Now().Before(h.stale) {
		if h.looking == nil {
			h.looking = launch(w.flights, hostsLimit, w.discover, w.discovered)
		}
		looking := h.looking
		h.mu.Unlock()
		found, err := looking.wait(ctx)
		switch {
		case err == nil:
			base = found.base
		case base == nil:
			return "", err
		}
	} else {
		h.mu.Unlock()
	}
	return strings.TrimRight(base.String(), "/") + "/modelmanagement/v1.0" + w.path, nil
}

func (w *Workspace) discovered(found site, err error) {
	h := &w.hosts
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looking = nil
	if err != nil {
		h.stale = time.Now().Add(hostsPause)
		return
	}
	h.known, h.stale = found, time.Now().Add(hostsLifetime)
}

// discover asks Azure Resource Manager for the workspace, and then the address
// that it names. That second call carries no token: the address is public, and a
// token must reach no host but those that the answer names.
func (w *Workspace) discover(ctx context.Context) (site, error) {
	var found site
	var discovery *url.URL
	err := w.ask(ctx, question{
		op: "getting the workspace", method: http.MethodGet, url: w.armURL(""),
		action: workspaceRead, scope: w.id,
	}, func(body []byte) (err error) {
		discovery, found.region, err = parseWorkspace(body)
		if err == nil {
			err = w.checkScheme(discovery)
		}
		return err
	})
	if err != nil {
		return site{}, err
	}
	err = w.askThrough(ctx, w.sendPlain, question{
		op: "discovering the workspace's hosts", method: http.MethodGet, url: discovery.String(),
	}, func(body []byte) (err error) {
		found.base, err = parseHosts(body)
		if err == nil {
			err = w.checkScheme(found.base)
		}
		return err
	})
	return found, err
}

// checkScheme refuses plain http, over which anyone could name the host that is
// sent the identity's token, unless the settings have Azure Resource Manager
// itself there.
func (w *Workspace) checkScheme(u *url.URL) error {
	if u.Scheme != "https" && !strings.HasPrefix(w.arm, "http:") {
		return errors.New("an address that is not https")
	}
	return nil
}

// unreachable has the hosts discovered anew when the one known does not answer.
func (w *Workspace) unreachable(err error) {
	var e *Error
	if !errors.As(err, &e) || e.Status != 0 {
		return
	}
	w.hosts.mu.Lock()
	defer w.hosts.mu.Unlock()
	w.hosts.stale = time.Time{}
}

// armURL returns the address of a resource below the workspace.
func (w *Workspace) armURL(below string) string {
	return w.arm + w.path + below + "?api-version=" + apiVersion
}
