package azureml

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

// A certificate proves the identity by assertions signed with its key (RFC 7523).
// It lives shorter than the process, so its file is looked at before each use,
// which is once an hour for each scope.
type certificate struct {
	id      Identity
	options policy.ClientOptions

	mu  sync.Mutex
	sum [sha256.Size]byte // of the file that ask was made of
	ask getToken
}

func newCertificate(id Identity, options policy.ClientOptions) (getToken, error) {
	c := &certificate{id: id, options: options}
	if _, err := c.current(); err != nil {
		return nil, err
	}
	return c.getToken, nil
}

func (c *certificate) getToken(ctx context.Context, opts policy.TokenRequestOptions) (azcore.AccessToken, error) {
	ask, err := c.current()
	if err != nil {
		return azcore.AccessToken{}, err
	}
	return ask(ctx, opts)
}

// current returns what to ask, made of the file as it is now. A file that cannot
// be used, half written perhaps, leaves what was made of the one before.
func (c *certificate) current() (getToken, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	content, err := os.ReadFile(c.id.CertFile)
	sum := sha256.Sum256(content)
	if err == nil && (c.ask == nil || sum != c.sum) {
		var ask getToken
		if ask, err = c.with(content); err == nil {
			c.ask, c.sum = ask, sum
		}
	}
	if c.ask == nil {
		return nil, fmt.Errorf("the client certificate: %w", err)
	}
	return c.ask, nil
}

func (c *certificate) with(content []byte) (getToken, error) {
	chain, key, err := azidentity.ParseCertificates(content, []byte(c.id.CertPassword.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("%s is neither PEM with a certificate and a plain RSA key, nor PKCS #12 (with a SHA-1 MAC) that its password opens: %w", c.id.CertFile, err)
	}
	credential, err := azidentity.NewClientCertificateCredential(c.id.TenantID, c.id.ClientID, chain, key, &azidentity.ClientCertificateCredentialOptions{
		ClientOptions: c.options, DisableInstanceDiscovery: c.id.DisableInstanceDiscovery,
	})
	if err != nil {
		return nil, err
	}
	return credential.GetToken, nil
}
