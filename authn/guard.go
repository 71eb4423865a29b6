package authn

import (
	"fmt"
	"runtime/debug"
	"strings"
)

// guarded runs what is detached from every request. A panic there would end the
// process, and with it everybody's requests; so it is the failure of those who
// wait, and no verdict on whoever is asked about.
func guarded[T any](do func() (T, error)) (value T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &Error{
				Kind: ErrUnavailable, Detail: "who is calling cannot be found out now",
				Err: fmt.Errorf("a panic: %v, %s", p, panicked(debug.Stack())),
			}
		}
	}()
	return do()
}

// panicked finds in a stack where it happened: errors have one line.
func panicked(stack []byte) string {
	_, below, _ := strings.Cut(string(stack), "\npanic(")
	frames := strings.SplitN(below, "\n", 5)
	if len(frames) < 5 {
		return "somewhere"
	}
	return "in " + frames[2] + " at " + strings.TrimSpace(frames[3])
}
