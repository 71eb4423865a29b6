package azuremltest

// begin notes a long-running operation that takes so many polls, and returns
// its ID.
func (a *Azure) begin(polls int) string {
	id := guid()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.operations[id] = polls
	return id
}

// poll reports whether an operation has ended, and whether there is one.
func (a *Azure) poll(id string) (done, known bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	left, known := a.operations[id]
	if left > 0 {
		a.operations[id]--
	}
	return left <= 0, known
}
