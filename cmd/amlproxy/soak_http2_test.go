package main_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"amlproxy/internal/soak"
)

// A flood is one connection of HTTP/2 whose caller keeps no rule.
type flood struct {
	framer *http2.Framer
	block  []byte // the fields of a request for the route
	stream uint32
}

func (f *flood) next() uint32 { f.stream += 2; return f.stream - 2 }

func (f *flood) open(last bool) (uint32, error) {
	id := f.next()
	return id, f.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: f.block, EndStream: last, EndHeaders: true})
}

// floods are ways to make a server work, or keep, more than they cost. Each is
// called again and again until the connection is closed or enough was done.
func floods() map[string]func(f *flood) error {
	return map[string]func(f *flood) error{
		"rapid reset (CVE-2023-44487)": func(f *flood) error {
			id, err := f.open(true)
			if err != nil {
				return err
			}
			return f.framer.WriteRSTStream(id, http2.ErrCodeCancel)
		},
		"streams that the server has to reset (CVE-2025-8671)": func(f *flood) error {
			id, err := f.open(false)
			if err != nil {
				return err
			}
			return f.framer.WriteWindowUpdate(id, 0x7fffffff) // overflows the window
		},
		"streams that are never ended": func(f *flood) error { _, err := f.open(false); return err },
		"SETTINGS (CVE-2019-9515)": func(f *flood) error {
			return f.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
		},
		"PING (CVE-2019-9512)":       func(f *flood) error { return f.framer.WritePing(false, [8]byte{}) },
		"empty DATA (CVE-2019-9518)": func(f *flood) error { return f.empty() },
		"CONTINUATION without end (CVE-2023-45288)": func(f *flood) error {
			if f.stream == 1 {
				if err := f.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: f.next(), BlockFragment: f.block}); err != nil {
					return err
				}
			}
			return f.framer.WriteContinuation(1, false, many4K())
		},
	}
}

// empty sends DATA without data, on one stream.
func (f *flood) empty() error {
	if f.stream == 1 {
		if _, err := f.open(false); err != nil {
			return err
		}
	}
	return f.framer.WriteData(1, false, nil)
}

// many4K are 4 KiB of fields.
func many4K() []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := range 64 {
		_ = e.WriteField(hpack.HeaderField{Name: fmt.Sprint("x-", i), Value: string(make([]byte, 50)), Sensitive: true})
	}
	return b.Bytes()
}

// TestSoakHTTP2Floods: what one caller can make the proxy keep or do is bounded, and
// others are served meanwhile.
func TestSoakHTTP2Floods(t *testing.T) {
	var inside, most atomic.Int64
	certificate := issue(t, proxyName)
	model := func(w http.ResponseWriter, r *http.Request) {
		most.Store(max(most.Load(), inside.Add(1)))
		defer inside.Add(-1)
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.RawQuery != "" {
			select {
			case <-r.Context().Done():
			case <-time.After(10 * time.Millisecond):
			}
		}
	}
	for name, attack := range floods() {
		r := newRig(t, model, "AMLPROXY_TLS_CERT_FILE="+certificate.certFile, "AMLPROXY_TLS_KEY_FILE="+certificate.keyFile)
		r.url = "https://" + r.address + "/models/m"
		r.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: certificate.pool, ServerName: proxyName}, MaxIdleConnsPerHost: 64}
		_, _ = r.serves(t, 50)
		before := resident(t, r.p, "VmRSS")
		most.Store(0)

		attackers := many(10, 2)
		var all sync.WaitGroup
		var sent atomic.Int64
		begun := time.Now()
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		for range attackers {
			all.Go(func() {
				c, err := tls.Dial("tcp", r.address, &tls.Config{RootCAs: certificate.pool, ServerName: proxyName, NextProtos: []string{"h2"}})
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				_ = c.SetDeadline(begun.Add(15 * time.Second))
				f := newFlood(c)
				for range many(100_000, 2000) { // it reads nothing of what it is told
					if attack(f) != nil || ctx.Err() != nil {
						return
					}
					sent.Add(1)
				}
			})
		}
		median, _ := r.serves(t, many(100, 20))
		all.Wait()
		stop()
		grown := resident(t, r.p, "VmHWM") - before
		if grown > int64(attackers)*32<<20 || most.Load() > int64(attackers)*100+1 {
			t.Errorf("%s: it grew by %s, %d reached the model at once", name, mib(grown), most.Load())
		}
		if _, longest := r.serves(t, 20); soak.On() && longest > 2*time.Second {
			t.Errorf("%s: others wait %v after it", name, longest)
		}
		soak.Note(t, "flood", fmt.Sprintf("HTTP/2 from %d callers: %s", attackers, name), "growth <= 32 MiB and <= 100 streams each, others served",
			fmt.Sprintf("%s each, %d taken, %d at the model at once, others %s", mib(grown/int64(attackers)), sent.Load(), most.Load(), ms(median)))
		_ = r.p.stop()
	}
}

func newFlood(c io.ReadWriter) *flood {
	_, _ = io.WriteString(c, http2.ClientPreface)
	f := &flood{framer: http2.NewFramer(c, c), stream: 1}
	f.framer.AllowIllegalWrites = true
	_ = f.framer.WriteSettings()
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, field := range [][2]string{{":method", "POST"}, {":scheme", "https"}, {":authority", proxyName}, {":path", "/models/m?x"}} {
		_ = e.WriteField(hpack.HeaderField{Name: field[0], Value: field[1], Sensitive: true})
	}
	f.block = b.Bytes()
	return f
}
