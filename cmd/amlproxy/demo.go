package main

import (
	"cmp"
	"log/slog" //nolint:depguard // to silence it, see below
	"strings"

	"github.com/spf13/cobra"

	"amlproxy/internal/config"
	"amlproxy/internal/demo"
)

// demoCommand takes two settings from the environment, and those from the image
// that it may run in: a port that is published leads to a container's own
// address and not to its loopback.
func demoCommand(environ []string) *cobra.Command {
	options := demo.Options{AdminListen: setting(environ, "ADMIN_LISTEN")}
	cmd := &cobra.Command{
		Use: "demo", Short: "Run everything on this machine: identity provider, workspace, models, proxy", Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// The library under the demo's provider logs every wrong password to the
			// default logger, whatever logger it is given.
			slog.SetDefault(slog.New(slog.DiscardHandler))
			options.Out, options.Log = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return demo.Run(cmd.Context(), options)
		},
	}
	cmd.Flags().StringVar(&options.Listen, "listen", cmp.Or(setting(environ, "LISTEN"), "127.0.0.1:8080"),
		"`address` of the proxy, as host:port; the identity provider takes the next port")
	cmd.Flags().BoolVar(&options.Chaos, "chaos", false, "regenerate a key or revoke a token somewhere every 4 s, and count")
	return cmd
}

func setting(environ []string, name string) string {
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, config.Prefix+name+"="); ok {
			return value
		}
	}
	return ""
}
