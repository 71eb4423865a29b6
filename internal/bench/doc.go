//go:build linux

// Command bench measures what amlproxy costs, against a bare reverse proxy that
// checks nobody. `make bench` runs it and writes docs/performance.md.
//
// It is the sample upstream, a pretended Azure, the identity
// provider and the callers, all on the first core that it may use; each proxy
// under measurement is a process of its own, on the second. Both proxies send the
// same request to the same upstream with the same key.
//
// What a machine does besides changes from second to second. So nothing is
// measured once: the proxies take turns in short slices on connections that stay
// open, forth and back (A B C C B A), and each is compared with the bare one of its
// own round. A second bare proxy is measured like the others: by how much it
// differs from the first is by how much any figure here may be wrong.
package main
