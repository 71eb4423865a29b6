package azuremltest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"amlproxy/upstream/azuremltest"
)

// faulty is one operation, asked for again and again.
type faulty struct {
	*azuremltest.Azure
	clock *handClock
	ask   func() reply
	http  *http.Client
	url   string
	token string
}

const listkeys = "listkeys service/diabetes"

func newFaulty(t *testing.T) faulty {
	t.Helper()
	clock := newHandClock()
	a := start(t, azuremltest.Options{Clock: clock})
	c := client(t, a)
	must[*azuremltest.Scoring](t)(a.AddService(azuremltest.Service{Name: "diabetes", Compute: azuremltest.AKS, Model: echo}))
	base, token := services(t, c, a)
	f := faulty{Azure: a, clock: clock, http: c, url: base + "/services/diabetes/listkeys", token: token}
	f.ask = func() reply { return do(t, c, http.MethodPost, f.url, token, "") }
	return f
}

func TestFaultStatus(t *testing.T) {
	f := newFaulty(t)
	f.Fail(listkeys, azuremltest.Fault{Status: 503, Times: 2})
	for _, want := range []int{503, 503, 200} {
		if r := f.ask(); r.StatusCode != want || want == 503 && r.field(t, "code") != "ServiceUnavailable" {
			t.Errorf("%s: %s, want %d", r.Status, r.body, want)
		}
	}
	if f.Calls()[listkeys] != 3 {
		t.Error(f.Calls())
	}
}

func TestFaultBody(t *testing.T) {
	f := newFaulty(t)
	f.Fail(listkeys, azuremltest.Fault{Body: "null"})
	if r := f.ask(); r.StatusCode != http.StatusOK || r.body != "null" {
		t.Errorf("%s: %s", r.Status, r.body)
	}
	f.Mend(listkeys)
	if r := f.ask(); r.field(t, "primaryKey") == "" {
		t.Errorf("mended: %s", r.body)
	}
}

func TestFaultRetryAfter(t *testing.T) {
	f := newFaulty(t)
	f.Fail(listkeys, azuremltest.Fault{RetryAfter: 6500 * time.Millisecond})
	if r := f.ask(); r.StatusCode != http.StatusTooManyRequests || r.Header.Get("Retry-After") != "7" {
		t.Errorf("%s, Retry-After %q", r.Status, r.Header.Get("Retry-After"))
	}
}

func TestFaultRedirect(t *testing.T) {
	f := newFaulty(t)
	f.Fail(listkeys, azuremltest.Fault{Status: http.StatusTemporaryRedirect, Header: http.Header{"Location": {"https://elsewhere.test/"}}})
	f.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if r := f.ask(); r.StatusCode != http.StatusTemporaryRedirect || r.Header.Get("Location") != "https://elsewhere.test/" {
		t.Errorf("%s to %q", r.Status, r.Header.Get("Location"))
	}
}

func TestFaultHuge(t *testing.T) {
	f := newFaulty(t)
	f.Fail(listkeys, azuremltest.Fault{Size: 2 << 20})
	if r := f.ask(); len(r.body) < 2<<20 || r.field(t, "primaryKey") == "" {
		t.Errorf("%d bytes", len(r.body))
	}
}

func TestFaultMalformed(t *testing.T) {
	f := newFaulty(t)
	f.Fail(listkeys, azuremltest.Fault{Malformed: true})
	if r := f.ask(); r.StatusCode != http.StatusOK || r.body == "" || json.Valid([]byte(r.body)) {
		t.Errorf("%s: %s", r.Status, r.body)
	}
}

func TestFaultDrop(t *testing.T) {
	f := newFaulty(t)
	for _, op := range []string{"authority", "arm", "modelmanagement"} {
		f.Fail(op, azuremltest.Fault{Drop: true})
	}
	for _, address := range []string{f.url, workspace(f.Azure, f.ARMURL()) + apiVersion, f.AuthorityURL()} {
		if response, err := f.http.Get(address); err == nil {
			response.Body.Close()
			t.Errorf("%s answers %s", address, response.Status)
		}
	}
}

