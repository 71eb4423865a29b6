package authn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	callTimeout = 15 * time.Second // of every outgoing call, its body included
	answerLimit = 1 << 20          // bytes of every answer, after decompression
)

var errTooLarge = fmt.Errorf("the answer is larger than %d bytes", answerLimit)

// outgoing returns a client for calls to a provider that uses base's transport
// alone. It holds no cookies, follows no redirect (a provider that redirects
// could send a code or a secret elsewhere: CVE-2024-45336), gives up after
// callTimeout even while a body trickles in, and reads at most answerLimit
// bytes: a 512 MiB gzip bomb was seen to work on other proxies.
func outgoing(base *http.Client) *http.Client {
	transport := http.DefaultTransport
	if base != nil && base.Transport != nil {
		transport = base.Transport
	}
	return &http.Client{
		Transport: capped{transport},
		Timeout:   callTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}

// capped limits the size of every answer. The transport below it decompresses,
// so what is counted is what a reader would have to hold.
type capped struct{ base http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (c capped) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = &cappedBody{ReadCloser: answer.Body, left: answerLimit}
	return answer, nil
}

type cappedBody struct {
	io.ReadCloser
	left int
}

// Read fails once more than the limit was there to be read; a silent cut could
// turn one JSON text into another.
func (b *cappedBody) Read(p []byte) (int, error) {
	if len(p) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if n > b.left {
		n, err = b.left, errTooLarge
	}
	b.left -= n
	return n, err
}

// A statusError is an answer other than 200.
type statusError struct{ code int }

func (e *statusError) Error() string { return fmt.Sprintf("status %d", e.code) }

// get fetches a JSON document. With a token, it is sent as a bearer token.
func get(ctx context.Context, client *http.Client, url, token string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Cache-Control", "no-cache")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, &statusError{answer.StatusCode}
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	if !json.Valid(body) {
		return nil, errors.New("the answer is not JSON")
	}
	return body, nil
}

// brief keeps an error whose text may hold a whole answer of the provider short
// and on one line, so that it can be logged.
func brief(err error) error { return briefError{err} }

type briefError struct{ error }

func (e briefError) Error() string { return clip(e.error.Error(), 300) }
func (e briefError) Unwrap() error { return e.error }
