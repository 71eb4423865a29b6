package models

import (
	"embed"
	"errors"
	"fmt"
	"math"

	"amlproxy/internal/demo/models/trained"
)

//go:embed weights/*.json
var weights embed.FS

// ErrInput is returned for input that the model cannot score; the error's text
// says why, for the one who sent it.
var ErrInput = errors.New("bad input")

// MaxRows is how many rows one request may hold.
const MaxRows = 1000

// Model scores rows of numbers. It is an http.Handler, does not change after
// it was made, and may be used by many goroutines.
type Model struct {
	title, description string
	net                *trained.Model
	sample, expected   []byte
	swagger            []byte
}

// All returns the three models: diabetes, digits and iris. Like the functions
// for each of them it fails only if the binary was built with broken weights.
func All() ([]*Model, error) {
	var all []*Model
	for _, one := range []func() (*Model, error){Diabetes, Digits, Iris} {
		m, err := one()
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// Diabetes returns the regression: how far the disease has got in a year.
func Diabetes() (*Model, error) {
	return load("diabetes", "Diabetes progression",
		"Predicts how far diabetes has progressed one year after the measurements, on a scale from 25 to 346. "+
			"Takes ten features as scikit-learn's load_diabetes returns them, centred and scaled.")
}

// Digits returns the classifier of handwritten digits.
func Digits() (*Model, error) {
	return load("digits", "Handwritten digits",
		"Says which digit an image shows. Takes the 64 pixels of 8 rows of 8, each from 0 (white) to 16 (black).")
}

// Iris returns the classifier of flowers.
func Iris() (*Model, error) {
	return load("iris", "Iris species",
		"Says whether an iris is setosa, versicolor or virginica. Takes the length and width of sepal and petal, in centimetres.")
}

func load(name, title, description string) (*Model, error) {
	file, err := weights.ReadFile("weights/" + name + ".json")
	if err != nil {
		return nil, fmt.Errorf("reading the weights of %s: %w", name, err)
	}
	m := &Model{title: title, description: description}
	if m.net, err = trained.Parse(file); err != nil {
		return nil, err
	}
	if m.sample, m.expected, err = m.example(); err != nil {
		return nil, err
	}
	if m.swagger, err = m.describe(); err != nil {
		return nil, err
	}
	return m, nil
}

// Name is one lower-case word, fit for a path.
func (m *Model) Name() string { return m.net.Name }

// Title is what a person calls it.
func (m *Model) Title() string { return m.title }

// Description says in two sentences what the model does and what it takes.
func (m *Model) Description() string { return m.description }

// Swagger is the answer to GET swagger.json: OpenAPI 2.0, as the inference
// server generates it, with the sample as the example of the input. The caller
// must not change it.
func (m *Model) Swagger() []byte { return m.swagger }

// Sample is a request body that works: one held-out row. The caller must not
// change it.
func (m *Model) Sample() []byte { return m.sample }

// Expected is the answer to [Model.Sample], without the line end; of the
// classifiers it is also the truth. The caller must not change it.
func (m *Model) Expected() []byte { return m.expected }

// Quality is what was measured on rows that took no part in the training:
// "accuracy" or "r2", and its value.
func (m *Model) Quality() (metric string, value float64) {
	return m.net.Quality.Metric, m.net.Quality.Value
}

// Predict scores the rows: a float64 each for a regression, rounded to one
// decimal, an int for digits, a string for iris. Its errors wrap [ErrInput].
func (m *Model) Predict(rows [][]float64) ([]any, error) {
	if len(rows) == 0 {
		return nil, fmt.Errorf("%w: data has no rows", ErrInput)
	}
	if len(rows) > MaxRows {
		return nil, fmt.Errorf("%w: data has %d rows, and at most %d are taken", ErrInput, len(rows), MaxRows)
	}
	results := make([]any, len(rows))
	for i, row := range rows {
		scores, err := m.net.Scores(row)
		if err != nil {
			return nil, fmt.Errorf("%w: row %d: %w", ErrInput, i+1, err)
		}
		results[i] = m.result(scores)
	}
	return results, nil
}

func (m *Model) result(scores []float64) any {
	if len(m.net.Labels) == 0 {
		// The model is off by about 50; more decimals would only pretend.
		return math.Round(float64(scores[0]*10)) / 10
	}
	return m.label(trained.Class(scores))
}
