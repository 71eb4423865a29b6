package authntest

import (
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// A Fault is one way in which the provider misbehaves, from Misbehave until it
// is undone. Faults add up; the newest is the outermost.
type Fault struct {
	at       Endpoint
	times    int // zero: until undone
	wrap     func(next http.Handler) http.Handler
	token    func(*Token)
	response func(url.Values)
}

// Times returns a fault that is over after it has happened n times.
func (f Fault) Times(n int) Fault {
	f.times = n
	return f
}

// fault is a Fault at work.
type fault struct{ Fault }

// Misbehave lets f happen from now on, until undo is called. Calling undo again
// does nothing.
func (p *Provider) Misbehave(f Fault) (undo func()) {
	active := &fault{f}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, active)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.faults = slices.DeleteFunc(p.faults, func(other *fault) bool { return other == active })
	}
}

// called counts a call of e and returns the faults that befall it.
func (p *Provider) called(e Endpoint) []*fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls[e]++
	return p.happening(func(f *fault) bool { return f.at == e || f.at == Any })
}

// at returns the faults that happen at one of the points.
func (p *Provider) at(point Endpoint) []*fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.happening(func(f *fault) bool { return f.at == point })
}

// happening returns the faults that match, and ends those whose times are over. p.mu is held.
func (p *Provider) happening(match func(*fault) bool) []*fault {
	var happen []*fault
	p.faults = slices.DeleteFunc(p.faults, func(f *fault) bool {
		if !match(f) {
			return false
		}
		happen = append(happen, f)
		f.times--
		return f.times == 0
	})
	return happen
}

// Wrap puts anything at all between the caller and an endpoint.
func Wrap(e Endpoint, wrap func(next http.Handler) http.Handler) Fault {
	return Fault{at: e, wrap: wrap}
}

// Answer has h answer instead of the endpoint.
func Answer(e Endpoint, h http.HandlerFunc) Fault {
	return Wrap(e, func(http.Handler) http.Handler { return h })
}

// Status answers with a status and an OAuth error of that code (RFC 6749 section
// 5.2); an empty code stands for an HTML page, as a proxy before a provider answers.
func Status(e Endpoint, status int, code string) Fault {
	return Answer(e, func(w http.ResponseWriter, _ *http.Request) {
		if code != "" {
			writeJSON(w, status, map[string]string{"error": code})
			return
		}
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<html><body>"+strconv.Itoa(status)+"</body></html>")
	})
}

// Body answers 200 with a body of that type.
func Body(e Endpoint, contentType string, body []byte) Fault {
	return Answer(e, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(body)
	})
}

// Refuse cuts the connection without an answer.
func Refuse(e Endpoint) Fault {
	return Answer(e, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil { // HTTP/2, on a server of the caller's
			http.Error(w, "refused", http.StatusServiceUnavailable)
			return
		}
		if t, ok := c.(*net.TCPConn); ok {
			_ = t.SetLinger(0) // a reset, not a polite end
		}
		_ = c.Close()
	})
}

// Hang never answers: the request ends when its caller gives up.
func Hang(e Endpoint) Fault {
	return Answer(e, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the server notices a hang-up only past the body
		<-r.Context().Done()
	})
}

// Hold lets a call go on only once release is closed: for tests that need one
// to be under way.
func Hold(e Endpoint, release <-chan struct{}) Fault {
	return Wrap(e, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
				next.ServeHTTP(w, r)
			case <-r.Context().Done():
			}
		})
	})
}

// Delay answers late.
func Delay(e Endpoint, d time.Duration) Fault {
	return Wrap(e, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			t := time.NewTimer(d)
			defer t.Stop()
			select {
			case <-t.C:
				next.ServeHTTP(w, r)
			case <-r.Context().Done():
			}
		})
	})
}

// Trickle sends the answer a byte at a time, one in every interval.
func Trickle(e Endpoint, interval time.Duration) Fault {
	return Wrap(e, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a := hold(next, r)
			maps.Copy(w.Header(), a.header)
			w.WriteHeader(a.status)
			ticker := time.NewTicker(interval)
			defer ticker.Stop()
			for _, b := range a.body.Bytes() {
				select {
				case <-ticker.C:
				case <-r.Context().Done():
					return
				}
				_, _ = w.Write([]byte{b})
				_ = http.NewResponseController(w).Flush()
			}
		})
	})
}

// AlterJSON changes the object that an endpoint answers with: the issuer in the discovery
// document, the sub at userinfo, the token_type.
func AlterJSON(e Endpoint, alter func(map[string]any)) Fault {
	return Wrap(e, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a := hold(next, r)
			if object, ok := a.object(); ok {
				alter(object)
				if err := a.setObject(object); err != nil {
					http.Error(w, err.Error(), http.StatusInternalServerError)
					return
				}
			}
			a.send(w)
		})
	})
}

// AlterIDToken changes ID tokens before they are signed: another nonce, no iat,
// alg none, a stranger's key.
func AlterIDToken(alter func(*Token)) Fault { return Fault{at: atIDToken, token: alter} }

// AlterAccessToken changes access tokens before they are signed.
func AlterAccessToken(alter func(*Token)) Fault { return Fault{at: atAccessToken, token: alter} }

// AlterResponse changes the parameters of authorization responses, successful or
// not: another iss, none, another state, a parameter twice.
func AlterResponse(alter func(url.Values)) Fault { return Fault{at: atResponse, response: alter} }
