package proxy_test

import (
	"net/http"
	"testing"

	"amlproxy/proxy"
)

// TestCachedAnswerWithoutCORSIsNotHandedToAPage: an answer for every origin that is
// not marked as varying must be the same for all, or a cache keeps the one without.
func TestCachedAnswerWithoutCORSIsNotHandedToAPage(t *testing.T) {
	quiet := model(t, func(http.ResponseWriter, *http.Request) {})
	h := open(t, proxy.Config{Routes: []proxy.Route{
		{Name: "all", Public: true, CORS: &proxy.CORS{Origins: []string{"*"}}, Transport: quiet},
		{Name: "one", Public: true, CORS: &proxy.CORS{Origins: []string{"https://a.example"}}, Transport: quiet},
	}})
	for _, fields := range [][]string{nil, {"Origin: https://a.example"}, {"Origin: null"}} {
		if a := h.ask(t, "GET", "/models/all", "", fields...); a.Header.Get("Access-Control-Allow-Origin") != "*" || a.Header.Get("Vary") != "" {
			t.Errorf("%q: %v", fields, a.Header)
		}
		if a := h.ask(t, "GET", "/models/one", "", fields...); a.Header.Get("Vary") != "Origin" {
			t.Errorf("%q: %v", fields, a.Header)
		}
	}
}
