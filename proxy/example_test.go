package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"amlproxy/proxy"
)

// A route's Transport is all that the proxy knows of a model; upstream.Transport
// is one that finds address and credential.
func ExampleNew() {
	model := roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("scored " + r.URL.Path))}, nil
	})
	p, err := proxy.New(proxy.Config{
		Routes: []proxy.Route{{Name: "iris", Public: true, Transport: model}},
		Record: func(r *proxy.Record) { fmt.Println(r.Method, r.Path, r.Route, r.Status) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	r := httptest.NewRequest(http.MethodPost, "/models/iris/score", strings.NewReader(`{"data": []}`))
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	fmt.Println(w.Body)
	// Output:
	// POST /models/iris/score iris 200
	// scored /score
}
