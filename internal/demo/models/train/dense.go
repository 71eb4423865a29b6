package train

import (
	"math"
	"slices"

	"amlproxy/internal/demo/models/trained"
)

// dense is one layer while it learns: its parameters, one slice a unit with
// the bias last, their gradients, and the two running means of Adam (Kingma
// and Ba, 2015).
type dense struct {
	in, out              int
	weight, grad, m1, m2 [][]float64
	decay1, decay2       float64 // beta1 and beta2 to the power of the step
}

// newDense draws the weights evenly, in the range that Glorot and Bengio (2010)
// give for a layer of this size.
func newDense(in, out int, c *chance) *dense {
	l := &dense{
		in: in, out: out, decay1: 1, decay2: 1,
		weight: matrix(out, in+1), grad: matrix(out, in+1), m1: matrix(out, in+1), m2: matrix(out, in+1),
	}
	limit := math.Sqrt(6 / float64(in+out))
	for _, w := range l.weight {
		for j := range in {
			w[j] = limit * (float64(2*c.unit()) - 1)
		}
	}
	return l
}

func matrix(rows, columns int) [][]float64 {
	m := make([][]float64, rows)
	for i := range m {
		m[i] = make([]float64, columns)
	}
	return m
}

func (l *dense) forward(x []float64) []float64 {
	y := make([]float64, l.out)
	for i, w := range l.weight {
		y[i] = w[l.in] + trained.Dot(x, w)
	}
	return y
}

// accumulate adds the gradients for an input and the slope of the loss at each
// output, and returns the slope at each input.
func (l *dense) accumulate(x, slope []float64) []float64 {
	back := make([]float64, l.in)
	for i, s := range slope {
		if s == 0 {
			continue
		}
		w, g := l.weight[i], l.grad[i]
		for j, v := range x {
			g[j] += float64(s * v)
			back[j] += float64(s * w[j])
		}
		g[l.in] += s
	}
	return back
}

// step moves the parameters against the mean gradient of a batch and forgets
// it. Decay pulls the weights towards zero, apart from Adam (Loshchilov and
// Hutter, 2019).
func (l *dense) step(rate, decay float64, batch int) {
	const beta1, beta2, epsilon = 0.9, 0.999, 1e-8
	l.decay1 = float64(l.decay1 * beta1)
	l.decay2 = float64(l.decay2 * beta2)
	for i, w := range l.weight {
		g, m1, m2 := l.grad[i], l.m1[i], l.m2[i]
		for j := range w {
			mean := g[j] / float64(batch)
			m1[j] = float64(beta1*m1[j]) + float64((1-beta1)*mean)
			m2[j] = float64(beta2*m2[j]) + float64((1-beta2)*square(mean))
			move := (m1[j] / (1 - l.decay1)) / (math.Sqrt(m2[j]/(1-l.decay2)) + epsilon)
			w[j] -= float64(rate * (move + float64(decay*w[j])))
			g[j] = 0
		}
	}
}

// layer is what the demo keeps of it.
func (l *dense) layer() trained.Layer {
	out := trained.Layer{Bias: make(trained.Vector, l.out), Weights: make([]trained.Vector, l.out)}
	for i, w := range l.weight {
		out.Bias[i] = w[l.in]
		out.Weights[i] = slices.Clone(w[:l.in])
	}
	return out
}
