package demo

import (
	"fmt"
	"strings"
)

// banner tells a visitor what is there and what to do with it. Every line of
// shell in it works when it is pasted, top to bottom.
func (w *World) banner(public, metrics string) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }

	line("amlproxy demo: three models in an Azure ML workspace, all on this machine")
	line("")
	line("  Open    %s", public)
	if metrics != "" {
		line("  Metrics %s", metrics)
	}
	line("  Sign in at the identity provider %s as", w.Provider.Issuer())
	line("")
	for _, a := range w.People {
		line("    %-5s / %s   %s", a.Name, a.Secret, a.says)
	}
	line("")
	line("  or, for a program that may call every model, with the machine client")
	line("")
	line("    %s / %s", w.Job.Name, w.Job.Secret)
	line("")
	for _, m := range w.Models {
		line("  %-30s %-29s for %s", "/models/"+m.Name(), m.kind, m.only)
	}
	line("")
	line("# From a program, without a credential: 401 and what to do about it")
	line("curl -i -d '{}' %s/models/diabetes", public)
	line("")
	line("# A bearer token for %s", w.Job.Name)
	line(`TOKEN=$(curl -s -u '%s:%s' -d grant_type=client_credentials %s/oauth/token | sed 's/.*"access_token":"\([^"]*\)".*/\1/')`,
		w.Job.Name, w.Job.Secret, w.Provider.Issuer())
	line("")
	line("# A prediction from each model")
	for _, m := range w.Models {
		line(`curl -s -H "Authorization: Bearer $TOKEN" -d '%s' %s/models/%s`, m.Sample(), public, m.Name())
	}
	line("")
	line("Ctrl-C ends it.")
	return b.String()
}
