package app_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"amlproxy/internal/app"
	"amlproxy/internal/config"
)

// The settings' certificate reaches whoever proves the identity with it: one that
// cannot be opened is found out before anybody is served.
func TestTheCertificateOfTheIdentityIsUsed(t *testing.T) {
	pfx := filepath.Join(t.TempDir(), "principal.pfx")
	if err := os.WriteFile(pfx, []byte("\x30\x03\x02\x01\x03"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := config.Load([]string{
		"AML_TENANT_ID=t", "AML_PRINCIPAL_ID=c", "AML_PRINCIPAL_CERT_FILE=" + pfx, "AML_PRINCIPAL_CERT_PASSWORD=s3cret",
		"AMLPROXY_SUBSCRIPTION_ID=s", "AMLPROXY_RESOURCE_GROUP=g", "AMLPROXY_WORKSPACE_NAME=w",
		"AMLPROXY_ROUTES_0_NAME=m", "AMLPROXY_ROUTES_0_SERVICE=m", "AMLPROXY_ROUTES_0_PUBLIC=true",
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = app.New(s, app.Options{Log: io.Discard})
	if err == nil || !strings.Contains(err.Error(), pfx) || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("want an error about %s: %v", pfx, err)
	}
}
