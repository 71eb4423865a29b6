package azureml

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

const (
	silentLimit = 30 * time.Second // all sources of the default chain together; each call has callTimeout
	signInLimit = 15 * time.Minute // how long the operator may take; a device code lives as long
)

// A getToken asks for a token: a credential of azidentity, as a func so that
// whoever prints a struct cannot walk into it.
type getToken func(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error)

// check refuses an identity that is half given: falling back to another one than
// the operator meant would hide the mistake.
func (id Identity) check(prompt func(string)) error {
	switch {
	case id.Login != "" && id.Login != LoginBrowser && id.Login != LoginDeviceCode:
		return fmt.Errorf("there is no login %q: it is %s or %s", id.Login, LoginBrowser, LoginDeviceCode)
	case id.Login != "" && !id.ClientSecret.IsZero():
		return errors.New("a login and a client secret exclude each other")
	case id.Login != "" && id.CertFile != "":
		return errors.New("a login and a client certificate exclude each other")
	case !id.ClientSecret.IsZero() && id.CertFile != "":
		return errors.New("a client secret and a client certificate exclude each other")
	case id.CertFile == "" && !id.CertPassword.IsZero():
		return errors.New("a certificate's password needs the file of a certificate")
	case id.Login == LoginDeviceCode && prompt == nil:
		return errors.New("a device-code login needs somewhere to show its code")
	case id.Login != "":
		return nil
	case !id.ClientSecret.IsZero() && (id.TenantID == "" || id.ClientID == ""):
		return errors.New("a client secret needs a tenant ID and a client ID")
	case id.CertFile != "" && (id.TenantID == "" || id.ClientID == ""):
		return errors.New("a client certificate needs a tenant ID and a client ID")
	case id.ClientSecret.IsZero() && id.CertFile == "" && id.ClientID != "":
		return errors.New("a client ID needs a client secret or a certificate")
	}
	return nil
}

// maker returns what makes the credential. It can be called again, for one that
// remembers no token, unless that would ask the operator to sign in again.
func (cfg Config) maker(options policy.ClientOptions) func() (getToken, error) {
	id := cfg.Identity
	switch {
	case id.Login == LoginBrowser:
		return func() (getToken, error) { return browser(cfg, options) }
	case id.Login == LoginDeviceCode:
		return func() (getToken, error) { return deviceCode(cfg, options) }
	case id.CertFile != "":
		return func() (getToken, error) { return newCertificate(id, options) }
	case !id.ClientSecret.IsZero():
		return func() (getToken, error) {
			c, err := azidentity.NewClientSecretCredential(id.TenantID, id.ClientID, id.ClientSecret.Reveal(), &azidentity.ClientSecretCredentialOptions{
				ClientOptions: options, DisableInstanceDiscovery: id.DisableInstanceDiscovery,
			})
			if err != nil {
				return nil, err
			}
			return c.GetToken, nil
		}
	}
	return func() (getToken, error) {
		c, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
			ClientOptions: options, DisableInstanceDiscovery: id.DisableInstanceDiscovery, TenantID: id.TenantID,
		})
		if err != nil {
			return nil, err
		}
		return c.GetToken, nil
	}
}

// browser opens a browser at the operator's machine, for a sign-in with whatever
// factors the tenant asks for.
func browser(cfg Config, options policy.ClientOptions) (getToken, error) {
	c, err := azidentity.NewInteractiveBrowserCredential(&azidentity.InteractiveBrowserCredentialOptions{
		ClientOptions:            options,
		ClientID:                 cfg.Identity.ClientID,
		TenantID:                 cfg.Identity.TenantID,
		DisableInstanceDiscovery: cfg.Identity.DisableInstanceDiscovery,
	})
	if err != nil {
		return nil, err
	}
	return c.GetToken, nil
}

// deviceCode has the operator type a code on any machine with a browser.
func deviceCode(cfg Config, options policy.ClientOptions) (getToken, error) {
	c, err := azidentity.NewDeviceCodeCredential(&azidentity.DeviceCodeCredentialOptions{
		ClientOptions:            options,
		ClientID:                 cfg.Identity.ClientID,
		TenantID:                 cfg.Identity.TenantID,
		DisableInstanceDiscovery: cfg.Identity.DisableInstanceDiscovery,
		UserPrompt: func(_ context.Context, m azidentity.DeviceCodeMessage) error {
			cfg.Prompt(m.Message)
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	return c.GetToken, nil
}
