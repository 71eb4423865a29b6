package authntest

import (
	"bytes"
	"encoding/json"
	"net/http"
)

// An answer is a response held back, to be changed before it is sent.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// hold returns what h answers to r.
func hold(h http.Handler, r *http.Request) *answer {
	a := &answer{header: http.Header{}}
	h.ServeHTTP(a, r)
	if a.status == 0 {
		a.status = http.StatusOK
	}
	return a
}

// Header, Write and WriteHeader make an answer an http.ResponseWriter.
func (a *answer) Header() http.Header { return a.header }

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// object returns the body if it is a JSON object.
func (a *answer) object() (map[string]any, bool) {
	object, err := decodeObject(a.body.Bytes())
	return object, err == nil
}

func (a *answer) setObject(object map[string]any) error {
	body, err := json.Marshal(object)
	if err != nil {
		return err
	}
	a.body.Reset()
	a.body.Write(body)
	return nil
}

func (a *answer) send(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status)
	// A caller that has gone away is not this provider's concern.
	_, _ = w.Write(a.body.Bytes())
}

func writeJSON(w http.ResponseWriter, status int, object any) {
	body, err := json.Marshal(object)
	if err != nil {
		http.Error(w, "encoding the answer failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
