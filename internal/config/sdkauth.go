package config

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"

	"amlproxy/internal/secret"
)

// sdkAuth reads what az ad sp create-for-rbac printed, with --sdk-auth or, as
// newer versions do, without.
func (c *checker) sdkAuth(file string) {
	b, err := c.readFile(file, maxSecretFile)
	if err != nil {
		c.note("SDK_AUTH_FILE", err)
		return
	}
	// Our own words instead of the decoder's: those can quote a value. PowerShell
	// writes a byte order mark.
	var fields sdkFields
	if json.Unmarshal(bytes.TrimPrefix(b, []byte("\ufeff")), &fields) != nil || fields == nil {
		c.mistake("SDK_AUTH_FILE", "names a file that is not a JSON object")
		return
	}
	id := &c.s.Identity
	id.TenantID = c.needed(fields, "tenantId", "tenant")
	id.ClientID = c.needed(fields, "clientId", "appId")
	if cert, ok := fields.text("clientCertificate", "fileWithCertAndPrivateKey"); ok {
		if !filepath.IsAbs(cert) {
			cert = filepath.Join(filepath.Dir(file), cert)
		}
		id.CertFile = cert
		c.clientCertificate(Prefix+"SDK_AUTH_FILE", cert)
		if _, both := fields.text("clientSecret", "password"); both {
			c.mistake("SDK_AUTH_FILE", "names a file with a certificate and a secret: the principal proves itself by one of the two")
		}
	} else {
		id.ClientSecret = secret.New(c.needed(fields, "clientSecret", "password"))
	}
	if s, ok := fields.text("subscriptionId"); ok && !c.has("SUBSCRIPTION_ID") && c.has("RESOURCE_GROUP") && c.has("WORKSPACE_NAME") {
		c.s.SubscriptionID = s
	}
	c.sdkCloud(fields)
}

// sdkFields are those of the JSON object, by name.
type sdkFields map[string]any

// text returns the first of several fields that is a text.
func (f sdkFields) text(names ...string) (string, bool) {
	for _, n := range names {
		if s, ok := f[n].(string); ok && strings.TrimSpace(s) != "" && noControl(s) == nil {
			return s, true
		}
	}
	return "", false
}

func (c *checker) needed(fields sdkFields, names ...string) string {
	s, ok := fields.text(names...)
	if !ok {
		c.mistake("SDK_AUTH_FILE", "names a file without "+strings.Join(names, " or ")+" (a text)")
	}
	return s
}

// sdkCloud takes which cloud the older form is for. A setting that says
// otherwise counts for what it is about; what is left must be of one cloud, since a
// secret that is sent to another cloud's authority has left its own.
func (c *checker) sdkCloud(fields sdkFields) {
	said, _ := c.value("AZURE_CLOUD")
	for _, e := range []struct{ field, setting string }{
		{"resourceManagerEndpointUrl", Prefix + "AZURE_ARM_URL"},
		{"activeDirectoryEndpointUrl", "AZURE_AUTHORITY_HOST"},
	} {
		if fields[e.field] == nil || c.seen[e.setting] {
			continue
		}
		s, _ := fields.text(e.field)
		u, err := parseURL(s)
		if err != nil || u.Scheme != "https" {
			c.mistake("SDK_AUTH_FILE", "names a file whose "+e.field+" is not an https URL")
			continue
		}
		authority := e.setting == "AZURE_AUTHORITY_HOST"
		cloud := cloudOf(u.Hostname())
		switch {
		case cloud == "" && !authority:
			c.mistake("SDK_AUTH_FILE", "names a file for a private cloud: set "+Prefix+"AZURE_ARM_URL and "+Prefix+"AZURE_ARM_AUDIENCE")
		case cloud == "":
		case said == "":
			said = cloud
		case said != cloud:
			c.mistake("SDK_AUTH_FILE", "names a file whose "+e.field+" is of the cloud "+cloud+", where the rest says another")
		}
		if authority {
			c.s.Identity.AuthorityHost = s
		}
	}
	if said != "" && !c.has("AZURE_CLOUD") {
		c.s.AzureCloud = said
	}
}
