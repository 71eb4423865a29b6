package train

import (
	"fmt"
	"strconv"

	"amlproxy/internal/demo/models/trained"
)

// measure asks the model about the rows it has never seen. The value is
// rounded to four decimals: a hundred rows or so know no more.
func measure(m *trained.Model, held *dataset, metric string) (trained.Quality, error) {
	predicted := make([]float64, len(held.rows))
	for i, row := range held.rows {
		scores, err := m.Scores(row)
		if err != nil {
			return trained.Quality{}, err
		}
		predicted[i] = scores[0]
		if len(m.Labels) > 0 {
			predicted[i] = float64(trained.Class(scores))
		}
	}
	value := determination(predicted, held.targets)
	if metric == "accuracy" {
		value = accuracy(predicted, held.targets)
	}
	value, err := strconv.ParseFloat(strconv.FormatFloat(value, 'f', 4, 64), 64)
	if err != nil {
		return trained.Quality{}, fmt.Errorf("measuring: %w", err)
	}
	return trained.Quality{Metric: metric, Value: value}, nil
}

func accuracy(predicted, targets []float64) float64 {
	right := 0
	for i, p := range predicted {
		if p == targets[i] {
			right++
		}
	}
	return float64(right) / float64(len(targets))
}

// determination is R²: 1 is perfect, 0 is no better than saying the mean.
func determination(predicted, targets []float64) float64 {
	m := mean(targets)
	var residual, total float64
	for i, t := range targets {
		residual += square(t - predicted[i])
		total += square(t - m)
	}
	return 1 - residual/total
}
