package models

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
)

// MaxBody is how many bytes one request may have: MaxRows rows of any of the
// models fit many times over.
const MaxBody = 4 << 20

// ServeHTTP answers GET …/swagger.json with the description, and a POST to any
// other path with predictions: which path scores is the server's business.
func (m *Model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if path.Base(r.URL.Path) == "swagger.json" {
		m.serveSwagger(w, r)
		return
	}
	if r.Method != http.MethodPost {
		refuseMethod(w, r, http.MethodPost)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		refuseBody(w, err)
		return
	}
	results, err := m.score(body)
	if err != nil {
		answer(w, http.StatusBadRequest, failure{err.Error()})
		return
	}
	answer(w, http.StatusOK, output{results})
}

func (m *Model) score(body []byte) ([]any, error) {
	rows, err := parse(body)
	if err != nil {
		return nil, err
	}
	return m.Predict(rows)
}

func (m *Model) serveSwagger(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		refuseMethod(w, r, "GET, HEAD")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(m.swagger) // a caller who left needs no answer
}

type output struct {
	Result []any `json:"result"`
}

// failure is the body of every refusal of the inference server.
type failure struct {
	Message string `json:"message"`
}

func refuseMethod(w http.ResponseWriter, r *http.Request, allowed string) {
	w.Header().Set("Allow", allowed)
	answer(w, http.StatusMethodNotAllowed, failure{fmt.Sprintf("method %q is not allowed; use %s", r.Method, allowed)})
}

func refuseBody(w http.ResponseWriter, err error) {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		answer(w, http.StatusRequestEntityTooLarge, failure{fmt.Sprintf("the body has more than %d bytes", tooLarge.Limit)})
		return
	}
	answer(w, http.StatusBadRequest, failure{"the body could not be read"})
}

func answer(w http.ResponseWriter, status int, body any) {
	b, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "the answer could not be encoded", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // a caller who left needs no answer
}
