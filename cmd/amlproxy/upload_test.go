package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"amlproxy/internal/soak"
	"amlproxy/upstream/azuremltest"
)

// uploadSize is what the tests upload: much more than a proxy may keep. make soak
// uploads a gibibyte.
func uploadSize() int64 {
	if soak.On() {
		return 1 << 30
	}
	return 128 << 20
}

// mostGrowth is by how much an upload may make the proxy grow, in bytes.
const mostGrowth = 16 << 20

// TestAnUploadThroughA401 runs the built binary in front of an endpoint whose keys
// have just been regenerated, uploads more than it may keep, and measures it.
func TestAnUploadThroughA401(t *testing.T) {
	for name, how := range map[string]azuremltest.Refusal{
		"401 before the body":    azuremltest.Refuse,
		"100 Continue, then 401": azuremltest.ContinueThenRefuse,
		"closes without a word":  azuremltest.CloseUnread,
		"401 and closes, unread": azuremltest.RefuseThenClose,
	} {
		t.Run(name, func(t *testing.T) {
			azure, err := azuremltest.Start(azuremltest.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer azure.Close()
			counter := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n, err := io.Copy(io.Discard, r.Body)
				fmt.Fprint(w, n, " ", err)
			})
			model, err := azure.AddService(azuremltest.Service{Name: "m", Compute: azuremltest.ACI, Auth: azuremltest.Key, Model: counter})
			if err != nil {
				t.Fatal(err)
			}
			p, url := serveAzure(t, azure)
			if got := upload(t, url, 1000); got != "200 1000 <nil>" {
				t.Fatal(got)
			}
			before := resident(t, p, "VmRSS")
			model.Behave(azuremltest.Behaviour{Refusal: how})
			model.RegenerateKey(azuremltest.Both)
			whole := fmt.Sprintf("200 %d <nil>", uploadSize())
			if got := upload(t, url, uploadSize()); got != whole && !strings.HasPrefix(got, "503 ") {
				t.Errorf("the upload got %s", got)
			}
			if got := upload(t, url, uploadSize()); got != whole {
				t.Errorf("the next upload got %s", got)
			}
			peak := resident(t, p, "VmHWM")
			if peak-before > mostGrowth {
				t.Errorf("%d MiB before, %d MiB at most: an upload may add %d", before>>20, peak>>20, mostGrowth>>20)
			}
			soak.Note(t, "F21", mib(uploadSize())+" uploaded with a credential just taken away: "+name, "growth <= 16 MiB; 200, or 503 and then 200", fmt.Sprintf("%s, then %s", mib(peak-before), whole[:3]))
		})
	}
}

// serveAzure starts the binary with one public route, m, and returns its URL.
func serveAzure(t *testing.T, azure *azuremltest.Azure) (*process, string) {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	files := map[string]string{
		"ca.pem":      string(azure.CAPEM()),
		"routes.yaml": "routes:\n  - {name: m, service: m, public: true, max_body: 2GiB}\n",
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := start(t, append(azure.Environ(),
		"AMLPROXY_CA_FILE="+filepath.Join(dir, "ca.pem"), "AMLPROXY_ROUTES_FILE="+filepath.Join(dir, "routes.yaml"),
		"AMLPROXY_LISTEN=127.0.0.1:"+port, "AMLPROXY_ADMIN_LISTEN=127.0.0.1:0"), "serve")
	ready(t, http.DefaultClient, "http://127.0.0.1:"+port+"/readyz")
	return p, "http://127.0.0.1:" + port + "/models/m"
}

// upload posts so many zeros, with their length announced, and returns the answer.
func upload(t *testing.T, url string, size int64) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = size
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(resp.StatusCode, " ", string(body))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// resident reads a size of a process's memory in bytes: VmRSS now, VmHWM at most.
func resident(t *testing.T, p *process, field string) int64 {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, _ := strings.Cut(lines.Text(), ":"); name == field {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("no %s", field)
	return 0
}
