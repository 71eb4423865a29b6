package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"amlproxy/internal/app"
)

func keysCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "Show or regenerate the keys of a route's endpoint", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &usageError{fmt.Errorf("it is keys show or keys rotate; see %s --help", cmd.CommandPath())}
		},
	}
	cmd.AddCommand(keysShowCommand(environ), keysRotateCommand(environ))
	return cmd
}

func keysShowCommand(environ []string) *cobra.Command {
	q := &question{}
	cmd := q.command(environ, cobra.Command{
		Use: "show ROUTE", Short: "Show the pair of keys, masked",
	}, func(cmd *cobra.Command, desk *app.Desk) error {
		ctx, cancel := context.WithTimeout(cmd.Context(), askLimit)
		defer cancel()
		c, err := desk.Keys(ctx, q.route, q.backend)
		if err != nil {
			return err
		}
		show := app.Masked
		if q.reveal {
			show = app.Revealed
		}
		lines := [][2]string{{"route", q.route}, {"backend", c.Backend}, {"address", c.Address}, {"primary", show(c.Primary)}}
		if !c.Secondary.IsZero() {
			lines = append(lines, [2]string{"secondary", show(c.Secondary)})
		}
		return table(cmd.OutOrStdout(), lines)
	})
	cmd.Flags().BoolVar(&q.reveal, "reveal", false, "print the keys themselves")
	return cmd
}

func keysRotateCommand(environ []string) *cobra.Command {
	q, how := &question{}, app.Rotation{}
	cmd := q.command(environ, cobra.Command{
		Use: "rotate ROUTE", Short: "Regenerate the secondary key, then the primary one, without a failed request",
		Long: "rotate replaces both keys of a route's endpoint while proxies go on using them. Before each step it\n" +
			"checks, with a request that scores nothing, that the endpoint accepts the key that will remain; and\n" +
			"between the steps it waits, so that running proxies can take the other key. It stops where a check\n" +
			"fails, and can be run again wherever it was stopped or interrupted.",
	}, func(cmd *cobra.Command, desk *app.Desk) error {
		if how.Pause < 0 {
			return &usageError{fmt.Errorf("--pause %s: a pause is not negative", how.Pause)}
		}
		how.Say = func(line string) { fmt.Fprintln(cmd.OutOrStdout(), line) }
		return desk.Rotate(cmd.Context(), q.route, q.backend, how)
	})
	cmd.Flags().DurationVar(&how.Pause, "pause", 30*time.Second,
		"how long running proxies get to take the other key, and the endpoint to accept a new one")
	cmd.Flags().BoolVar(&how.Unchecked, "unchecked", false, "go on where nothing harmless tells whether the endpoint accepts a key")
	return cmd
}