// TestFaultHidesWhatWasPerformed: a repeat would regenerate the key once more.
func TestFaultHidesWhatWasPerformed(t *testing.T) {
	f := newFaulty(t)
	s := must[*azuremltest.Scoring](t)(f.AddService(azuremltest.Service{Name: "other", Compute: azuremltest.AKS, Model: echo}))
	address := strings.Replace(strings.Replace(f.url, "listkeys", "regenerateKeys", 1), "diabetes", "other", 1)
	regenerate := func() (int, error) {
		r := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(`{"keyType":"Primary"}`)))
		r.Header.Set("Authorization", "Bearer "+f.token)
		response, err := f.http.Do(r)
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}
	for _, fault := range []azuremltest.Fault{{Drop: true}, {Status: http.StatusBadGateway}} {
		for _, performed := range []bool{false, true} {
			before, _ := s.Keys()
			fault.Performed = performed
			f.Fail("regenerate", fault)
			if status, err := regenerate(); status != fault.Status || (err == nil) == fault.Drop {
				t.Errorf("%+v: %d, %v", fault, status, err)
			}
			if after, _ := s.Keys(); (after != before) != performed {
				t.Errorf("%+v: regenerated: %v", fault, after != before)
			}
		}
	}
}

func TestFaultDelay(t *testing.T) {
	f := newFaulty(t)
	f.Fail("", azuremltest.Fault{Delay: 15 * time.Second}) // all operations
	answered := make(chan reply)
	go func() { answered <- f.ask() }()
	if d := <-f.clock.asleep; d != 15*time.Second {
		t.Errorf("waits for %s", d)
	}
	f.clock.advance(14 * time.Second)
	select {
	case <-answered:
		t.Error("answered after 14 s")
	default:
	}
	f.clock.advance(time.Second)
	if r := <-answered; r.StatusCode != http.StatusOK {
		t.Error(r.Status)
	}
}

func TestFaultUntil(t *testing.T) {
	f := newFaulty(t)
	release := make(chan struct{})
	f.Fail("listkeys", azuremltest.Fault{Until: release})
	answered := make(chan reply)
	go func() { answered <- f.ask() }()
	close(release)
	if r := <-answered; r.StatusCode != http.StatusOK {
		t.Error(r.Status)
	}
}

// TestFaultTrickle gets headers and one byte, and then nothing until time
// passes.
func TestFaultTrickle(t *testing.T) {
	f := newFaulty(t)
	f.Fail(listkeys, azuremltest.Fault{Trickle: time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := must[*http.Request](t)(http.NewRequestWithContext(ctx, http.MethodPost, f.url, nil))
	r.Header.Set("Authorization", "Bearer "+f.token)
	response := must[*http.Response](t)(f.http.Do(r))
	defer response.Body.Close()
	for _, want := range `{"pri` {
		if b := make([]byte, 10); must[int](t)(response.Body.Read(b)) != 1 || rune(b[0]) != want {
			t.Errorf("got %q, want one byte, %q", b, want)
		}
		<-f.clock.asleep
		f.clock.advance(time.Second)
	}
	cancel()
	if _, err := io.Copy(io.Discard, response.Body); err == nil {
		t.Error("the rest came")
	}
}

// TestNarrowestFaultApplies: one operation, its kind, its host, all.
func TestNarrowestFaultApplies(t *testing.T) {
	f := newFaulty(t)
	for i, op := range []string{"", "modelmanagement", "listkeys", listkeys} {
		f.Fail(op, azuremltest.Fault{Status: 500 + i})
		if r := f.ask(); r.StatusCode != 500+i {
			t.Errorf("with a fault of %q: %s", op, r.Status)
		}
	}
	f.Mend(listkeys)
	if r := f.ask(); r.StatusCode != http.StatusBadGateway {
		t.Errorf("with the narrowest mended: %s", r.Status)
	}
	if r := do(t, f.http, http.MethodGet, strings.TrimSuffix(f.url, "/listkeys"), f.token, ""); r.StatusCode != http.StatusNotImplemented {
		t.Errorf("another operation: %s", r.Status)
	}
}
