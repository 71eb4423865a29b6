package upstream_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"amlproxy/internal/secret"
	"amlproxy/upstream"
)

// A pair of keys is given by hand. The primary has been regenerated meanwhile, so
// the endpoint refuses it, and the request is sent once more with the secondary.
func ExampleTransport() {
	model := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer key-2" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, `{"result":[8]}`)
	}))
	defer model.Close()
	address, _ := url.Parse(model.URL + "/score")

	backend := upstream.Cached(upstream.Static(upstream.Lease{
		Scoring: address, Kind: upstream.Key,
		Primary: secret.New("key-1"), Secondary: secret.New("key-2"),
	}), nil)
	defer backend.Close()
	client := &http.Client{Transport: &upstream.Transport{Backends: []upstream.Backend{backend}, ReplayLimit: 1 << 20}}

	// The URL says only what lies below the route; the backend knows the host.
	answer, err := client.Post("http://upstream/score", "application/json", strings.NewReader(`{"data":[[1]]}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer answer.Body.Close()
	_, _ = io.Copy(stdout{}, answer.Body)
	// Output: {"result":[8]}
}

type stdout struct{}

func (stdout) Write(p []byte) (int, error) { return fmt.Print(string(p)) }
