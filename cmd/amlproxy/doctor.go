package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"amlproxy/internal/app"
	"amlproxy/internal/config"
	"amlproxy/internal/doctor"
)

func doctorCommand(environ []string) *cobra.Command {
	return &cobra.Command{
		Use: "doctor", Short: "Check the settings against reality, and say what mends it", Args: noArguments,
		Long: "doctor asks everybody whom the proxy would ask, and writes a line for each question: ok, warn,\n" +
			"FAIL or skip, with what to do below it. It changes nothing and scores nothing. It exits with 1\n" +
			"if anything failed, and with 2 if the settings make no sense.",
		RunE: func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd, environ) },
	}
}

func runDoctor(cmd *cobra.Command, environ []string) error {
	settings, err := app.Load(environ)
	if err != nil {
		return &usageError{err}
	}
	options := doctor.Options{Prompt: func(message string) { fmt.Fprintln(cmd.ErrOrStderr(), message) }}
	var checks []doctor.Check
	for _, half := range []func(*config.Settings, doctor.Options) ([]doctor.Check, func(), error){doctor.Upstream, doctor.Callers} {
		more, end, err := half(settings, options)
		if err != nil {
			return &usageError{err}
		}
		defer end()
		checks = append(checks, more...)
	}
	failed, err := doctor.Run(cmd.Context(), cmd.OutOrStdout(), checks)
	if err == nil && failed > 0 {
		err = fmt.Errorf("checks failed: %d", failed)
	}
	return err
}
