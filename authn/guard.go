package authn

import (
	"fmt"
	"runtime/debug"
)

// guarded runs what is detached from every request. A panic there would end the
// process, and with it everybody's requests; so it is the failure of those who
// wait, and no verdict on whoever is asked about.
func guarded[T any](do func() (T, error)) (value T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &Error{
				Kind: ErrUnavailable, Detail: "who is calling cannot be found out now",
				Err: fmt.Errorf("a panic: %v\n%s", p, debug.Stack()),
			}
		}
	}()
	return do()
}
