package proxy_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"amlproxy/proxy"
)

// loads waits until route m has the load that is wanted.
func loads(t *testing.T, h *house, want proxy.Load) {
	t.Helper()
	want.Route = "m"
	var got []proxy.Load
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if got = h.Config.Handler.(*proxy.Proxy).Loads(); len(got) == 1 && got[0] == want {
			return
		}
	}
	t.Fatalf("%+v, want %+v", got, want)
}

func TestALoadIsWhatGoesOn(t *testing.T) {
	release := make(chan struct{})
	stream := model(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-release
	})
	route := proxy.Route{Name: "m", MaxConcurrent: 3, Transport: stream, Public: true}
	h := open(t, proxy.Config{Routes: []proxy.Route{route}})
	loads(t, h, proxy.Load{MaxConcurrent: 3})
	res, err := http.Get(h.URL + "/models/m")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	loads(t, h, proxy.Load{Requests: 1, Streams: 1, MaxConcurrent: 3})

	// Other routes take over, and what goes on at the old ones is not forgotten.
	route.MaxConcurrent, route.Transport = 0, echo(t)
	if err := h.Config.Handler.(*proxy.Proxy).SetRoutes([]proxy.Route{route}); err != nil {
		t.Fatal(err)
	}
	conn, _ := upgrade(t, h.Listener.Addr().String())
	loads(t, h, proxy.Load{Requests: 2, Streams: 1, WebSockets: 1})
	close(release)
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Error(err)
	}
	loads(t, h, proxy.Load{Requests: 1, WebSockets: 1})
	_ = conn.Close()
	loads(t, h, proxy.Load{})

	for _, path := range []string{"/models/m/none", "/models/other", "/livez"} { // refused, or none of its own
		if res, err := http.Get(h.URL + path); err == nil {
			_ = res.Body.Close()
		}
	}
	loads(t, h, proxy.Load{})
}
