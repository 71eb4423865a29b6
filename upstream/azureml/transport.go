package azureml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	armpolicy "github.com/Azure/azure-sdk-for-go/sdk/azcore/arm/policy"
	armruntime "github.com/Azure/azure-sdk-for-go/sdk/azcore/arm/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
)

const (
	callTimeout = 15 * time.Second // one call, its retry and its body included
	answerLimit = 1 << 20          // bytes of an answer, decompressed
	retryDelay  = 300 * time.Millisecond
	module      = "amlproxy"
	version     = "v1"
)

// A sender sends one request through a pipeline. It is a func, and not the
// pipeline, because whoever prints a struct cannot walk into it.
type sender func(*policy.Request) (*http.Response, error)

// clientOptions are what every pipeline has, those inside azidentity included.
// Bodies are never logged: IncludeBody stays off, and no error is made by
// azcore's NewResponseError, which logs them too.
func clientOptions(client *http.Client, place cloud.Configuration) policy.ClientOptions {
	base := client.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	return policy.ClientOptions{
		Cloud: place,
		Retry: policy.RetryOptions{MaxRetries: 1, RetryDelay: retryDelay, MaxRetryDelay: time.Second, ShouldRetry: shouldRetry},
		Transport: &http.Client{
			Transport:     bounded{base},
			Timeout:       callTimeout,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// shouldRetry allows the one retry that smooths over a lost connection. Who was
// told when to come back, or to slow down, comes back through the cache's own
// pause.
func shouldRetry(resp *http.Response, err error) bool {
	if err != nil {
		return true
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return resp.Header.Get("Retry-After") == ""
	}
	return false
}

// armSender sends with the identity's token for Azure Resource Manager, which
// the model management service takes too.
func armSender(identity azcore.TokenCredential, options policy.ClientOptions) (sender, error) {
	arm, err := baseURL(options.Cloud.Services[cloud.ResourceManager].Endpoint)
	if err != nil {
		return nil, err
	}
	// A token goes over plain http only where the setting itself says so.
	options.InsecureAllowCredentialWithHTTP = arm.Scheme == "http"
	pipeline, err := armruntime.NewPipeline(module, version, identity, runtime.PipelineOptions{}, &armpolicy.ClientOptions{
		ClientOptions:         options,
		DisableRPRegistration: true,
	})
	if err != nil {
		return nil, err
	}
	return pipeline.Do, nil
}

// plainSender sends without a token.
func plainSender(options policy.ClientOptions) sender {
	pipeline := runtime.NewPipeline(module, version, runtime.PipelineOptions{}, &options)
	return pipeline.Do
}

// bounded reads each answer whole, within the request's deadline, and refuses
// one that is larger than answerLimit. It sits below azcore and azidentity, so
// that neither can be made to read without end.
//
// It also sends each try a body of its own: after an answer that came before the
// body was read, net/http may still be reading it while azcore rewinds the one
// that all tries share.
type bounded struct{ base http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	r, err := withOwnBody(r)
	if err != nil {
		return nil, err
	}
	resp, err := b.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerLimit+1))
	if err != nil {
		return nil, fmt.Errorf("reading the body of a %d answer: %w", resp.StatusCode, err)
	}
	if len(body) > answerLimit {
		return nil, tooLargeError{resp.StatusCode}
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	return resp, nil
}

// withOwnBody returns r with a copy of its body, of which there is a form at most.
func withOwnBody(r *http.Request) (*http.Request, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return r, nil
	}
	body, err := io.ReadAll(r.Body)
	if err = errors.Join(err, r.Body.Close()); err != nil {
		return nil, fmt.Errorf("reading the body to send: %w", err)
	}
	r = r.Clone(r.Context())
	r.ContentLength = int64(len(body))
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	r.Body, err = r.GetBody()
	return r, err
}

// A tooLargeError is an answer beyond answerLimit.
type tooLargeError struct{ status int }

func (e tooLargeError) Error() string {
	return fmt.Sprintf("a %d answer larger than %d bytes", e.status, answerLimit)
}

// NonRetriable tells azcore that asking again is of no use.
func (tooLargeError) NonRetriable() {}
