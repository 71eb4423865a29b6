package app

import (
	"encoding/json"
	"net/http"

	"amlproxy/proxy"
)

// admin is what the operator and the platform meet, on a listener of its own.
func admin(r *readiness, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answerReadiness(w, r.detailed()) })
	// A platform asks it until it is so once, and kills what is not in time: a stop
	// does not take it back.
	mux.HandleFunc("GET /startupz", func(w http.ResponseWriter, _ *http.Request) {
		answerReadiness(w, proxy.Readiness{Ready: r.started.Load()})
	})
	mux.Handle("GET /metrics", metrics)
	return mux
}

func answerReadiness(w http.ResponseWriter, reading proxy.Readiness) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !reading.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(reading)
}

// withoutBody closes the connection of a caller that announces a body: net/http
// would wait for it before it answers.
func withoutBody(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}
