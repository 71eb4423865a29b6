package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"amlproxy/internal/app"
)

// A question about a route, as flags and an argument put it.
type question struct {
	route   string
	backend int
	reveal  bool
}

// command makes a command whose one argument is a route. ask gets a Desk that is
// closed afterwards.
func (q *question) command(environ []string, c cobra.Command, ask func(*cobra.Command, *app.Desk) error) *cobra.Command {
	cmd := &c
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return &usageError{fmt.Errorf("it takes the name of one route; see %s --help", cmd.CommandPath())}
		}
		return nil
	}
	cmd.Flags().IntVar(&q.backend, "backend", 1, "which of the route's backends, as a number `N` from 1")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		q.route = args[0]
		settings, err := app.Load(environ)
		if err != nil {
			return &usageError{err}
		}
		desk, err := app.NewDesk(settings, cmd.ErrOrStderr())
		if err != nil {
			return &usageError{err}
		}
		defer desk.Close()
		err = ask(cmd, desk)
		if errors.Is(err, app.ErrNoSuchRoute) || errors.Is(err, app.ErrSettings) {
			return &usageError{err}
		}
		return err
	}
	return cmd
}

func tokenCommand(environ []string) *cobra.Command {
	q := &question{}
	cmd := q.command(environ, cobra.Command{
		Use: "token ROUTE", Short: "Show the credential that a route would use now",
		Long: "token asks the workspace what calls to a route's endpoint need now, and prints its kind, when it\n" +
			"is renewed and when it expires. With --reveal, standard output has the credential and nothing else:\n" +
			"  curl -H \"Authorization: Bearer $(amlproxy token ROUTE --reveal)\" …",
	}, func(cmd *cobra.Command, desk *app.Desk) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), askLimit)
		defer cancel()
		c, err := desk.Credential(ctx, q.route, q.backend)
		if err != nil {
			return err
		}
		return q.tell(cmd, c)
	})
	cmd.Flags().BoolVar(&q.reveal, "reveal", false, "print the credential itself, alone, on standard output")
	return cmd
}

// askLimit is how long the workspace gets to answer what a person waits for. A
// sign-in of the operator takes longer.
const askLimit = 15 * time.Minute

// tell prints a credential: for people, or for a script with the rest on standard
// error.
func (q *question) tell(cmd *cobra.Command, c *app.Credential) error {
	if !q.reveal {
		return q.describe(cmd.OutOrStdout(), c)
	}
	if err := q.describe(cmd.ErrOrStderr(), c); err != nil {
		return err
	}
	if c.Primary.IsZero() {
		// An empty line would become an empty credential in somebody's script.
		return fmt.Errorf("route %s: %s takes no credential, so there is none to print", q.route, c.Backend)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), app.Revealed(c.Primary))
	return err
}

func (q *question) describe(w io.Writer, c *app.Credential) error {
	lines := [][2]string{{"route", q.route}, {"backend", c.Backend}, {"address", c.Address}}
	if c.Deployment != "" {
		lines = append(lines, [2]string{"deployment", c.Deployment})
	}
	lines = append(lines, [2]string{"kind", c.Kind})
	if !c.Primary.IsZero() {
		lines = append(lines, [2]string{"credential", app.Masked(c.Primary)},
			[2]string{"refresh", when(c.Refresh)}, [2]string{"expires", when(c.Expires)})
	}
	return table(w, lines)
}

// when prints a time of a credential.
func when(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return fmt.Sprintf("%s (in %s)", t.UTC().Format(time.RFC3339), time.Until(t).Round(time.Second))
}

func table(w io.Writer, lines [][2]string) error {
	for _, l := range lines {
		if _, err := fmt.Fprintf(w, "%-11s %s\n", l[0], l[1]); err != nil {
			return err
		}
	}
	return nil
}
