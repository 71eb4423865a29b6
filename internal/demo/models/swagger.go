package models

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// object is a piece of a JSON document; encoding/json sorts its keys.
type object map[string]any

// example makes the request for the sample row, and the answer to it.
func (m *Model) example() (sample, expected []byte, err error) {
	rows := [][]float64{m.net.Sample.Row}
	if sample, err = json.Marshal(object{"data": rows}); err != nil {
		return nil, nil, fmt.Errorf("encoding the sample of %s: %w", m.Name(), err)
	}
	result, err := m.sampleResult()
	if err != nil {
		return nil, nil, err
	}
	if expected, err = json.Marshal(output{[]any{result}}); err != nil {
		return nil, nil, fmt.Errorf("encoding the answer to the sample of %s: %w", m.Name(), err)
	}
	return sample, expected, nil
}

// sampleResult is what training wrote down about the sample, not what the
// model says now: that both agree is a test.
func (m *Model) sampleResult() (any, error) {
	said := m.net.Sample.Output
	if len(m.net.Labels) == 0 {
		x, err := strconv.ParseFloat(said, 64)
		if err != nil {
			return nil, fmt.Errorf("reading the sample of %s: %w", m.Name(), err)
		}
		return x, nil
	}
	for i, l := range m.net.Labels {
		if l == said {
			return m.label(i), nil
		}
	}
	return nil, fmt.Errorf("the sample of %s has the unknown label %q", m.Name(), said)
}

// label is the name of a class, as a number where the names are numbers.
func (m *Model) label(class int) any {
	if n, err := strconv.Atoi(m.net.Labels[class]); err == nil {
		return n
	}
	return m.net.Labels[class]
}

// describe builds the OpenAPI 2.0 document that the inference server would
// generate for this model: same paths, operations and definitions.
func (m *Model) describe() ([]byte, error) {
	failed := object{"description": "The service failed to execute due to an error.", "schema": ref("ErrorResponse")}
	doc := object{
		"swagger": "2.0",
		"info": object{
			"title":       m.Name(),
			"description": m.title + ". " + m.description + " " + m.measured(),
			"version":     "1.0",
		},
		"schemes":  []string{"https"},
		"consumes": []string{"application/json"},
		"produces": []string{"application/json"},
		"securityDefinitions": object{"Bearer": object{
			"type": "apiKey", "name": "Authorization", "in": "header", "description": "For example: Bearer abc123",
		}},
		"paths": object{"/score": object{"post": object{
			"operationId": "RunMLService",
			"description": "Run the model on each row of data.",
			"security":    []object{{"Bearer": []string{}}},
			"parameters": []object{{
				"name": "serviceInputPayload", "in": "body", "required": true, "schema": ref("ServiceInput"),
				"description": "The rows, each with these values in this order: " + strings.Join(m.net.Inputs, ", ") + ".",
			}},
			"responses": object{
				"200":     object{"description": "One result a row, in the order of the rows.", "schema": ref("ServiceOutput")},
				"default": failed,
			},
		}}},
		"definitions": m.definitions(),
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("describing %s: %w", m.Name(), err)
	}
	return append(b, '\n'), nil
}

func (m *Model) definitions() object {
	width := len(m.net.Inputs)
	row := object{"type": "array", "minItems": width, "maxItems": width, "items": object{"type": "number"}}
	return object{
		"ServiceInput": object{
			"type": "object", "required": []string{"data"},
			"properties": object{"data": object{"type": "array", "minItems": 1, "maxItems": MaxRows, "items": row}},
			"example":    json.RawMessage(m.sample),
		},
		"ServiceOutput": object{
			"type": "object", "required": []string{"result"},
			"properties": object{"result": object{"type": "array", "items": m.resultSchema()}},
			"example":    json.RawMessage(m.expected),
		},
		"ErrorResponse": object{"type": "object", "properties": object{"message": object{"type": "string"}}},
	}
}

func (m *Model) resultSchema() object {
	if len(m.net.Labels) == 0 {
		return object{"type": "number"}
	}
	labels := make([]any, len(m.net.Labels))
	kind := "integer"
	for i := range labels {
		labels[i] = m.label(i)
		if _, ok := labels[i].(string); ok {
			kind = "string"
		}
	}
	return object{"type": kind, "enum": labels}
}

func (m *Model) measured() string {
	metric, value := m.Quality()
	return fmt.Sprintf("Measured on %d rows that took no part in the training: %s %.3g.", m.net.Provenance.HeldOutRows, metric, value)
}

func ref(name string) object { return object{"$ref": "#/definitions/" + name} }
