package azureml

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"amlproxy/internal/secret"
)

const apiVersion = "2024-04-01"

// A question is one call to the workspace.
type question struct {
	op     string // "listing the keys of service diabetes"
	method string
	url    string
	action string // the permission it needs ...
	scope  string // ... and the ARM id it is needed on
}

// ask puts q and has parse read the answer. Every error is an *[Error].
func (w *Workspace) ask(ctx context.Context, q question, parse func([]byte) error) error {
	return w.askThrough(ctx, w.send, q, parse)
}

func (w *Workspace) askThrough(ctx context.Context, send sender, q question, parse func([]byte) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, fmt.Errorf("no answer within %s: %w", callTimeout, context.DeadlineExceeded))
	defer cancel()
	resp, body, err := w.put(ctx, send, q)
	if err == nil && resp.StatusCode == http.StatusUnauthorized && w.reject(ctx, resp) {
		resp, body, err = w.put(ctx, send, q)
	}
	if err != nil {
		return err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return w.refusal(q, resp, body)
	}
	if err := parse(body); err != nil {
		return &Error{Op: q.op, Status: resp.StatusCode, Err: err}
	}
	return nil
}

// put sends q once, as far as this package is concerned.
func (w *Workspace) put(ctx context.Context, send sender, q question) (*http.Response, []byte, error) {
	req, err := runtime.NewRequest(ctx, q.method, q.url)
	if err != nil {
		return nil, nil, &Error{Op: q.op, Err: err}
	}
	req.Raw().Header.Set("Accept", "application/json")
	resp, err := send(req)
	if err != nil {
		return nil, nil, q.unanswered(ctx, err)
	}
	body, err := runtime.Payload(resp)
	if err != nil {
		return nil, nil, q.unanswered(ctx, err)
	}
	return resp, body, nil
}

// unanswered makes the error of a question without an answer.
func (q question) unanswered(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	e := &Error{Op: q.op, Err: err}
	var large tooLargeError
	if errors.As(err, &large) {
		e.Status = large.status
	}
	// Entra's refusal is the one to show: it has the status and the code.
	var identity *Error
	if errors.As(err, &identity) {
		e.Err = identity
	}
	return e
}

// reject replaces the identity's token that was answered 401: Entra may have
// revoked it, and azcore alone would use it until it expires. It reports whether
// there is another one.
func (w *Workspace) reject(ctx context.Context, resp *http.Response) bool {
	if resp.Request == nil {
		return false
	}
	token, found := strings.CutPrefix(resp.Request.Header.Get("Authorization"), "Bearer ")
	if !found {
		return false
	}
	sent := secret.New(token)
	next, err := w.identity.get(ctx, w.armToken, sent)
	return err == nil && !next.value.Equal(sent)
}
