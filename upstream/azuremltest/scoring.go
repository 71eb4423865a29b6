package azuremltest

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// A Scoring is one scoring server and what the workspace knows about it. It is
// safe for concurrent use.
type Scoring struct {
	azure       *Azure
	name        string
	compute     Compute
	folder      string // where score and swagger.json are
	score       string // the path that scores
	deployments []Deployment
	swagger     []byte
	location    string
	tags        map[string]string
	fail        shape // of the workspace's errors about it

	credentials credentials

	mu     sync.Mutex
	host   *host
	door   *door
	state  string
	manner Behaviour

	requests, refusals, posts, scored atomic.Int64
}

// Name returns the name that the workspace knows it by.
func (s *Scoring) Name() string { return s.name }

// URL returns the scoring address.
func (s *Scoring) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.compute == serverless {
		return s.host.url
	}
	return s.host.url + escaped(s.score)
}

// Requests returns how many requests arrived, at all addresses it has had.
func (s *Scoring) Requests() int { return int(s.requests.Load()) }

// Refusals returns how many of them were refused for their credential,
// including those that were hung up on.
func (s *Scoring) Refusals() int { return int(s.refusals.Load()) }

// Posts returns how many POSTs reached the model.
func (s *Scoring) Posts() int { return int(s.posts.Load()) }

// SetState changes what the workspace says of its state: Transitioning (it has
// no address yet), Healthy, Unhealthy, Failed; of an endpoint: Creating (no
// address yet), Updating, Succeeded, Failed.
func (s *Scoring) SetState(state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state = state
}

// Move changes the address, as an upgrade does. The old one refuses every call
// with 401 from now on: somebody else's service is there now.
func (s *Scoring) Move() error {
	s.mu.Lock()
	old := s.door
	s.mu.Unlock()
	if err := s.open(); err != nil {
		return err
	}
	old.foreign.Store(true)
	return nil
}

// Vanish changes the address, and nothing listens at the old one any more: calls
// under way there are cut.
func (s *Scoring) Vanish() error {
	s.mu.Lock()
	old := s.host
	s.mu.Unlock()
	if err := s.open(); err != nil {
		return err
	}
	return old.server.Close()
}

// open gives it a (new) address.
func (s *Scoring) open() error {
	door := &door{scoring: s}
	host, err := s.azure.hosts.serve(s.compute == managed || s.compute == serverless, door)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.host, s.door = host, door
	return nil
}

// A door is one address of a scoring server.
type door struct {
	scoring *Scoring
	foreign atomic.Bool // it is not this service's any more
}

// ServeHTTP is a call: authenticated, then given to the model.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := d.scoring
	s.requests.Add(1)
	manner := s.behaviour()
	if s.azure.clock.Sleep(r.Context(), manner.Latency) != nil || s.azure.clock.Sleep(r.Context(), manner.AuthDelay) != nil {
		return
	}
	verdict := unauthorized
	if !d.foreign.Load() {
		verdict = s.judge(r)
	}
	switch verdict {
	case unauthorized:
		s.refusals.Add(1)
		manner.Refusal.refuse(w, r, s.compute)
	case forbidden:
		http.Error(w, "the principal lacks onlineEndpoints/score/action", http.StatusForbidden)
	default:
		s.serve(&response{ResponseWriter: w, scoring: s, began: s.azure.clock.Now()}, r, manner)
	}
}

// serve answers an admitted call.
func (s *Scoring) serve(w *response, r *http.Request, manner Behaviour) {
	if !w.identify(r) {
		http.Error(w, "the request id has more than 100 characters", http.StatusRequestHeaderFieldsTooLarge)
		return
	}
	switch path := r.URL.Path; {
	case path == s.folder+"swagger.json" && r.Method == http.MethodGet && s.swagger != nil:
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(s.swagger)
	case path == s.folder && r.Method == http.MethodGet:
		_, _ = io.WriteString(w, "Healthy")
	case path != s.score && s.compute != serverless:
		http.NotFound(w.ResponseWriter, r)
	case r.Method != http.MethodGet && r.Method != http.MethodPost: // OPTIONS too: there is no CORS here
		w.Header().Set("Allow", "GET, POST")
		http.Error(w.ResponseWriter, "Method Not Allowed", http.StatusMethodNotAllowed)
	default:
		s.call(w, r, manner)
	}
}

// call is where a request reaches the model.
func (s *Scoring) call(w *response, r *http.Request, manner Behaviour) {
	chosen, ok := s.deployment(r.Header.Get(deploymentHeader))
	if !ok {
		http.Error(w.ResponseWriter, "no deployment with traffic", http.StatusNotFound)
		return
	}
	if r.Method == http.MethodPost {
		s.posts.Add(1)
	}
	if s.compute == managed {
		w.Header().Set(deploymentHeader, chosen.Name)
		w.trailers = true
	}
	if manner.ModelAnswers401 {
		_, _ = io.Copy(io.Discard, r.Body)
		w.raw = true
		http.Error(w, "the model has users of its own, and you are none", http.StatusUnauthorized)
		return
	}
	chosen.Model.ServeHTTP(w, r)
	w.finish()
}

// deploymentHeader pins a deployment, and says which one answered.
const deploymentHeader = "Azureml-Model-Deployment"

// deployment returns the one that is pinned, else the one whose turn it is.
func (s *Scoring) deployment(pinned string) (Deployment, bool) {
	turn := int((s.scored.Add(1) - 1) % 100)
	for _, d := range s.deployments {
		if pinned != "" && s.compute == managed {
			if d.Name == pinned {
				return d, true
			}
			continue
		}
		if turn -= d.Traffic; turn < 0 {
			return d, true
		}
	}
	return Deployment{}, false
}
