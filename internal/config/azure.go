package config

import (
	"encoding/json"
	"net/url"
	"strings"

	"amlproxy/internal/secret"
)

// azure judges which workspace it is and who the proxy is there.
func (c *checker) azure() {
	for _, name := range []string{"AZURE_ARM_URL", "AZURE_ARM_AUDIENCE"} {
		if v, ok := c.value(name); ok {
			c.web(Prefix+name, v)
		}
	}
	if v, ok := c.value("AZURE_ML_SCOPE"); ok && (scopeToken(v) != "" || !strings.HasSuffix(v, "/.default")) {
		c.mistake("AZURE_ML_SCOPE", "is not a scope that Entra takes here: it ends in /.default")
	}
	if v, ok := c.values["AZURE_AUTHORITY_HOST"]; ok {
		// The client secret goes there, and azidentity takes nothing but https.
		if u, err := parseURL(v); err != nil {
			c.add("AZURE_AUTHORITY_HOST", err.Error())
		} else if u.Scheme != "https" {
			c.add("AZURE_AUTHORITY_HOST", "is not https: the proxy's own secret is sent there")
		}
	}
	c.principal()
	c.workspace()
}

// principal judges who the proxy is: said once, and said completely.
func (c *checker) principal() {
	names := []string{"AML_TENANT_ID", "AML_PRINCIPAL_ID", "AML_PRINCIPAL_PASS"}
	given := 0
	for _, n := range names {
		if c.seen[n] {
			given++
		}
	}
	for _, n := range names {
		if given > 0 && !c.seen[n] {
			c.add(n, "is missing: set all of "+strings.Join(names, ", ")+" or none")
		}
	}
	switch {
	case c.has("SDK_AUTH_FILE") && given > 0:
		c.mistake("SDK_AUTH_FILE", "is set together with AML_PRINCIPAL_…: say in one place who the proxy is")
	case c.has("AZURE_LOGIN") && (given > 0 || c.has("SDK_AUTH_FILE")):
		c.mistake("AZURE_LOGIN", "is set together with a service principal: say in one place who the proxy is")
	default:
		if file, ok := c.value("SDK_AUTH_FILE"); ok {
			c.sdkAuth(file)
		}
	}
}

// sdkAuth reads what az ad sp create-for-rbac printed, with --sdk-auth or, as
// newer versions do, without.
func (c *checker) sdkAuth(file string) {
	b, err := readFile(file, maxSecretFile)
	if err != nil {
		c.note("SDK_AUTH_FILE", err)
		return
	}
	// Our own words instead of the decoder's: those can quote a value.
	var fields map[string]any
	if json.Unmarshal(b, &fields) != nil {
		c.mistake("SDK_AUTH_FILE", "names a file that is not a JSON object")
		return
	}
	text := func(names ...string) string {
		for _, n := range names {
			if s, ok := fields[n].(string); ok && strings.TrimSpace(s) != "" && noControl(s) == nil {
				return s
			}
		}
		c.mistake("SDK_AUTH_FILE", "names a file without "+strings.Join(names, " or ")+" (a text)")
		return ""
	}
	c.s.Identity.TenantID = text("tenantId", "tenant")
	c.s.Identity.ClientID = text("clientId", "appId")
	c.s.Identity.ClientSecret = secret.New(text("clientSecret", "password"))
	c.sdkAuthExtras(fields)
}

// sdkAuthExtras takes what the older form says besides, where no setting does.
func (c *checker) sdkAuthExtras(fields map[string]any) {
	if s, ok := fields["subscriptionId"].(string); ok && !c.has("SUBSCRIPTION_ID") && c.has("RESOURCE_GROUP") && c.has("WORKSPACE_NAME") {
		c.s.SubscriptionID = s
	}
	if s, ok := fields["resourceManagerEndpointUrl"].(string); ok && !c.has("AZURE_CLOUD") {
		if u, err := url.Parse(s); err == nil {
			switch u.Hostname() {
			case "management.usgovcloudapi.net":
				c.s.AzureCloud = "usgovernment"
			case "management.chinacloudapi.cn":
				c.s.AzureCloud = "china"
			}
		}
	}
	if s, ok := fields["activeDirectoryEndpointUrl"].(string); ok && !c.seen["AZURE_AUTHORITY_HOST"] {
		if u, err := parseURL(s); err != nil || u.Scheme != "https" {
			c.mistake("SDK_AUTH_FILE", "names a file whose activeDirectoryEndpointUrl is not an https URL")
		}
		c.s.Identity.AuthorityHost = s
	}
}
