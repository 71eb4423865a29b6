package train

import (
	"os"
	"path/filepath"
	"testing"
)

// DataDir is the folder with scikit-learn's data. SKLEARN_DATA names
// it; otherwise it is where `make deps` puts it. It must be there: no test that
// needs the data is left out.
func DataDir(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("SKLEARN_DATA")
	if dir != "" {
		return dir
	}
	dir = filepath.Join("..", "..", "..", "..", ".cache", "sklearn-data")
	if _, err := os.Stat(filepath.Join(dir, "VERSION")); err != nil {
		t.Fatal("scikit-learn's data are not here: make deps fetches them")
	}
	return dir
}

// Scaled returns the rows of the diabetes data as training sees them.
func Scaled(t *testing.T) [][]float64 {
	t.Helper()
	d, err := loadDiabetes(DataDir(t))
	if err != nil {
		t.Fatal(err)
	}
	rows := make([][]float64, len(d.rows))
	for i, row := range d.rows {
		rows[i] = row
	}
	return rows
}

// Solve is the solver behind the ridge regression.
var Solve = solve
