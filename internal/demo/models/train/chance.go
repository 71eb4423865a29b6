package train

import "math/rand/v2"

// chance draws from a PCG, whose sequence is specified. Everything is made of
// its Uint64 alone: what rand.Rand makes of a source may change between
// releases of Go.
type chance struct{ pcg *rand.PCG }

func newChance(seed uint64) *chance { return &chance{rand.NewPCG(seed, seed)} }

// unit draws from [0, 1).
func (c *chance) unit() float64 { return float64(c.pcg.Uint64()>>11) / (1 << 53) }

// shuffle is Fisher's and Yates's.
func (c *chance) shuffle(order []int) {
	for i := len(order) - 1; i > 0; i-- {
		j := int(c.unit() * float64(i+1))
		order[i], order[j] = order[j], order[i]
	}
}
