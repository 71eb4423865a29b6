package models_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"amlproxy/internal/demo/models"
)

func all(t testing.TB) []*models.Model {
	t.Helper()
	ms, err := models.All()
	if err != nil {
		t.Fatal(err)
	}
	return ms
}

// post sends a body over a real connection, as a scoring server would get it.
func post(t *testing.T, h http.Handler, body []byte) (int, string) {
	t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/score", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if ct := res.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("Content-Type %q", ct)
	}
	return res.StatusCode, string(got)
}

// heldOut reads the rows that took no part in the training, and the truth
// about each as the model would write it.
func heldOut(t *testing.T, name string) (rows [][]float64, truth []string) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range records[1:] {
		last := len(rec) - 1
		row := make([]float64, last)
		for j := range row {
			if row[j], err = strconv.ParseFloat(rec[j], 64); err != nil {
				t.Fatal(err)
			}
		}
		rows, truth = append(rows, row), append(truth, rec[last])
	}
	return rows, truth
}

// predictions asks the model about the rows, over HTTP.
func predictions(t *testing.T, m *models.Model, rows [][]float64) []string {
	t.Helper()
	body, err := json.Marshal(map[string]any{"data": rows})
	if err != nil {
		t.Fatal(err)
	}
	status, got := post(t, m, body)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, got)
	}
	var out struct{ Result []any }
	if err := json.Unmarshal([]byte(got), &out); err != nil {
		t.Fatal(err)
	}
	texts := make([]string, len(out.Result))
	for i, r := range out.Result {
		switch r := r.(type) {
		case string:
			texts[i] = r
		case float64:
			texts[i] = strconv.FormatFloat(r, 'f', -1, 64)
		default:
			t.Fatalf("result %d is %v", i, r)
		}
	}
	return texts
}

func TestHeldOutRowsArePredictedAsWellAsTheFilesSay(t *testing.T) {
	least := map[string]float64{"diabetes": 0.4, "digits": 0.95, "iris": 0.93}
	rowsOf := map[string]int{"diabetes": 89, "digits": 360, "iris": 30}
	for _, m := range all(t) {
		t.Run(m.Name(), func(t *testing.T) {
			rows, truth := heldOut(t, m.Name())
			if len(rows) != rowsOf[m.Name()] {
				t.Fatalf("%d rows were held out, not %d", len(rows), rowsOf[m.Name()])
			}
			got := predictions(t, m, rows)
			metric, want := m.Quality()
			value := share(got, truth)
			if metric == "r2" {
				value = determination(t, got, truth)
			}
			t.Logf("%s %.4f on %d held-out rows", metric, value, len(rows))
			// The answers are rounded to one decimal, the measured ones were not.
			if math.Abs(value-want) > 0.0005 {
				t.Errorf("%s %v, and the file says %v", metric, value, want)
			}
			if value < least[m.Name()] {
				t.Errorf("%s %v is less than %v", metric, value, least[m.Name()])
			}
		})
	}
}

func share(got, truth []string) float64 {
	right := 0
	for i := range got {
		if got[i] == truth[i] {
			right++
		}
	}
	return float64(right) / float64(len(truth))
}

func determination(t *testing.T, got, truth []string) float64 {
	t.Helper()
	var sum, squares, residual float64
	for i := range got {
		y, err1 := strconv.ParseFloat(truth[i], 64)
		p, err2 := strconv.ParseFloat(got[i], 64)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		sum, squares, residual = sum+y, squares+y*y, residual+(y-p)*(y-p)
	}
	return 1 - residual/(squares-sum*sum/float64(len(got)))
}

func TestSampleGetsTheExpectedAnswer(t *testing.T) {
	want := map[string]string{
		"diabetes": `{"result":[177.9]}`, "digits": `{"result":[8]}`, "iris": `{"result":["setosa"]}`,
	}
	for _, m := range all(t) {
		status, got := post(t, m, m.Sample())
		if status != http.StatusOK || got != string(m.Expected())+"\n" {
			t.Errorf("%s: %d %s, expected %s", m.Name(), status, got, m.Expected())
		}
		if string(m.Expected()) != want[m.Name()] {
			t.Errorf("%s: %s, and not %s", m.Name(), m.Expected(), want[m.Name()])
		}
	}
}

// A page that shows the sample's prediction should not show a mistake.
func TestSampleIsAHeldOutRowAndAClassifierIsRightAboutIt(t *testing.T) {
	for _, m := range all(t) {
		var in struct{ Data [][]float64 }
		if err := json.Unmarshal(m.Sample(), &in); err != nil {
			t.Fatal(err)
		}
		rows, truth := heldOut(t, m.Name())
		i := slices.IndexFunc(rows, func(row []float64) bool { return slices.Equal(row, in.Data[0]) })
		if i < 0 {
			t.Errorf("%s: the sample is none of the held-out rows", m.Name())
			continue
		}
		if metric, _ := m.Quality(); metric == "accuracy" {
			if got := predictions(t, m, in.Data); got[0] != truth[i] {
				t.Errorf("%s says %s about its sample, which is %s", m.Name(), got[0], truth[i])
			}
		}
	}
}

func TestInputMayBeWrappedInInputs(t *testing.T) {
	for _, m := range all(t) {
		status, got := post(t, m, []byte(`{"Inputs": `+string(m.Sample())+`, "GlobalParameters": 1.0}`))
		if status != http.StatusOK || got != string(m.Expected())+"\n" {
			t.Errorf("%s: %d %s", m.Name(), status, got)
		}
	}
}

func TestPredictAnswersOneResultARow(t *testing.T) {
	m, err := models.Iris()
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.Predict([][]float64{{5.1, 3.5, 1.4, 0.2}, {6.3, 3.3, 6, 2.5}, {5.7, 2.8, 4.1, 1.3}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{"setosa", "virginica", "versicolor"}, got); diff != "" {
		t.Error(diff)
	}
	for _, rows := range [][][]float64{nil, {{1, 2, 3}}, {{1, 2, 3, math.NaN()}}, make([][]float64, models.MaxRows+1)} {
		if _, err := m.Predict(rows); !errors.Is(err, models.ErrInput) {
			t.Errorf("%d rows: %v", len(rows), err)
		}
	}
}

// Whoever builds a page or a route of the models relies on these.
func TestModelsAreNamedAndDescribed(t *testing.T) {
	var names []string
	for _, m := range all(t) {
		names = append(names, m.Name())
		if m.Title() == "" || !strings.HasSuffix(m.Description(), ".") {
			t.Errorf("%s: title %q, description %q", m.Name(), m.Title(), m.Description())
		}
	}
	if diff := cmp.Diff([]string{"diabetes", "digits", "iris"}, names); diff != "" {
		t.Error(diff)
	}
}
