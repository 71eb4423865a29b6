package models_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"amlproxy/internal/demo/models"
)

func TestBadInputIsRefusedWithAReason(t *testing.T) {
	m, err := models.Iris()
	if err != nil {
		t.Fatal(err)
	}
	for body, reason := range map[string]string{
		``:                                      "ends too early",
		`{"data": [[1,2`:                        "ends too early",
		`hello`:                                 "not JSON",
		`null`:                                  `expected {"data"`,
		`[]`:                                    "array at byte",
		`{}`:                                    `expected {"data"`,
		`{"data": null}`:                        `expected {"data"`,
		`{"data": 1}`:                           "number at byte",
		`{"data": []}`:                          "no rows",
		`{"data": [null]}`:                      "row 1: row cannot be scored: it has 0 values",
		`{"data": [1,2,3,4]}`:                   "number at byte",
		`{"data": [[1,2,3]]}`:                   "row 1: row cannot be scored: it has 3 values, and the model takes 4",
		`{"data": [[1,2,3,4],[]]}`:              "row 2: row cannot be scored: it has 0 values",
		`{"data": [[1,2,3,null]]}`:              "row 1: value 4 is null",
		`{"data": [[1,2,3,"4"]]}`:               "string at byte",
		`{"data": [[1,2,3,NaN]]}`:               "not JSON",
		`{"data": [[1,2,3,1e999]]}`:             "number 1e999 at byte",
		`{"data": [[1e308,1e308,1e308,1e308]]}`: "too large",
		`{"data": [[1,2,3,4]]} {}`:              "more after",
		`{"data": [[1,2,3,4]]}]`:                "more after",
		`{"data": [[1,2,3,4]], "Inputs": {"data": []}}`: "exclude each other",
		`{"Inputs": {"Inputs": {"data": [[1,2,3,4]]}}}`: "exclude each other",
		`{"Inputs": {}}`:                                 `expected {"data"`,
		strings.Repeat(`{"Inputs":`, 20000):              "not JSON",
		`{"data": [` + rowsOf(models.MaxRows+1) + `]}`:   "at most 1000",
		`{"data": [[1,2,3,4]]` + strings.Repeat("]", 99): "not JSON",
	} {
		status, got := post(t, m, []byte(body))
		var refusal struct{ Message string }
		if err := json.Unmarshal([]byte(got), &refusal); err != nil {
			t.Errorf("%.40q: the answer is not JSON: %s", body, got)
		}
		if status != http.StatusBadRequest || !strings.Contains(refusal.Message, reason) {
			t.Errorf("%.40q: %d %q does not say %q", body, status, refusal.Message, reason)
		}
	}
}

// rowsOf is so many rows of iris.
func rowsOf(n int) string {
	return strings.Repeat("[1,2,3,4],", n-1) + "[1,2,3,4]"
}

func TestAsManyRowsAsAllowedAreScored(t *testing.T) {
	m, err := models.Iris()
	if err != nil {
		t.Fatal(err)
	}
	status, got := post(t, m, []byte(`{"data": [`+rowsOf(models.MaxRows)+`]}`))
	if n := strings.Count(got, ",") + 1; status != http.StatusOK || n != models.MaxRows {
		t.Errorf("%d with %d results", status, n)
	}
}

func TestBodyOverTheLimitIs413(t *testing.T) {
	for _, m := range all(t) {
		status, got := post(t, m, bytes.Repeat([]byte(" "), models.MaxBody+1))
		if status != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d %s", m.Name(), status, got)
		}
	}
}

func TestMethodsOtherThanPostAreRefused(t *testing.T) {
	m, err := models.Digits()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ method, path, allow string }{
		{http.MethodGet, "/score", "POST"},
		{http.MethodPut, "/api/v1/service/digits/score", "POST"},
		{http.MethodDelete, "/", "POST"},
		{http.MethodOptions, "/score", "POST"},
		{"BREW", "/score", "POST"},
		{http.MethodPost, "/swagger.json", "GET, HEAD"},
	} {
		w := httptest.NewRecorder()
		m.ServeHTTP(w, httptest.NewRequest(c.method, c.path, strings.NewReader(string(m.Sample()))))
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, Allow %q", c.method, c.path, w.Code, w.Header().Get("Allow"))
		}
	}
}

// A page takes its sample from here; so the example must be one that works.
func TestSwaggerDescribesTheModelWithAnExampleThatWorks(t *testing.T) {
	for _, m := range all(t) {
		w := httptest.NewRecorder()
		m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/service/x/swagger.json?version=2", nil))
		var doc struct {
			Swagger     string
			Info        struct{ Title, Description string }
			Paths       map[string]map[string]struct{ OperationID string }
			Definitions map[string]struct{ Example json.RawMessage }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(w.Body.Bytes(), m.Swagger()) || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: served %q %.60s", m.Name(), w.Header().Get("Content-Type"), w.Body)
		}
		if doc.Swagger != "2.0" || doc.Info.Title != m.Name() || doc.Paths["/score"]["post"].OperationID != "RunMLService" {
			t.Errorf("%s: %+v", m.Name(), doc)
		}
		if !strings.Contains(doc.Info.Description, "took no part in the training") {
			t.Errorf("%s does not say how good it is: %s", m.Name(), doc.Info.Description)
		}
		status, got := post(t, m, doc.Definitions["ServiceInput"].Example)
		if want := compact(t, doc.Definitions["ServiceOutput"].Example); status != http.StatusOK || got != want+"\n" {
			t.Errorf("%s: its example gets %d %s, expected %s", m.Name(), status, got, want)
		}
	}
}

func compact(t *testing.T, b []byte) string {
	t.Helper()
	var out bytes.Buffer
	if err := json.Compact(&out, b); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// FuzzScore sends any bytes to every model: the answer is always JSON, either
// one result for each row or a reason, and never an error of ours.
func FuzzScore(f *testing.F) {
	ms := all(f)
	for _, m := range ms {
		f.Add(m.Sample())
	}
	f.Add([]byte(`{"Inputs":{"data":[[1e308,-1e308,1e308,0]]}}`))
	f.Add([]byte(`{"data":[[null]],"data":[[1,2,3,4]]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, m := range ms {
			w := httptest.NewRecorder()
			m.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/score", bytes.NewReader(body)))
			var out struct {
				Result  []any
				Message string
			}
			if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
				t.Fatalf("%s: %v: %s", m.Name(), err, w.Body)
			}
			switch {
			case w.Code == http.StatusOK && len(out.Result) > 0 && out.Message == "":
				if got := bytes.Count(body, []byte("[")); got < len(out.Result)+1 {
					t.Errorf("%s: %d results for %d lists", m.Name(), len(out.Result), got)
				}
			case w.Code == http.StatusBadRequest && out.Message != "" && out.Result == nil:
			default:
				t.Errorf("%s: %d %s", m.Name(), w.Code, w.Body)
			}
		}
	})
}

func ExampleIris() {
	m, err := models.Iris()
	if err != nil {
		fmt.Println(err)
		return
	}
	w := httptest.NewRecorder()
	body := strings.NewReader(`{"data": [[5.1, 3.5, 1.4, 0.2]]}`)
	m.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/score", body))
	fmt.Print(w.Code, " ", w.Body)
	// Output: 200 {"result":["setosa"]}
}
