//go:build linux

package main

import (
	"context"
	"math/rand/v2"
	"slices"
)

// A turn is one slice of one crowd.
type turn func(context.Context, *crowd) (slice, error)

// compare lets the crowds take turns, forth and back, in so many rounds. What it
// returns has, of each round, one slice of each crowd.
func compare(ctx context.Context, crowds []*crowd, rounds int, measure turn) ([][]slice, error) {
	for _, c := range crowds { // connections and caches are warm then
		if _, err := measure(ctx, c); err != nil {
			return nil, err
		}
	}
	all := make([][]slice, rounds)
	for n := range all {
		all[n] = make([]slice, len(crowds))
		for i, c := range crowds {
			one, err := measure(ctx, c)
			if err != nil {
				return nil, err
			}
			all[n][i] = one
		}
		for i, c := range slices.Backward(crowds) {
			one, err := measure(ctx, c)
			if err != nil {
				return nil, err
			}
			all[n][i] = all[n][i].and(one)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// An estimate is a median with the interval that holds it with 95 %.
type estimate struct{ low, median, high float64 }

// ratio estimates by how many times the crowd at i needs more than the one at to, as
// each round has it.
func ratio(rounds [][]slice, i, to int, of func(slice) float64) estimate {
	values := make([]float64, len(rounds))
	for n, round := range rounds {
		values[n] = of(round[i]) / of(round[to])
	}
	return estimateOf(values)
}

// ratioOfMedians estimates by how many times the usual value of the crowd at i is
// larger than that of the first. It is for what one hiccup of the machine makes many
// times larger, in one round, for whoever has his turn.
func ratioOfMedians(rounds [][]slice, i int, of func(slice) float64) estimate {
	values := make([][2]float64, len(rounds))
	for n, round := range rounds {
		values[n] = [2]float64{of(round[i]), of(round[0])}
	}
	return drawnFrom(values, func(drawn [][2]float64) float64 {
		both := [2][]float64{}
		for _, v := range drawn {
			both[0], both[1] = append(both[0], v[0]), append(both[1], v[1])
		}
		return median(both[0]) / median(both[1])
	})
}

// value estimates a figure of the crowd at i.
func value(rounds [][]slice, i int, of func(slice) float64) estimate {
	values := make([]float64, len(rounds))
	for n, round := range rounds {
		values[n] = of(round[i])
	}
	return estimateOf(values)
}

// estimateOf estimates the median of values.
func estimateOf(values []float64) estimate { return drawnFrom(values, median) }

// drawnFrom draws from the values again and again, as if the rounds had been others
// (bootstrap), and looks where what is made of them lies for most draws.
func drawnFrom[V any](values []V, of func([]V) float64) estimate {
	const draws = 4000
	all := make([]float64, draws)
	drawn := make([]V, len(values))
	for n := range all {
		for i := range drawn {
			drawn[i] = values[rand.IntN(len(values))]
		}
		all[n] = of(drawn)
	}
	slices.Sort(all)
	return estimate{all[draws*25/1000], of(values), all[draws*975/1000]}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}
