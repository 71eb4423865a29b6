package train

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxFile bounds what a data file may unpack to; the largest has 260 kB.
const maxFile = 4 << 20

// packageVersion reads what scripts/sklearn-data noted beside the data.
func packageVersion(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, "VERSION"))
	if err != nil {
		return "", fmt.Errorf("reading which package the data are from: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// loadDiabetes reads the features, which newer versions of scikit-learn ship
// as they were measured, and scales them as load_diabetes does.
func loadDiabetes(dir string) (*dataset, error) {
	d := &dataset{
		inputs: []string{"age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"},
		sums:   map[string]string{},
	}
	if err := d.read(dir, "diabetes_data_raw.csv.gz", " "); err != nil {
		return nil, err
	}
	target := &dataset{inputs: []string{"target"}, sums: d.sums}
	if err := target.read(dir, "diabetes_target.csv.gz", " "); err != nil {
		return nil, err
	}
	if len(target.rows) != len(d.rows) {
		return nil, fmt.Errorf("%d rows and %d targets", len(d.rows), len(target.rows))
	}
	d.targets = target.column(0)
	d.scale()
	return d, nil
}

func loadDigits(dir string) (*dataset, error) {
	d := &dataset{sums: map[string]string{}}
	for i := range 65 {
		d.inputs = append(d.inputs, fmt.Sprintf("pixel_%d_%d", i/8, i%8))
	}
	for i := range 10 {
		d.labels = append(d.labels, strconv.Itoa(i))
	}
	if err := d.read(dir, "digits.csv.gz", ","); err != nil {
		return nil, err
	}
	return d, d.splitTarget()
}

func loadIris(dir string) (*dataset, error) {
	d := &dataset{
		inputs: []string{"sepal_length_cm", "sepal_width_cm", "petal_length_cm", "petal_width_cm", "class"},
		labels: []string{"setosa", "versicolor", "virginica"},
		sums:   map[string]string{},
	}
	if err := d.read(dir, "iris.csv", ","); err != nil {
		return nil, err
	}
	return d, d.splitTarget()
}

// read appends the rows of one file. A first line that names the classes
// (iris) is not a row.
func (d *dataset) read(dir, name, comma string) error {
	content, err := unpacked(filepath.Join(dir, name))
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	sum := sha256.Sum256(content)
	d.sums[name] = hex.EncodeToString(sum[:])
	for i, line := range strings.Split(strings.TrimSpace(string(content)), "\n") {
		if i == 0 && strings.Contains(line, "setosa") {
			continue
		}
		if err := d.readRow(strings.Split(line, comma)); err != nil {
			return fmt.Errorf("reading %s: line %d: %w", name, i+1, err)
		}
	}
	return nil
}

func (d *dataset) readRow(fields []string) error {
	if len(fields) != len(d.inputs) {
		return fmt.Errorf("%d values, not %d", len(fields), len(d.inputs))
	}
	row := make([]float64, len(fields))
	for j, f := range fields {
		var err error
		if row[j], err = strconv.ParseFloat(f, 64); err != nil {
			return fmt.Errorf("value %d: %w", j+1, err)
		}
	}
	d.rows = append(d.rows, row)
	return nil
}

// splitTarget takes the last column off the features and makes it the target.
func (d *dataset) splitTarget() error {
	last := len(d.inputs) - 1
	d.targets = d.column(last)
	d.inputs = d.inputs[:last]
	for i, row := range d.rows {
		d.rows[i] = row[:last:last]
		if c := d.class(i); c < 0 || c >= len(d.labels) {
			return fmt.Errorf("row %d: no class %d", i+1, c)
		}
	}
	return nil
}

// unpacked reads a file; one that ends in .gz, its uncompressed content.
func unpacked(path string) (content []byte, err error) {
	raw, err := os.ReadFile(path)
	if err != nil || !strings.HasSuffix(path, ".gz") {
		return raw, err
	}
	zr, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, zr.Close()) }()
	content, err = io.ReadAll(io.LimitReader(zr, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("more than %d bytes", maxFile)
	}
	return content, err
}
