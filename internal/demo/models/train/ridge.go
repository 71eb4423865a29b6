package train

import (
	"math"

	"amlproxy/internal/demo/models/trained"
)

// fitDiabetes solves (XᵀX + penalty·I)·w = Xᵀy on centred data. The penalty is
// small because the features are: each column's squares sum up to 1.
func fitDiabetes(d *dataset) []trained.Layer {
	const penalty = 0.05
	n := len(d.inputs)
	means, columns := make([]float64, n), make([][]float64, n)
	for j := range n {
		columns[j] = d.column(j)
		means[j] = mean(columns[j])
		for i := range columns[j] {
			columns[j][i] -= means[j]
		}
	}
	a, b := make([][]float64, n), make([]float64, n)
	for j := range n {
		a[j] = make([]float64, n)
		for k := range n {
			a[j][k] = trained.Dot(columns[j], columns[k])
		}
		a[j][j] += penalty
		b[j] = trained.Dot(columns[j], d.targets)
	}
	w := solve(a, b)
	bias := mean(d.targets) - trained.Dot(w, means)
	return []trained.Layer{{Bias: trained.Vector{bias}, Weights: []trained.Vector{w}}}
}

// solve returns x with a·x = b, for a symmetric and positive definite, by
// Cholesky's decomposition: a = l·lᵀ, then forwards and backwards. It
// overwrites a.
func solve(a [][]float64, b []float64) []float64 {
	n := len(b)
	for j := range n {
		a[j][j] = math.Sqrt(a[j][j] - trained.Dot(a[j][:j], a[j][:j]))
		for i := j + 1; i < n; i++ {
			a[i][j] = (a[i][j] - trained.Dot(a[i][:j], a[j][:j])) / a[j][j]
		}
	}
	x := make([]float64, n)
	for i := range n {
		x[i] = (b[i] - trained.Dot(a[i][:i], x[:i])) / a[i][i]
	}
	for i := n - 1; i >= 0; i-- {
		for k := i + 1; k < n; k++ {
			x[i] -= float64(a[k][i] * x[k])
		}
		x[i] /= a[i][i]
	}
	return x
}
