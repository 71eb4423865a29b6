package azuremltest

import (
	"net/http"
	"strconv"
	"time"
)

// A response adds what the servers around a model add to its answer.
type response struct {
	http.ResponseWriter
	scoring  *Scoring
	began    time.Time
	raw      bool // the status is not rewritten
	trailers bool
	started  bool
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// identify gives the call its ids; false if the client's is too long.
func (w *response) identify(r *http.Request) bool {
	id := r.Header.Get("X-Ms-Request-Id")
	client := r.Header.Get("X-Ms-Client-Request-Id")
	if len(id) > 100 || len(client) > 100 {
		return false
	}
	id = or(id, guid())
	w.Header().Set("X-Ms-Request-Id", id)
	w.Header().Set("X-Request-Id", id)
	w.Header().Set("X-Ms-Server-Version", "azmlinfsrv/1.4.1")
	if client != "" {
		w.Header().Set("X-Ms-Client-Request-Id", client)
	}
	return true
}

// WriteHeader rewrites the model's status as the platform does: a managed
// endpoint makes 424 of anything but success, Kubernetes makes 502 of 500.
func (w *response) WriteHeader(status int) {
	if w.started || status < 200 {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.started = true
	header := w.Header()
	header.Set("X-Ms-Run-Function-Failed", pythonBool(status >= 500))
	header.Set("X-Ms-Run-Fn-Exec-Ms", strconv.FormatFloat(float64(w.scoring.azure.clock.Now().Sub(w.began))/float64(time.Millisecond), 'f', 3, 64))
	switch compute := w.scoring.compute; {
	case w.raw:
	case compute == managed && status >= 300:
		header.Set("Ms-Azureml-Model-Error-Statuscode", strconv.Itoa(status))
		header.Set("Ms-Azureml-Model-Error-Reason", http.StatusText(status))
		status = http.StatusFailedDependency
	case compute == AKS && status == http.StatusInternalServerError:
		status = http.StatusBadGateway
	}
	if w.trailers {
		header.Del("Content-Length") // trailers need chunks (RFC 9112, section 7.1.2)
		header.Set("Trailer", requestDelay+", "+responseDelay)
	}
	w.ResponseWriter.WriteHeader(status)
}

// The trailers of managed endpoints: how long each direction was held back.
const (
	requestDelay  = "Ms-Azureml-Bandwidth-Request-Delay-Ms"
	responseDelay = "Ms-Azureml-Bandwidth-Response-Delay-Ms"
)

// Write begins the answer if the model has not.
func (w *response) Write(p []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(p)
}

// FlushError is http.ResponseController's Flush: streams pass as they come.
func (w *response) FlushError() error {
	w.begin()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

func (w *response) begin() {
	if !w.started {
		w.WriteHeader(http.StatusOK)
	}
}

// finish sends what comes after the body.
func (w *response) finish() {
	w.begin()
	if w.trailers {
		w.Header().Set(requestDelay, "0")
		w.Header().Set(responseDelay, "0")
	}
}

func pythonBool(b bool) string {
	if b {
		return "True"
	}
	return "False"
}
