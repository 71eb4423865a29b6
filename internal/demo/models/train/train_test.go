package train_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"amlproxy/internal/demo/models/train"
	"amlproxy/internal/demo/models/trained"
)

// What is committed is what training makes of the data: nobody has to believe
// the weights.
func TestTrainingAgainGivesTheCommittedFiles(t *testing.T) {
	files, err := train.Files(train.DataDir(t))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"testdata/diabetes.csv", "testdata/digits.csv", "testdata/iris.csv",
		"weights/diabetes.json", "weights/digits.json", "weights/iris.json",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(files))); diff != "" {
		t.Fatal(diff)
	}
	for name, content := range files {
		committed, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(withoutVersion(string(committed)), withoutVersion(string(content))); diff != "" {
			t.Errorf("%s: committed and trained again differ:\n%.2000s", name, diff)
		}
	}
}

// withoutVersion leaves out which release of the package the data came from:
// the sums of the data say whether they are the same, and Debian's releases
// have the same data under several versions.
func withoutVersion(file string) string {
	before, after, found := strings.Cut(file, `"version": "`)
	if !found {
		return file
	}
	_, after, _ = strings.Cut(after, `"`)
	return before + after
}

// The facts are those of scikit-learn's own documentation: "the sum of squares
// of each column totals 1", and the first row that load_diabetes returns.
func TestDiabetesIsScaledAsScikitLearnDoes(t *testing.T) {
	rows := train.Scaled(t)
	if len(rows) != 442 {
		t.Fatalf("%d rows", len(rows))
	}
	for j := range rows[0] {
		var sum, squares float64
		for _, row := range rows {
			sum += row[j]
			squares += row[j] * row[j]
		}
		if math.Abs(sum) > 1e-9 || math.Abs(squares-1) > 1e-9 {
			t.Errorf("column %d: sum %v, sum of squares %v", j, sum, squares)
		}
	}
	documented := []float64{
		0.03807591, 0.05068012, 0.06169621, 0.02187239, -0.0442235,
		-0.03482076, -0.04340085, -0.00259226, 0.01990749, -0.01764613,
	}
	for j, want := range documented {
		if math.Abs(rows[0][j]-want) > 1e-8 {
			t.Errorf("value %d of the first row is %v, documented as %v", j, rows[0][j], want)
		}
	}
}

// Ridge regression stands on this: a·x must be b again.
func TestSolverSolves(t *testing.T) {
	a := [][]float64{{4, 1, 0.5}, {1, 3, -1}, {0.5, -1, 5}}
	want := []float64{1, -2, 0.25}
	b := make([]float64, len(a))
	for i, row := range a {
		b[i] = trained.Dot(row, want)
	}
	got := train.Solve(a, b)
	for i := range want {
		if math.Abs(got[i]-want[i]) > 1e-12 {
			t.Errorf("x[%d] = %v, want %v", i, got[i], want[i])
		}
	}
}

func TestBrokenDataAreRefusedByFileAndLine(t *testing.T) {
	row := strings.Repeat("1 ", 9) + "1\n"
	for name, c := range map[string]struct {
		features, targets []byte
		want              string
	}{
		"missing":        {nil, nil, "reading diabetes_data_raw.csv.gz"},
		"not compressed": {[]byte(row), nil, "gzip"},
		"cut off":        {zipped(t, row)[:20], nil, "unexpected EOF"},
		"too large":      {zipped(t, strings.Repeat(row, 1<<18)), nil, "more than"},
		"short row":      {zipped(t, row+"1 2 3\n"), nil, "line 2: 3 values, not 10"},
		"not a number":   {zipped(t, strings.Replace(row, "1", "x", 1)), nil, "line 1: value 1"},
		"other length":   {zipped(t, row), zipped(t, "1\n2\n"), "1 rows and 2 targets"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "diabetes_data_raw.csv.gz"), c.features)
			write(t, filepath.Join(dir, "diabetes_target.csv.gz"), c.targets)
			if _, err := train.Files(dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v does not say %q", err, c.want)
			}
		})
	}
}

// write makes no file for nil content.
func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if content == nil {
		return
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func zipped(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
