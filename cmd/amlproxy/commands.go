package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"amlproxy/internal/app"
	"amlproxy/internal/config"
)

// command returns the tree of commands over an environment.
func command(environ []string) *cobra.Command {
	serve := func(cmd *cobra.Command, _ []string) error { return serve(cmd, environ) }
	var askedVersion bool
	root := &cobra.Command{
		Use:   "amlproxy",
		Short: "Azure Machine Learning models behind a sign-in",
		Long: "amlproxy signs callers in with OpenID Connect and calls Azure Machine Learning's scoring\n" +
			"endpoints with the key or token that they want. It is configured by the environment; without a\n" +
			"command it serves. To see it work without Azure: amlproxy demo",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			if askedVersion {
				return printVersion(cmd, args)
			}
			return serve(cmd, args)
		},
		SilenceErrors: true, SilenceUsage: true,
	}
	// Not cobra's own flag: to change what that prints takes a text/template.
	root.Flags().BoolVarP(&askedVersion, "version", "v", false, "version for amlproxy")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		&cobra.Command{Use: "serve", Short: "Run the proxy", Args: noArguments, RunE: serve},
		&cobra.Command{
			Use: "check", Short: "Validate the settings, without calling anybody", Args: noArguments,
			RunE: func(cmd *cobra.Command, _ []string) error { return check(cmd, environ) },
		},
		&cobra.Command{
			Use: "healthcheck", Short: "Exit 0 if the proxy on this machine is ready", Args: noArguments,
			RunE: func(cmd *cobra.Command, _ []string) error { return healthcheck(cmd, environ) },
		},
		&cobra.Command{Use: "version", Short: "Print the version", Args: noArguments, RunE: printVersion},
		demoCommand(environ),
		doctorCommand(environ),
		tokenCommand(environ),
		keysCommand(environ),
	)
	return root
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return &usageError{fmt.Errorf("there is no %q here; see %s --help", args[0], cmd.CommandPath())}
}

func printVersion(cmd *cobra.Command, _ []string) error {
	_, err := fmt.Fprintln(cmd.OutOrStdout(), version())
	return err
}

func serve(cmd *cobra.Command, environ []string) error {
	settings, err := app.Load(environ)
	if err != nil {
		return &usageError{err}
	}
	tuneCollector(cmd.Context(), environ)
	load := func() (*config.Settings, error) { return app.Load(environ) }
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	proxy, err := app.New(settings, app.Options{Log: cmd.ErrOrStderr(), Out: cmd.OutOrStdout(), Load: load, Hangup: hangup, Version: stamped})
	if err != nil {
		return &usageError{err}
	}
	return proxy.Run(cmd.Context())
}

// check builds all that serve would run, and runs nothing.
func check(cmd *cobra.Command, environ []string) error {
	settings, err := app.Load(environ)
	if err != nil {
		return &usageError{err}
	}
	if _, err := app.New(settings, app.Options{Log: cmd.ErrOrStderr()}); err != nil {
		return &usageError{err}
	}
	for _, warning := range settings.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", warning)
	}
	for _, note := range settings.Notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", note)
	}
	routes := "1 route"
	if n := len(settings.Routes); n != 1 {
		routes = fmt.Sprint(n, " routes")
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), "the settings are in order:", routes)
	return err
}
