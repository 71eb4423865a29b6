package main_test

import (
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"amlproxy/authn/authntest"
	"amlproxy/internal/demo/models"
	"amlproxy/upstream/azuremltest"
)

// TestQuickStart follows docs/quickstart.md: every block, in its order, in one
// shell, up to the answer of a model. The commands of Azure's CLI are answered by a
// stand-in, since nothing but Entra itself can register an application; the proxy,
// the provider that issues tokens and the workspace are real servers.
func TestQuickStart(t *testing.T) {
	q := newStart(t)
	script := []string{"set -eu"}
	for _, f := range fencesOf(t) {
		if filepath.Base(f.page) != "quickstart.md" {
			continue
		}
		code := f.code
		for _, r := range q.edits {
			code = strings.ReplaceAll(code, r[0], r[1])
		}
		switch f.marker {
		case "file: routes.yaml":
			if err := os.WriteFile(filepath.Join(q.dir, "routes.yaml"), []byte(code), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		case "serve":
			code = strings.TrimSpace(code) + " 2> log &\nproxy=$!\ntrap 'kill $proxy' EXIT\n" +
				"for n in $(seq 100); do curl -sf \"$PUBLIC_URL/readyz\" > ready && ! grep -q missing ready && break; sleep .1; done\n"
		case "edit", "az", "config", "settings", "identity", "build", "call":
		default:
			t.Errorf("a block that nobody follows: %s\n%s", f.marker, f.code)
		}
		script = append(script, code)
	}
	shell := exec.CommandContext(t.Context(), "sh", "-c", strings.Join(script, "\n"))
	shell.Env, shell.Dir = q.environ, q.dir
	out, err := shell.CombinedOutput()
	if err != nil || !strings.Contains(squeeze(string(out)), squeeze(q.want)) {
		log, _ := os.ReadFile(filepath.Join(q.dir, "log"))
		t.Errorf("%v; the answer should be %s\n%s\n%s", err, q.want, out, log)
	}
	t.Logf("%s", out)
}

// A newStarter is where somebody begins: a folder, a shell, and Azure.
type newStarter struct {
	dir     string
	environ []string
	edits   [][2]string // what he writes in place of what the guide has
	want    string      // of the model
}

func newStart(t *testing.T) *newStarter {
	t.Helper()
	model, err := models.Diabetes()
	if err != nil {
		t.Fatal(err)
	}
	azure, err := azuremltest.Start(azuremltest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = azure.Close() })
	if _, err := azure.AddService(azuremltest.Service{
		Name: "diabetes-aks", Compute: azuremltest.AKS, Auth: azuremltest.Token, Model: model, Swagger: model.Swagger(),
	}); err != nil {
		t.Fatal(err)
	}
	address := "127.0.0.1:" + freePort(t)
	public, client, secret, job := "http://"+address, "66666666-7777-8888-9999-000000000000", rand.Text(), rand.Text()
	provider, err := authntest.Start(authntest.Options{Clients: []authntest.Client{
		{ID: client, Secret: secret, RedirectURIs: []string{public + "/oauth2/callback"}, PostLogoutURIs: []string{public + "/oauth2/sign_in"}},
		{ID: "batch-job", Secret: job, ServiceAccount: true, Audiences: []string{client}, Scopes: []string{"api://" + client + "/.default"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = provider.Close() })

	dir, tools := t.TempDir(), t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(tools, "az"), azureCLI)
	write(filepath.Join(tools, "make"), "#!/bin/sh\nmkdir -p bin && cp \"$BINARY\" bin/amlproxy\n")
	write(filepath.Join(tools, "ca.pem"), string(azure.CAPEM()))
	environ := []string{
		"PATH=" + tools + ":" + os.Getenv("PATH"), "HOME=" + tools, "BINARY=" + binary,
		"AZ_TENANT=" + azure.Tenant(), "AZ_SUBSCRIPTION=" + azure.SubscriptionID(), "AZ_APP=" + client, "AZ_SECRET=" + secret, "AZ_JOB=" + job,
		"AZ_PRINCIPAL=" + azure.ClientID(), "AZ_PASSWORD=" + azure.ClientSecret(),
		"AMLPROXY_CA_FILE=" + filepath.Join(tools, "ca.pem"), "AMLPROXY_LISTEN=" + address, "AMLPROXY_ADMIN_LISTEN=127.0.0.1:" + freePort(t),
	}
	for _, set := range azure.Environ() { // where this Azure is; what is in it the guide says
		for _, where := range []string{"AZURE_AUTHORITY_HOST=", "AMLPROXY_AZURE_"} {
			if strings.HasPrefix(set, where) {
				environ = append(environ, set)
			}
		}
	}
	return &newStarter{
		dir: dir, environ: environ, want: string(model.Expected()),
		edits: [][2]string{
			{"https://models.example.com ", public + " "},
			{"GROUP=ml ", "GROUP=" + azure.ResourceGroup() + " "},
			{"WORKSPACE=production", "WORKSPACE=" + azure.WorkspaceName()},
			{"https://login.microsoftonline.com/$TENANT/v2.0", provider.Issuer()},
			{"https://login.microsoftonline.com/$TENANT/oauth2/v2.0/token", provider.Issuer() + "/oauth/token"},
			{`{"data": [[0.03, 0.05, 0.06, 0.02, -0.04, -0.03, -0.04, 0, 0.02, -0.02]]}`, string(model.Sample())},
		},
	}
}

// azureCLI answers the commands of the guide in the form that the CLI does, and no
// others.
const azureCLI = `#!/bin/sh
case "$*" in
"account show --query tenantId --output tsv") echo "$AZ_TENANT" ;;
"account show --query id --output tsv") echo "$AZ_SUBSCRIPTION" ;;
"ad app create --display-name amlproxy "*"--web-redirect-uris "*/oauth2/callback*" --query appId --output tsv") echo "$AZ_APP" ;;
"ad app create --display-name batch-job --query appId --output tsv") echo batch-job ;;
"ad app show --id $AZ_APP --query id --output tsv") echo 99999999-0000-0000-0000-000000000000 ;;
"ad sp create --id $AZ_APP" | "ad sp create --id batch-job") echo '{}' ;;
"rest --method PATCH --uri https://graph.microsoft.com/v1.0/applications/99999999-0000-0000-0000-000000000000 --headers Content-Type=application/json --body "*)
	for body; do :; done
	printf '%s' "$body" | python3 -m json.tool > /dev/null ;;
"ad app credential reset --id $AZ_APP "*"--query password --output tsv") echo "$AZ_SECRET" ;;
"ad app credential reset --id batch-job --append --query password --output tsv") echo "$AZ_JOB" ;;
"ad sp create-for-rbac --name amlproxy-azure --role Reader --scopes /subscriptions/$AZ_SUBSCRIPTION/resourceGroups/"*)
	printf '{"appId": "%s", "displayName": "amlproxy-azure", "password": "%s", "tenant": "%s"}\n' "$AZ_PRINCIPAL" "$AZ_PASSWORD" "$AZ_TENANT" ;;
*) echo "az: nobody wrote down what $* answers" >&2; exit 2 ;;
esac
`
