package app

import (
	"net/http"
	"runtime/debug"

	"amlproxy/authn"
	"amlproxy/internal/telemetry"
	"amlproxy/upstream/azureml"
)

// newMetrics returns metrics that know what calls there are.
func newMetrics(version string) (*telemetry.Metrics, error) {
	m, err := telemetry.NewMetrics()
	if err != nil {
		return nil, err
	}
	m.Build(versionOr(version))
	for _, call := range authn.Calls() {
		m.Provider.Expect(string(call))
	}
	for _, op := range azureml.Operations() {
		m.Workspace.Expect(string(op))
	}
	return m, nil
}

// versionOr returns version, or what Go knows about this program.
func versionOr(version string) string {
	if info, ok := debug.ReadBuildInfo(); ok && version == "" {
		version = info.Main.Version
	}
	if version == "" {
		return "(devel)"
	}
	return version
}

// provider is toProvider, with what goes through it counted.
func (a *App) provider() http.RoundTripper {
	return a.metrics.Provider.Through(a.toProvider, func(r *http.Request) string { return string(authn.CallOf(r.Context())) })
}

// azure is toAzure, with what goes through it counted.
func (a *App) azure() http.RoundTripper {
	return a.metrics.Workspace.Through(a.toAzure, func(r *http.Request) string { return string(azureml.OperationOf(r)) })
}
