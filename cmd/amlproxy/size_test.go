package main_test

import (
	"os"
	"testing"
)

// TestBinaryIsSmall holds the linker to what it can do. It drops every method that
// nobody calls, until somebody calls one by a name that only a running program knows:
// then it keeps every exported method of every type, which makes this program 9 MB
// larger. To import such a package is not enough, only to reach the call: cobra
// and the provider under the demo have a text/template that nothing here gets to.
func TestBinaryIsSmall(t *testing.T) {
	const most = 25_000_000
	file, err := os.Stat(binary)
	if err != nil {
		t.Fatal(err)
	}
	if file.Size() > most {
		t.Errorf("the binary has %.1f MB, want at most %.1f; what makes it so much larger at once is a package that calls methods by name, such as text/template",
			float64(file.Size())/1e6, most/1e6)
	}
}
