package azureml_test

import (
	"strings"
	"sync"
	"testing"

	"amlproxy/upstream"
	"amlproxy/upstream/azureml"
	"amlproxy/upstream/azuremltest"
)

func TestAnEndpointInAnotherRegionIsSaidOnce(t *testing.T) {
	a := startAzure(t, azuremltest.Options{Location: "westeurope"})
	for name, location := range map[string]string{"near": "West Europe", "same": "", "far": "Australia East", "further": "japaneast"} {
		must(a.AddService(azuremltest.Service{Name: name, Compute: azuremltest.AKS, Model: model, Location: location}))(t)
	}
	must(a.AddEndpoint(azuremltest.Endpoint{Name: "v2", Model: model, Location: "eastus"}))(t)
	var mu sync.Mutex
	var said []string
	cfg := config(t, a)
	cfg.Notice = func(message string) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, message)
	}
	w := open(t, cfg)
	var all sync.WaitGroup
	for _, s := range []upstream.Source{
		w.Service("near", azureml.Auto), w.Service("same", azureml.Auto), w.Service("far", azureml.Auto), w.Service("further", azureml.Auto),
	} {
		for range 5 {
			all.Go(func() {
				if _, err := s.Fetch(t.Context(), nil); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	v2 := w.Endpoint("v2", "", azureml.Auto)
	fetch(t, v2, nil)
	fetch(t, v2, nil)
	mu.Lock()
	defer mu.Unlock()
	text := strings.Join(said, "\n")
	if len(said) != 3 {
		t.Errorf("said:\n%s", text)
	}
	for _, part := range []string{
		"service far is in Australia East and its workspace in westeurope", "service further is in japaneast", "endpoint v2 is in eastus", "only while westeurope is up",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in:\n%s", part, text)
		}
	}
}

func TestNobodyNeedsToHearAboutRegions(t *testing.T) {
	a := startAzure(t, azuremltest.Options{})
	must(a.AddService(azuremltest.Service{Name: "far", Compute: azuremltest.AKS, Model: model, Location: "japaneast"}))(t)
	fetch(t, open(t, config(t, a)).Service("far", azureml.Auto), nil)
}
