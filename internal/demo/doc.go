// Package demo runs everything on one machine: an OpenID provider with a few
// accounts, an Azure with a workspace, three real models behind the kinds of
// service that Azure ML offers, and the proxy in front of them.
//
// A [World] is all of that but the proxy. It describes itself in settings, as an
// operator would, and the proxy is built from those settings alone; so the same
// World serves the tests that start the built binary.
package demo
