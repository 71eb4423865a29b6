// Package config reads every setting, from the environment and from the routes
// file, into one validated tree of plain data: [Settings].
//
// It exists so that a mistake ends the program at start instead of opening a
// route later. Three kinds of silence are therefore not kept: a setting that
// is there but empty, a name that nothing reads, and a number missing in a list
// are mistakes and not defaults. All of them are reported at once, each with the
// name of the setting or the file, line and column, and never with the value
// of a secret.
//
// [Load] does not look at the process: the environment is an argument. The
// files that settings name are read here, so that what they hold (a key, a
// certificate, the routes) is validated like the rest. Nothing is asked over the
// network; whether an address answers is for the doctor to find out.
//
// The package knows none of the rooms that the settings are for; internal/app
// maps them.
package config
