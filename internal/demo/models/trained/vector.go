package trained

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Vector is a row of numbers, written as text with spaces between: a matrix
// then takes one line a row in an indented file, not one a number.
type Vector []float64

// MarshalText implements [encoding.TextMarshaler] with the shortest digits that
// read back as the same numbers.
func (v Vector) MarshalText() ([]byte, error) {
	var b []byte
	for i, x := range v {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendFloat(b, x, 'g', -1, 64)
	}
	return b, nil
}

// UnmarshalText implements [encoding.TextUnmarshaler]. It refuses NaN and
// infinities.
func (v *Vector) UnmarshalText(text []byte) error {
	fields := strings.Fields(string(text))
	*v = make(Vector, len(fields))
	for i, f := range fields {
		x, err := strconv.ParseFloat(f, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("%q is not a finite number", f)
		}
		(*v)[i] = x
	}
	return nil
}

// Rounded is v with each number rounded to so many significant decimal digits.
func (v Vector) Rounded(digits int) Vector {
	out := make(Vector, len(v))
	for i, x := range v {
		// Format and parse are exact on every machine; scaling by powers of ten is not.
		out[i], _ = strconv.ParseFloat(strconv.FormatFloat(x, 'g', digits, 64), 64)
	}
	return out
}
