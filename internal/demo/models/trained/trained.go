package trained

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Model is a trained network and its papers.
type Model struct {
	Name       string     `json:"name"`
	Provenance Provenance `json:"provenance"`
	Quality    Quality    `json:"quality"`
	// Inputs names the features in the order in which a row holds them.
	Inputs []string `json:"inputs"`
	// Labels names the classes, one an output. Empty: the single output is a
	// number (regression).
	Labels []string `json:"labels,omitempty"`
	Sample Sample   `json:"sample"`
	// Layers are applied in order, with max(0, x) between them.
	Layers []Layer `json:"layers"`
}

// Provenance says where the weights came from, so that anybody can make them
// again and get the same bytes. It holds no date on purpose.
type Provenance struct {
	Package string `json:"package"`
	Version string `json:"version"`
	License string `json:"license"`
	Source  string `json:"source"`
	// Files are the data files and the SHA-256 of their uncompressed content.
	Files   map[string]string `json:"files"`
	Command string            `json:"command"`
	Method  string            `json:"method"`
	Seed    uint64            `json:"seed"`
	// TrainedRows and HeldOutRows are disjoint and together all there are.
	TrainedRows int `json:"trained_rows"`
	HeldOutRows int `json:"held_out_rows"`
}

// Quality is what was measured on the held-out rows, with the weights as they
// are written: "accuracy" (the share of right labels) or "r2" (the coefficient
// of determination).
type Quality struct {
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
}

// Sample is one held-out row and what the model says about it; a classifier is
// right about it.
type Sample struct {
	Row    Vector `json:"row"`
	Output string `json:"output"`
}

// Layer is a dense layer: one bias and one row of weights an output.
type Layer struct {
	Bias    Vector   `json:"bias"`
	Weights []Vector `json:"weights"`
}

// ErrRow is returned for a row that the model cannot score: of another width,
// or with numbers so large that the sums overflow.
var ErrRow = errors.New("row cannot be scored")

// Parse reads what [Model.Encode] wrote and refuses a file whose parts do not
// fit together.
func Parse(file []byte) (*Model, error) {
	dec := json.NewDecoder(bytes.NewReader(file))
	dec.DisallowUnknownFields()
	var m Model
	if err := dec.Decode(&m); err != nil {
		return nil, fmt.Errorf("reading a trained model: %w", err)
	}
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("trained model %q: %w", m.Name, err)
	}
	return &m, nil
}

// Encode is the inverse of [Parse]: indented, one line of numbers a row, and
// the same bytes for the same model.
func (m *Model) Encode() ([]byte, error) {
	if err := m.check(); err != nil {
		return nil, fmt.Errorf("trained model %q: %w", m.Name, err)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", " ")
	enc.SetEscapeHTML(false) // people read it; no browser does
	if err := enc.Encode(m); err != nil {
		return nil, fmt.Errorf("encoding trained model %q: %w", m.Name, err)
	}
	return b.Bytes(), nil
}

// Outputs is how many numbers [Model.Scores] returns.
func (m *Model) Outputs() int { return max(1, len(m.Labels)) }

func (m *Model) check() error {
	width := len(m.Inputs)
	if width == 0 || len(m.Layers) == 0 {
		return errors.New("no inputs or no layers")
	}
	if len(m.Sample.Row) != width {
		return fmt.Errorf("the sample has %d values, not %d", len(m.Sample.Row), width)
	}
	for i, l := range m.Layers {
		if len(l.Weights) != len(l.Bias) {
			return fmt.Errorf("layer %d: %d rows of weights and %d biases", i, len(l.Weights), len(l.Bias))
		}
		for j, w := range l.Weights {
			if len(w) != width {
				return fmt.Errorf("layer %d, row %d: %d weights, not %d", i, j, len(w), width)
			}
		}
		width = len(l.Bias)
	}
	if width != m.Outputs() {
		return fmt.Errorf("the last layer has %d outputs, not %d", width, m.Outputs())
	}
	return nil
}
