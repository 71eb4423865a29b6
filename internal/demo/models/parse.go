package models

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// input is a request as Azure ML's samples write it: {"data": [[…]]}, or
// {"Inputs": {"data": [[…]]}} as newer scoring scripts take it.
type input struct {
	Data   table  `json:"data"`
	Inputs *input `json:"Inputs"`
}

// table has pointers, because encoding/json reads null into a number as 0: a
// missing measurement would be scored as if it had been made.
type table [][]*float64

// parse reads one JSON object and nothing after it. JSON has no NaN and no
// infinity, and encoding/json refuses numbers that float64 cannot hold, so all
// that it returns are finite. Widths are checked where they are known.
func parse(body []byte) ([][]float64, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	var in input
	if err := dec.Decode(&in); err != nil {
		return nil, unreadable(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: there is more after the JSON object", ErrInput)
	}
	if in.Inputs != nil {
		if in.Data != nil || in.Inputs.Inputs != nil {
			return nil, fmt.Errorf(`%w: "data" and "Inputs" exclude each other`, ErrInput)
		}
		in = *in.Inputs
	}
	if in.Data == nil {
		return nil, fmt.Errorf(`%w: expected {"data": [[…], …]}, one list of numbers a row`, ErrInput)
	}
	return in.Data.numbers()
}

func (t table) numbers() ([][]float64, error) {
	if len(t) > MaxRows {
		return nil, fmt.Errorf("%w: data has %d rows, and at most %d are taken", ErrInput, len(t), MaxRows)
	}
	rows := make([][]float64, len(t))
	for i, cells := range t {
		rows[i] = make([]float64, len(cells))
		for j, x := range cells {
			if x == nil {
				return nil, fmt.Errorf("%w: row %d: value %d is null", ErrInput, i+1, j+1)
			}
			rows[i][j] = *x
		}
	}
	return rows, nil
}

// unreadable says what is wrong in the words of JSON; the decoder's own say it
// in those of Go's types.
func unreadable(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("%w: not JSON: %w (at byte %d)", ErrInput, syntax, syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Errorf(`%w: %s at byte %d, where {"data": [[…], …]} has rows of finite numbers`, ErrInput, kind.Value, kind.Offset)
	default:
		return fmt.Errorf("%w: not JSON: the body ends too early", ErrInput)
	}
}
