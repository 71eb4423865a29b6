package trained_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"amlproxy/internal/demo/models/trained"
)

// xor is a network small enough to check by hand: 1 if exactly one input is 1.
func xor() *trained.Model {
	return &trained.Model{
		Name: "xor", Inputs: []string{"a", "b"},
		Sample: trained.Sample{Row: trained.Vector{1, 0}, Output: "1"},
		Layers: []trained.Layer{
			{Bias: trained.Vector{0, -1}, Weights: []trained.Vector{{1, 1}, {1, 1}}},
			{Bias: trained.Vector{0}, Weights: []trained.Vector{{1, -2}}},
		},
	}
}

func TestScoresGoThroughAllLayers(t *testing.T) {
	m := xor()
	for row, want := range map[[2]float64]float64{{0, 0}: 0, {0, 1}: 1, {1, 0}: 1, {1, 1}: 0, {-3, 1}: 0} {
		got, err := m.Scores(row[:])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]float64{want}, got); diff != "" {
			t.Errorf("%v: %s", row, diff)
		}
	}
}

func TestRowsThatCannotBeScored(t *testing.T) {
	m := xor()
	for _, row := range [][]float64{
		nil,
		{1},
		{1, 2, 3},
		{math.NaN(), 0},
		{math.Inf(1), 0},
		{math.MaxFloat64, math.MaxFloat64},
	} {
		if got, err := m.Scores(row); !errors.Is(err, trained.ErrRow) {
			t.Errorf("%v: %v, %v", row, got, err)
		}
	}
}

func TestEncodeAndParseAreInverse(t *testing.T) {
	file, err := xor().Encode()
	if err != nil {
		t.Fatal(err)
	}
	m, err := trained.Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(xor(), m); diff != "" {
		t.Error(diff)
	}
}

func TestFilesWhosePartsDoNotFitAreRefused(t *testing.T) {
	for reason, change := range map[string]func(*trained.Model){
		"no inputs or no layers":            func(m *trained.Model) { m.Inputs = nil },
		"the sample has 1 values, not 2":    func(m *trained.Model) { m.Sample.Row = m.Sample.Row[:1] },
		"1 rows of weights and 2 biases":    func(m *trained.Model) { m.Layers[0].Weights = m.Layers[0].Weights[:1] },
		"layer 0, row 1: 3 weights, not 2":  func(m *trained.Model) { m.Layers[0].Weights[1] = trained.Vector{1, 2, 3} },
		"the last layer has 1 outputs, not": func(m *trained.Model) { m.Labels = []string{"no", "yes"} },
	} {
		m := xor()
		change(m)
		if _, err := m.Encode(); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("Encode: %v does not say %q", err, reason)
		}
	}
	for _, file := range []string{``, `{}`, `[]`, `{"inputs": ["a"], "colour": 1}`, `{"sample": {"row": "1 NaN"}}`, `{"sample": {"row": "1e999"}}`} {
		if m, err := trained.Parse([]byte(file)); err == nil {
			t.Errorf("%s was taken as %v", file, m)
		}
	}
}

func TestRoundedKeepsSignificantDigits(t *testing.T) {
	got := trained.Vector{123456.7, 0.000123456, -2.5, 0}.Rounded(3)
	if diff := cmp.Diff(trained.Vector{123000, 0.000123, -2.5, 0}, got); diff != "" {
		t.Error(diff)
	}
}

func TestClassIsTheFirstOfEquals(t *testing.T) {
	if got := trained.Class([]float64{-1, 2, 2}); got != 1 {
		t.Error(got)
	}
}

// The committed files are small, and say where they came from.
func TestCommittedWeightsHavePapers(t *testing.T) {
	paths, err := filepath.Glob("../weights/*.json")
	if err != nil || len(paths) != 3 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		file, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m, err := trained.Parse(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(file) > 60_000 {
			t.Errorf("%s has %d bytes", path, len(file))
		}
		p := m.Provenance
		if p.Package == "" || p.Version == "" || p.License == "" || p.Source == "" || len(p.Files) == 0 ||
			p.Command == "" || p.Method == "" || p.Seed == 0 || p.TrainedRows == 0 || p.HeldOutRows == 0 {
			t.Errorf("%s: incomplete provenance: %+v", path, p)
		}
		if m.Name+".json" != filepath.Base(path) {
			t.Errorf("%s is of %q", path, m.Name)
		}
	}
}

// FuzzParse: what Parse takes can be scored without a panic, and survives being
// written and read again.
func FuzzParse(f *testing.F) {
	file, err := xor().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Add([]byte(`{"inputs": ["a"], "labels": ["x", "y"], "sample": {"row": "1"}, "layers": [{"bias": "1 2", "weights": ["1", "2"]}]}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := trained.Parse(file)
		if err != nil {
			return
		}
		if scores, err := m.Scores(m.Sample.Row); err == nil && len(scores) != m.Outputs() {
			t.Errorf("%d scores, not %d", len(scores), m.Outputs())
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := trained.Parse(again); err != nil {
			t.Errorf("%v in\n%s", err, again)
		}
	})
}

func ExampleModel_Scores() {
	m := &trained.Model{
		Inputs: []string{"celsius"},
		Layers: []trained.Layer{{Bias: trained.Vector{32}, Weights: []trained.Vector{{1.8}}}},
	}
	fmt.Println(m.Scores([]float64{100}))
	// Output: [212] <nil>
}
