package demo

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"amlproxy/authn/authntest"
	"amlproxy/internal/demo/models"
	"amlproxy/upstream/azuremltest"
)

// A Place says where a World stands. PublicURL alone is required.
type Place struct {
	PublicURL string // of the proxy that will stand in front
	// ProviderListener is where the identity provider listens; nil: a free port of
	// 127.0.0.1.
	ProviderListener net.Listener
	// Issuer is the identity provider's URL; empty: http and the listener's address.
	Issuer string
	// ProviderTLS, if not nil, makes the provider speak https, with a certificate
	// that CA vouches for.
	ProviderTLS *tls.Config
	CA          []byte // PEM, trusted by the proxy besides the Azure's own
	// Routes are added to the routes file, as they are written there.
	Routes string
}

// A World is an identity provider, an Azure workspace and three models.
type World struct {
	People   []Account
	Job      Account
	Provider *authntest.Provider
	Azure    *azuremltest.Azure
	Models   []Served

	dir     string // of the files that settings name
	environ []string
}

// Served is a model and the server that stands in front of it.
type Served struct {
	*models.Model
	Scoring *azuremltest.Scoring
	kind    string // of the service, for people
	only    string // the group that may call it
}

// routesFile is what an operator would write for these models. The proxy finds
// out by itself where each is and what it wants to see.
const routesFile = `routes:
  - name: diabetes
    service: diabetes-aci
    access: {groups: [ml-users], clients: [batch-job]}
  - name: digits
    service: digits-aks
    access: {groups: [ml-users], clients: [batch-job]}
  - name: iris
    endpoint: iris-online
    access: {groups: [ml-admins], clients: [batch-job]}
`

// NewWorld starts a World.
func NewWorld(place Place) (world *World, err error) {
	w := &World{}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	w.People, w.Job = newAccounts()
	if w.Azure, err = azuremltest.Start(azuremltest.Options{}); err != nil {
		return nil, err
	}
	if err = w.serveModels(); err != nil {
		return nil, err
	}
	clientSecret := rand.Text()
	if err = w.startProvider(place, clientSecret); err != nil {
		return nil, err
	}
	return w, w.writeSettings(place, clientSecret)
}

// serveModels puts each model behind another kind of service.
func (w *World) serveModels() error {
	diabetes, err := models.Diabetes()
	if err != nil {
		return err
	}
	digits, err := models.Digits()
	if err != nil {
		return err
	}
	iris, err := models.Iris()
	if err != nil {
		return err
	}
	aci, err := w.Azure.AddService(azuremltest.Service{
		Name: "diabetes-aci", Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: diabetes, Swagger: diabetes.Swagger(),
	})
	if err != nil {
		return err
	}
	aks, err := w.Azure.AddService(azuremltest.Service{
		Name: "digits-aks", Compute: azuremltest.AKS, Auth: azuremltest.Token, Model: digits, Swagger: digits.Swagger(),
	})
	if err != nil {
		return err
	}
	online, err := w.Azure.AddEndpoint(azuremltest.Endpoint{
		Name: "iris-online", Auth: azuremltest.Entra, Model: iris, Swagger: iris.Swagger(),
	})
	if err != nil {
		return err
	}
	w.Models = []Served{
		{Model: diabetes, Scoring: aci, kind: "ACI service, key", only: groupUsers},
		{Model: digits, Scoring: aks, kind: "AKS service, workspace token", only: groupUsers},
		{Model: iris, Scoring: online, kind: "online endpoint, Entra token", only: groupAdmins},
	}
	return nil
}

func (w *World) startProvider(place Place, clientSecret string) (err error) {
	w.Provider, err = authntest.Start(authntest.Options{
		Listener: place.ProviderListener, Issuer: place.Issuer, TLS: place.ProviderTLS,
		Title: "amlproxy demo: identity provider",
		Notes: []string{"The accounts and their passwords are in the terminal that runs the demo."},
		Users: users(w.People), Audiences: []string{audience},
		Clients: []authntest.Client{
			{
				ID: clientProxy, Secret: clientSecret,
				RedirectURIs:   []string{place.PublicURL + "/oauth2/callback"},
				PostLogoutURIs: []string{place.PublicURL + "/oauth2/sign_in"},
			},
			{ID: w.Job.Name, Secret: w.Job.Secret, ServiceAccount: true},
		},
	})
	return err
}

// writeSettings writes the files that settings name, and the settings.
func (w *World) writeSettings(place Place, clientSecret string) (err error) {
	if w.dir, err = os.MkdirTemp("", "amlproxy-demo-"); err != nil {
		return err
	}
	ca, routes := filepath.Join(w.dir, "ca.pem"), filepath.Join(w.dir, "routes.yaml")
	if err := os.WriteFile(ca, append(w.Azure.CAPEM(), place.CA...), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(routes, []byte(routesFile+place.Routes), 0o600); err != nil {
		return err
	}
	w.environ = append(w.Azure.Environ(),
		"AMLPROXY_CA_FILE="+ca,
		"AMLPROXY_ROUTES_FILE="+routes,
		"AMLPROXY_PUBLIC_URL="+place.PublicURL,
		"AMLPROXY_OIDC_ISSUER="+w.Provider.Issuer(),
		"AMLPROXY_OIDC_CLIENT_ID="+clientProxy,
		"AMLPROXY_OIDC_CLIENT_SECRET="+clientSecret,
		"AMLPROXY_OIDC_AUDIENCES="+audience,
		"AMLPROXY_COOKIE_SECRET="+cookieSecret(),
		"AMLPROXY_DRAIN_DELAY=0s", // nobody takes over
	)
	return nil
}

// Environ returns the settings of a proxy in front of this World, as
// NAME=value. Where it listens is not among them.
func (w *World) Environ() []string { return w.environ }

// RoutesFile returns the path of the routes file.
func (w *World) RoutesFile() string { return filepath.Join(w.dir, "routes.yaml") }

// Close ends everything that NewWorld started, and removes its files.
func (w *World) Close() error {
	var failed []error
	if w.Provider != nil {
		failed = append(failed, w.Provider.Close())
	}
	if w.Azure != nil {
		failed = append(failed, w.Azure.Close())
	}
	if w.dir != "" {
		failed = append(failed, os.RemoveAll(w.dir))
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("ending the demo: %w", err)
	}
	return nil
}
