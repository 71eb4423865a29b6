package azuremltest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// An operation performs one call of the workspace. What it answers is a value,
// so that a [Fault] can tamper with it before it is written.
type operation func(*http.Request) answer

// An answer is a whole answer, before it is written.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// fields is a JSON object.
type fields map[string]any

// jsonAnswer answers with v. The shapes given to it marshal always.
func jsonAnswer(status int, v any) answer {
	body, err := json.Marshal(v)
	if err != nil {
		return answer{status: http.StatusInternalServerError, body: []byte(err.Error())}
	}
	return answer{status: status, header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}, body: body}
}

// with returns the answer with one more header field.
func (a answer) with(name, value string) answer {
	a.header = a.header.Clone()
	if a.header == nil {
		a.header = http.Header{}
	}
	a.header.Set(name, value)
	return a
}

// write sends the answer. With a pace, it sends one byte and then waits that
// long, until the client gives up.
func (a answer) write(ctx context.Context, w http.ResponseWriter, clock Clock, pace time.Duration) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Set("Date", clock.Now().UTC().Format(http.TimeFormat)) // who has another time is found out
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.Header().Set("X-Ms-Request-Id", guid())
	w.WriteHeader(a.status)
	if pace <= 0 {
		_, _ = w.Write(a.body) // the client's loss
		return
	}
	flush := http.NewResponseController(w)
	for i := range a.body {
		if _, err := w.Write(a.body[i : i+1]); err != nil || flush.Flush() != nil {
			return
		}
		if clock.Sleep(ctx, pace) != nil {
			return
		}
	}
}

// A shape is how one plane of Azure writes an error.
type shape func(status int, code, message string) answer

// nested is ARM's error, and that of some routes of model management.
func nested(status int, code, message string) answer {
	return jsonAnswer(status, fields{"error": fields{"code": code, "message": message}})
}

// flat is the error of model management's own routes.
func flat(status int, code, message string) answer {
	return jsonAnswer(status, fields{
		"code": code, "statusCode": status, "message": message,
		"details": []fields{{"code": code, "message": message}},
	})
}

// seconds rounds up: Retry-After has whole seconds, and "0" means at once.
func seconds(d time.Duration) string {
	return fmt.Sprint(int64((d + time.Second - 1) / time.Second))
}
