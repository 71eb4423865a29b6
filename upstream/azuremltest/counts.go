package azuremltest

import (
	"maps"
	"sync"
)

// counts counts by name.
type counts struct {
	mu sync.Mutex
	by map[string]int
}

func (c *counts) add(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = make(map[string]int)
	}
	c.by[name]++
}

func (c *counts) all() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.by)
}

func (c *counts) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.by)
}

// Calls returns how often each operation has been called since Start or
// ResetCalls, whether it succeeded or not. The names are in the package comment;
// one that was never called is missing.
func (a *Azure) Calls() map[string]int { return a.counts.all() }

// ResetCalls starts counting from nothing.
func (a *Azure) ResetCalls() { a.counts.clear() }
