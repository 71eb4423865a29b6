package train

import (
	"fmt"
	"strconv"

	"amlproxy/internal/demo/models/trained"
)

// seed is the one source of chance.
const seed = 1

// Written precision: enough that rounding costs no accuracy, few enough that
// the files stay small.
const weightDigits = 5

// A recipe says how one model is made of one data set.
type recipe struct {
	name    string
	load    func(dir string) (*dataset, error)
	method  string
	source  string
	quality string
	fit     func(train *dataset) []trained.Layer
}

func recipes() []recipe {
	return []recipe{
		{
			name: "diabetes", load: loadDiabetes, fit: fitDiabetes, quality: "r2",
			method: "ridge regression on the scaled features, penalty 0.05",
			source: "Efron, Hastie, Johnstone, Tibshirani: Least Angle Regression (2004)",
		},
		{
			name: "digits", load: loadDigits, fit: fitDigits, quality: "accuracy",
			method: "one hidden layer of 48 rectified units, one-vs-rest squared hinge loss, Adam, images nudged by a pixel",
			source: "Alpaydin, Kaynak: Optical Recognition of Handwritten Digits, UCI (1998), its test set",
		},
		{
			name: "iris", load: loadIris, fit: fitIris, quality: "accuracy",
			method: "one hidden layer of 8 rectified units, one-vs-rest squared hinge loss, Adam",
			source: "Fisher: The Use of Multiple Measurements in Taxonomic Problems (1936)",
		},
	}
}

// Files trains every model from the data in dir, a folder as
// scripts/sklearn-data makes it, and returns the content of each file, by its
// path below the models folder: the weights, and the rows that were held out.
func Files(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, r := range recipes() {
		if err := r.run(dir, files); err != nil {
			return nil, fmt.Errorf("training %s: %w", r.name, err)
		}
	}
	return files, nil
}

func (r recipe) run(dir string, files map[string][]byte) error {
	all, err := r.load(dir)
	if err != nil {
		return err
	}
	version, err := packageVersion(dir)
	if err != nil {
		return err
	}
	learn, held := all.split(newChance(seed))
	m := &trained.Model{
		Name: r.name,
		Provenance: trained.Provenance{
			Package: "python3-sklearn", Version: version, License: "BSD-3-Clause",
			Source: r.source, Files: all.sums,
			Command: "scripts/sklearn-data DIR && SKLEARN_DATA=DIR go generate ./internal/demo/models",
			Method:  r.method, Seed: seed,
			TrainedRows: len(learn.rows), HeldOutRows: len(held.rows),
		},
		Inputs: all.inputs, Labels: all.labels,
		Layers: rounded(r.fit(learn)),
	}
	if m.Quality, err = measure(m, held, r.quality); err != nil {
		return err
	}
	if m.Sample, err = sample(m, held); err != nil {
		return err
	}
	files["testdata/"+r.name+".csv"] = held.csv()
	files["weights/"+r.name+".json"], err = m.Encode()
	return err
}

func rounded(layers []trained.Layer) []trained.Layer {
	for i, l := range layers {
		layers[i].Bias = l.Bias.Rounded(weightDigits)
		for j, w := range l.Weights {
			l.Weights[j] = w.Rounded(weightDigits)
		}
	}
	return layers
}

// sample takes the first held-out row that the model is right about; of a
// regression, which is never quite right, simply the first.
func sample(m *trained.Model, held *dataset) (trained.Sample, error) {
	for i, row := range held.rows {
		scores, err := m.Scores(row)
		if err != nil {
			return trained.Sample{}, err
		}
		if len(m.Labels) == 0 {
			return trained.Sample{Row: row, Output: strconv.FormatFloat(scores[0], 'f', 1, 64)}, nil
		}
		if c := trained.Class(scores); c == held.class(i) {
			return trained.Sample{Row: row, Output: m.Labels[c]}, nil
		}
	}
	return trained.Sample{}, fmt.Errorf("the model is wrong about every held-out row")
}
