package train

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	"amlproxy/internal/demo/models/trained"
)

// A dataset is a table: one row of features and one target a case. The target
// of a classification is the index of its label.
type dataset struct {
	inputs  []string
	labels  []string
	rows    []trained.Vector
	targets []float64
	sums    map[string]string // SHA-256 by file
}

func (d *dataset) class(i int) int { return int(d.targets[i]) }

// split holds back one row of every five. The rows are first sorted by their
// target (stratified): a few hundred rows drawn blindly would be easier or
// harder than the rest by chance.
func (d *dataset) split(c *chance) (learn, held *dataset) {
	order := make([]int, len(d.rows))
	for i := range order {
		order[i] = i
	}
	c.shuffle(order)
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(d.targets[a], d.targets[b]) })
	var rest, back []int
	for group := range slices.Chunk(order, 5) {
		c.shuffle(group)
		back = append(back, group[0])
		rest = append(rest, group[1:]...)
	}
	c.shuffle(rest)
	c.shuffle(back)
	return d.pick(rest), d.pick(back)
}

func (d *dataset) pick(order []int) *dataset {
	out := &dataset{inputs: d.inputs, labels: d.labels}
	for _, i := range order {
		out.rows = append(out.rows, d.rows[i])
		out.targets = append(out.targets, d.targets[i])
	}
	return out
}

// csv writes the features and, last, the target of each row: a label, or a
// number.
func (d *dataset) csv() []byte {
	var b []byte
	for _, name := range d.inputs {
		b = append(append(b, name...), ',')
	}
	b = append(b, "target\n"...)
	for i, row := range d.rows {
		for _, x := range row {
			b = append(strconv.AppendFloat(b, x, 'g', -1, 64), ',')
		}
		if len(d.labels) > 0 {
			b = append(b, d.labels[d.class(i)]...)
		} else {
			b = strconv.AppendFloat(b, d.targets[i], 'g', -1, 64)
		}
		b = append(b, '\n')
	}
	return b
}

// column copies the values of one feature.
func (d *dataset) column(j int) []float64 {
	out := make([]float64, len(d.rows))
	for i, row := range d.rows {
		out[i] = row[j]
	}
	return out
}

// scale does to each feature what load_diabetes does: subtract the mean and
// divide by the standard deviation times the square root of the number of
// rows, so that the squares of each column sum up to 1. Ten significant digits
// are kept: more than anybody types, fewer than summing in another order
// changes.
func (d *dataset) scale() {
	for j := range d.inputs {
		col := d.column(j)
		m := mean(col)
		norm := math.Sqrt(squares(col, m))
		for i := range d.rows {
			d.rows[i][j] = (d.rows[i][j] - m) / norm
		}
	}
	for i, row := range d.rows {
		d.rows[i] = row.Rounded(10)
	}
}

// clone keeps a fit from changing the rows of its caller.
func (d *dataset) clone() *dataset {
	out := *d
	out.rows = make([]trained.Vector, len(d.rows))
	for i, row := range d.rows {
		out.rows[i] = slices.Clone(row)
	}
	return &out
}

func mean(xs []float64) float64 {
	var sum float64
	for _, x := range xs {
		sum += x
	}
	return sum / float64(len(xs))
}

// squares is the sum of the squared distances from m.
func squares(xs []float64, m float64) float64 {
	var sum float64
	for _, x := range xs {
		sum += square(x - m)
	}
	return sum
}

func square(x float64) float64 { return float64(x * x) }
