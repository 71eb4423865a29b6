package trained

import (
	"fmt"
	"math"
)

// Scores runs the network on one row: one number for a regression, one a class
// for a classifier. Its errors wrap [ErrRow].
func (m *Model) Scores(row []float64) ([]float64, error) {
	if len(row) != len(m.Inputs) {
		return nil, fmt.Errorf("%w: it has %d values, and the model takes %d", ErrRow, len(row), len(m.Inputs))
	}
	x := row
	for i, l := range m.Layers {
		if i > 0 {
			x = rectified(x)
		}
		x = l.apply(x)
	}
	for _, y := range x {
		if math.IsNaN(y) || math.IsInf(y, 0) {
			return nil, fmt.Errorf("%w: its numbers are too large", ErrRow)
		}
	}
	return x, nil
}

// Class is the index of the largest score: the first one among equals.
func Class(scores []float64) int {
	best := 0
	for i, s := range scores {
		if s > scores[best] {
			best = i
		}
	}
	return best
}

// Dot is the sum of the products, never fused (see the package comment).
func Dot(a, b []float64) float64 {
	var sum float64
	for i, x := range a {
		sum += float64(x * b[i])
	}
	return sum
}

func (l Layer) apply(x []float64) []float64 {
	y := make([]float64, len(l.Bias))
	for j, w := range l.Weights {
		y[j] = l.Bias[j] + Dot(w, x)
	}
	return y
}

func rectified(x []float64) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		// max keeps a NaN; `if v > 0` would turn it into 0 and hide an overflow.
		y[i] = max(0, v)
	}
	return y
}
