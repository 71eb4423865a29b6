// Package app is where all rooms meet, and the only place where they do: it
// turns validated settings into a running proxy. The serve command, the demo and
// the tests all call [New] and [App.Run], so what is tested is what runs.
package app
