package train

import (
	"math"

	"amlproxy/internal/demo/models/trained"
)

// plan is how long and how fast a network learns.
type plan struct {
	hidden, epochs, batch int
	rate, decay           float64
	// vary, if there is one, makes another example of a row, of the same class.
	vary func(row []float64, c *chance) []float64
}

func fitDigits(d *dataset) []trained.Layer {
	// A pixel counts up to 16 dots: the same scale for all of them.
	shift, spread := make([]float64, len(d.inputs)), make([]float64, len(d.inputs))
	for j := range spread {
		spread[j] = 16
	}
	return fitNetwork(d, shift, spread, plan{hidden: 48, epochs: 60, batch: 16, rate: 0.01, decay: 1e-3, vary: nudged})
}

func fitIris(d *dataset) []trained.Layer {
	shift, spread := make([]float64, len(d.inputs)), make([]float64, len(d.inputs))
	for j := range spread {
		col := d.column(j)
		shift[j] = mean(col)
		spread[j] = math.Sqrt(squares(col, shift[j]) / float64(len(col)))
	}
	return fitNetwork(d, shift, spread, plan{hidden: 8, epochs: 200, batch: 8, rate: 0.01, decay: 1e-3})
}

// nudged moves an image of 8×8 by at most one pixel, half of the time: a digit
// is the same one a pixel further, and with 1,400 images that is worth saying.
func nudged(image []float64, c *chance) []float64 {
	const side = 8
	if c.unit() < 0.5 {
		return image
	}
	dx, dy := int(c.unit()*3)-1, int(c.unit()*3)-1
	out := make([]float64, len(image))
	for i := range out {
		x, y := i%side-dx, i/side-dy
		if x >= 0 && x < side && y >= 0 && y < side {
			out[i] = image[y*side+x]
		}
	}
	return out
}

// fitNetwork trains on (x - shift) / spread and folds that back into the first
// layer, so that the finished network takes rows as they are.
func fitNetwork(d *dataset, shift, spread []float64, p plan) []trained.Layer {
	d = d.clone()
	for _, row := range d.rows {
		for j := range row {
			row[j] = (row[j] - shift[j]) / spread[j]
		}
	}
	c := newChance(seed)
	n := network{
		first:  newDense(len(d.inputs), p.hidden, c),
		second: newDense(p.hidden, len(d.labels), c),
	}
	n.learn(d, p, c)
	layers := []trained.Layer{n.first.layer(), n.second.layer()}
	for i, w := range layers[0].Weights {
		for j := range w {
			w[j] /= spread[j]
		}
		layers[0].Bias[i] -= trained.Dot(w, shift)
	}
	return layers
}

// network has two layers, with max(0, x) between them.
type network struct{ first, second *dense }

// learn goes through the rows again and again, in a new order each time and
// with smaller and smaller steps.
func (n network) learn(d *dataset, p plan, c *chance) {
	order := make([]int, len(d.rows))
	for i := range order {
		order[i] = i
	}
	for epoch := range p.epochs {
		c.shuffle(order)
		rate := p.rate * float64(p.epochs-epoch) / float64(p.epochs)
		for start := 0; start < len(order); start += p.batch {
			batch := order[start:min(start+p.batch, len(order))]
			for _, i := range batch {
				row := d.rows[i]
				if p.vary != nil {
					row = p.vary(row, c)
				}
				n.backward(row, d.class(i))
			}
			n.first.step(rate, p.decay, len(batch))
			n.second.step(rate, p.decay, len(batch))
		}
	}
}

// backward adds to the gradients what one row says. The loss of each output is
// max(0, 1 - t·y)², t being 1 for the right class and -1 for the others.
func (n network) backward(x []float64, class int) {
	hidden := n.first.forward(x)
	for i, h := range hidden {
		hidden[i] = max(0, h)
	}
	slope := n.second.forward(hidden)
	for k, y := range slope {
		t := -1.0
		if k == class {
			t = 1
		}
		slope[k] = float64(-2 * t * max(0, 1-float64(t*y)))
	}
	back := n.second.accumulate(hidden, slope)
	for i, h := range hidden {
		if h == 0 {
			back[i] = 0
		}
	}
	n.first.accumulate(x, back)
}
