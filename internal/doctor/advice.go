package doctor

import (
	"cmp"
	"regexp"
	"strings"

	"amlproxy/internal/config"
)

var entraCode = regexp.MustCompile(`AADSTS(\d+)`)

// advice says what to do about a refusal of Entra ID, which has a number, or about
// an identity that is nowhere to be found, in words of the settings that were used.
func advice(s *config.Settings, text string) []string {
	hints := advised(s.Identity, text)
	if s.SDKAuthFile == "" {
		return hints
	}
	const file = " in " + config.Prefix + "SDK_AUTH_FILE"
	said := strings.NewReplacer("AML_TENANT_ID", "the tenant"+file, "AML_PRINCIPAL_ID", "the client"+file,
		"the secret in AML_PRINCIPAL_PASS", "the secret"+file, "AML_PRINCIPAL_PASS", "the secret"+file)
	for i := range hints {
		hints[i] = said.Replace(hints[i])
	}
	return hints
}

func advised(id config.Identity, text string) []string {
	reset := "az ad app credential reset --append --id " + cmp.Or(id.ClientID, "CLIENT_ID")
	if m := entraCode.FindStringSubmatch(text); m != nil {
		switch m[1] {
		case "90002", "900021", "900023":
			return []string{"AML_TENANT_ID is no tenant of this authority; yours is: az account show --query tenantId --output tsv"}
		case "700016":
			return []string{
				"AML_PRINCIPAL_ID is no application of this tenant: is it the application (client) ID, and not the object ID?",
				"az ad sp list --all --query \"[?servicePrincipalType=='Application'].{name:displayName, id:appId}\" --output table",
			}
		case "7000215":
			return []string{"AML_PRINCIPAL_PASS is not a secret of this client: is it the secret's value, and not its ID? make another one:", reset}
		case "7000222":
			return []string{"the secret in AML_PRINCIPAL_PASS has expired; make another one:", reset}
		case "700027":
			return []string{
				"the application does not know this certificate (AML_PRINCIPAL_CERT_FILE); give it the public part:",
				reset + " --cert @PUBLIC.pem",
			}
		case "700021", "70021", "700213":
			return []string{"the application has no federated credential for this workload: az ad app federated-credential list --id " + cmp.Or(id.ClientID, "CLIENT_ID")}
		case "7000112":
			return []string{"somebody has disabled the application " + id.ClientID + "; an administrator of the tenant can enable it"}
		case "500011", "1002012", "70011":
			return []string{"the tenant does not know what the token is for: see AMLPROXY_AZURE_ARM_AUDIENCE, AMLPROXY_AZURE_ML_SCOPE and AMLPROXY_AZURE_CLOUD"}
		case "50076", "50079", "53003", "53000":
			return []string{"the tenant's conditional access wants more than this sign-in gave: use a service principal, or have it excepted"}
		}
		return []string{"https://login.microsoftonline.com/error?code=" + m[1]}
	}
	if id.IsZero() && (strings.Contains(text, "DefaultAzureCredential") || strings.Contains(text, "managed identity")) {
		return []string{
			"say who the proxy is: AML_TENANT_ID, AML_PRINCIPAL_ID and AML_PRINCIPAL_PASS, as this prints them:",
			"az ad sp create-for-rbac --name amlproxy",
			"or give this machine a managed identity; or, to try things out, sign in: az login",
		}
	}
	return nil
}
