// Package telemetry consumes what the rooms report: it makes the program's
// logger, and writes the access log from proxy's Records and the upkeep of
// credentials from upstream's Events. Metrics count both, and ask at each scrape
// what the credentials are. It decides nothing, and no other room knows it.
package telemetry
