// Command amlproxy puts Azure Machine Learning models behind a sign-in. See the
// README for what it does, and `amlproxy help` for its commands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"amlproxy/internal/app"
)

// Exit codes.
const (
	exitFailed = 1 // what was asked for could not be done
	exitUsage  = 2 // wrong usage or settings
)

func main() {
	os.Exit(run(untilSignalled(), os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// untilSignalled returns a context that the first signal ends; the second ends the
// program at once. SIGTERM is what orchestrators send, who may have others take over;
// an interrupt is somebody who waits at a terminal.
func untilSignalled() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		first := <-signals
		signal.Stop(signals)
		var cause error
		if first == syscall.SIGTERM {
			cause = app.ErrReplaced
		}
		cancel(cause)
	}()
	return ctx
}

// run is main without the process around it. The environment is handed in, and
// nothing below reads it elsewhere.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	root := command(environ)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "amlproxy:", err)
	if usage := (*usageError)(nil); errors.As(err, &usage) {
		return exitUsage
	}
	return exitFailed
}

// A usageError is a mistake of whoever started the program.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }
