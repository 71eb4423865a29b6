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

// ratio estimates by how many times the crowd at i needs more than the first, as
// each round has it.
func ratio(rounds [][]slice, i int, of func(slice) float64) estimate {
	values := make([]float64, len(rounds))
	for n, round := range rounds {
		values[n] = of(round[i]) / of(round[0])
	}
	return estimateOf(values)
}

// value estimates a figure of the crowd at i.
func value(rounds [][]slice, i int, of func(slice) float64) estimate {
	values := make([]float64, len(rounds))
	for n, round := range rounds {
		values[n] = of(round[i])
	}
	return estimateOf(values)
}

// estimateOf draws from the values again and again, as if the rounds had been
// others (bootstrap), and looks where the median of most draws lies.
func estimateOf(values []float64) estimate {
	const draws = 4000
	medians := make([]float64, draws)
	drawn := make([]float64, len(values))
	for n := range medians {
		for i := range drawn {
			drawn[i] = values[rand.IntN(len(values))]
		}
		medians[n] = median(drawn)
	}
	slices.Sort(medians)
	return estimate{medians[draws*25/1000], median(values), medians[draws*975/1000]}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}
