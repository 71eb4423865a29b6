package config

import "strings"

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
	c.cloud()
	c.workspace()
}

// cloudOf names the cloud that a host of Azure's belongs to; "" for a host that is
// none of Azure's.
func cloudOf(host string) string {
	for cloud, hosts := range map[string][]string{
		"public":       {"management.azure.com", "login.microsoftonline.com", "login.windows.net"},
		"usgovernment": {"management.usgovcloudapi.net", "login.microsoftonline.us"},
		"china":        {"management.chinacloudapi.cn", "login.chinacloudapi.cn", "login.partner.microsoftonline.cn"},
	} {
		for _, h := range hosts {
			if host = strings.ToLower(host); host == h || strings.HasSuffix(host, "."+h) {
				return cloud
			}
		}
	}
	return ""
}

// cloud wants the settings that choose one to agree. A token for Azure's own
// resource manager must not reach another host, which could use it there: so a
// private one needs an audience of its own.
func (c *checker) cloud() {
	host := func(value string) string {
		u, err := parseURL(value)
		if err != nil {
			return "" // reported already
		}
		return u.Hostname()
	}
	arm := cloudOf(host(c.s.AzureARMURL))
	switch {
	case c.has("AZURE_ARM_AUDIENCE") && !c.has("AZURE_ARM_URL"):
		c.mistake("AZURE_ARM_AUDIENCE", "is set without "+Prefix+"AZURE_ARM_URL: set both, or choose with "+Prefix+"AZURE_CLOUD")
	case c.has("AZURE_ARM_URL") && arm == "" && !c.has("AZURE_ARM_AUDIENCE"):
		c.mistake("AZURE_ARM_AUDIENCE", "is missing: "+Prefix+"AZURE_ARM_URL is not Azure's own, and must not be sent tokens for that")
	case arm != "" && arm != c.s.AzureCloud:
		c.mistake("AZURE_ARM_URL", "is of the cloud "+arm+", which "+Prefix+"AZURE_CLOUD does not say")
	}
	if v := c.values["AZURE_AUTHORITY_HOST"]; !c.has("AZURE_ARM_URL") {
		if cloud := cloudOf(host(v)); cloud != "" && cloud != c.s.AzureCloud {
			c.add("AZURE_AUTHORITY_HOST", "is of the cloud "+cloud+", which "+Prefix+"AZURE_CLOUD does not say")
		}
	}
}
