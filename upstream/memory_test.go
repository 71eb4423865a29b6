package upstream_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"runtime"
	"slices"
	"testing"

	"amlproxy/upstream"
)

// A base is whatever sends requests.
type base func(*http.Request) (*http.Response, error)

func (b base) RoundTrip(r *http.Request) (*http.Response, error) { return b(r) }

var fine = &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}

// letter is a body of n bytes that says in every four of them whose it is.
func letter(who uint32, n int) []byte {
	return bytes.Repeat([]byte{byte(who >> 16), byte(who >> 8), byte(who), '\n'}, (n+3)/4)[:n]
}

// mail sends content, of which length is announced.
func mail(t testing.TB, rt http.RoundTripper, content []byte, length int) error {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://upstream/score", bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = int64(length)
	_, err = rt.RoundTrip(req)
	return err
}

const page = 100 << 10 // a letter's size where it does not matter

func isLetter(t *testing.T, body io.Reader, who uint32) {
	t.Helper()
	if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, letter(who, page)) {
		t.Errorf("%d bytes that begin with %q instead of letter %d: %v", len(got), got[:min(4, len(got))], who, err)
	}
}

// through returns a Transport over b.
func through(t *testing.T, b base) *upstream.Transport {
	rt := over(t, "http://endpoint.example", "p", "s")
	rt.Base, rt.ReplayLimit = b, 1<<20
	return rt
}

func TestABodyThatWasClosedShowsNobodyElses(t *testing.T) {
	var kept []*http.Request
	rt := through(t, func(r *http.Request) (*http.Response, error) {
		_, err := io.CopyN(io.Discard, r.Body, 40<<10)
		_ = r.Body.Close()
		kept = append(kept, r)
		return fine, err
	})
	for who := range uint32(20) {
		if err := mail(t, rt, letter(who, page), page); err != nil {
			t.Fatal(err)
		}
		for _, r := range kept {
			buffer := make([]byte, page)
			if n, err := r.Body.Read(buffer); n != 0 || err == nil || errors.Is(err, io.EOF) || bytes.Count(buffer, []byte{0}) != len(buffer) {
				t.Errorf("read %d bytes after Close, %v", n, err)
			}
			if body, err := r.GetBody(); err == nil {
				t.Errorf("GetBody gave out %v when nobody held the body", body)
			}
		}
	}
}

// A second Close must not count for another holder, or the memory would go to the
// request in between while this one still reads it.
func TestABodyClosedTwiceIsGivenBackOnce(t *testing.T) {
	const outer, inner = 1, 2
	var depth int
	var rt *upstream.Transport
	rt = through(t, func(r *http.Request) (*http.Response, error) {
		if depth++; depth%2 == 0 {
			isLetter(t, r.Body, inner)
			return fine, r.Body.Close()
		}
		again, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		for range 3 {
			_ = r.Body.Close()
		}
		if err := mail(t, rt, letter(inner, page), page); err != nil {
			return nil, err
		}
		isLetter(t, again, outer)
		for range 3 {
			_ = again.Close()
		}
		return fine, nil
	})
	for range 50 {
		if err := mail(t, rt, letter(outer, page), page); err != nil {
			t.Fatal(err)
		}
	}
}

// A RoundTripper may go on with a body after it has returned.
func TestABodyThatIsStillReadIsNobodyElses(t *testing.T) {
	var kept []*http.Request
	rt := through(t, func(r *http.Request) (*http.Response, error) {
		kept = append(kept, r)
		return fine, nil
	})
	for who := range uint32(20) {
		if err := mail(t, rt, letter(who, page), page); err != nil {
			t.Fatal(err)
		}
	}
	for who, r := range kept {
		again, err := r.GetBody()
		if err != nil {
			t.Fatal(err)
		}
		isLetter(t, r.Body, uint32(who))
		_ = r.Body.Close()
		isLetter(t, again, uint32(who))
		_ = again.Close()
	}
}

// TestMemoryIsUsedAgain holds a request to much less than its body. It is the median,
// since under the race detector a sync.Pool loses some of what it is given.
func TestMemoryIsUsedAgain(t *testing.T) {
	rt := through(t, func(r *http.Request) (*http.Response, error) {
		defer r.Body.Close()
		_, err := io.Copy(io.Discard, r.Body)
		return fine, err
	})
	content := letter(1, page)
	for name, c := range map[string]struct {
		content []byte
		want    error
	}{
		"whole": {content, nil}, "broken off": {content[:page-1], upstream.ErrRequestBody},
	} {
		all := make([]uint64, 101)
		var before, after runtime.MemStats
		for i := range all {
			runtime.ReadMemStats(&before)
			if err := mail(t, rt, c.content, page); !errors.Is(err, c.want) {
				t.Fatal(name, err)
			}
			runtime.ReadMemStats(&after)
			all[i] = after.TotalAlloc - before.TotalAlloc
		}
		slices.Sort(all)
		if each := all[len(all)/2]; each > page/2 {
			t.Errorf("%s: %d bytes a request", name, each)
		}
	}
}

// What a Transport holds together is bounded; whoever is done counts no longer.
func TestBodiesThatAreOverAreNotCounted(t *testing.T) {
	var expect int
	rt := through(t, func(r *http.Request) (*http.Response, error) {
		expect += len(r.Header["Expect"])
		return fine, r.Body.Close()
	})
	for _, size := range []int{16 << 10, 16<<10 + 1, page, 1 << 20} {
		content := letter(1, size)
		for range 32<<20/size/2 + 2 {
			if err := mail(t, rt, content, size); err != nil {
				t.Fatal(err)
			}
			if err := mail(t, rt, content[:size-1], size); !errors.Is(err, upstream.ErrRequestBody) {
				t.Fatal(err)
			}
		}
	}
	if expect > 0 {
		t.Errorf("%d bodies were taken for large", expect)
	}
}
