// Package telemetry consumes what the rooms report: it makes the program's
// logger, writes the access log from proxy's Records and the upkeep of
// credentials from upstream's Events. It decides nothing, and no other room
// knows it.
package telemetry
