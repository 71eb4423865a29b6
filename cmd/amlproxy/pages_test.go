package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// TestPages looks at every page that a person can meet, as axe-core does: in both
// colour schemes, on a phone, a tablet and a desk. No page asks anybody else for
// anything, and none is wider than its window.
func TestPages(t *testing.T) {
	e := newEstate(t)
	axe, err := os.ReadFile(filepath.Join(packages(t), "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	anybody, alice, bob, eve := browse(t, e), browse(t, e), browse(t, e), browse(t, e)
	alice.signIn(e, "/", "alice")
	bob.signIn(e, "/", "bob")
	eve.signIn(e, "/", "eve")
	for _, p := range []struct {
		name string
		by   *tab
		at   string
		says string
	}{
		{"models", alice, "/", "Models"},
		{"models-none", eve, "/", "Ask whoever runs this proxy for access"},
		{"sign-in", anybody, "/oauth2/sign_in", "Sign in"},
		{"sign-in-again", alice, "/oauth2/sign_in", "You are signed in as"},
		{"signed-out", anybody, "/oauth2/sign_in?state=x", "signed out"},
		{"refused", bob, "/models/iris", "This is not open to you"},
		{"not-found", anybody, "/nowhere", "There is nothing here"},
		{"login-failed", anybody, "/oauth2/callback?state=x&code=y", "Signing in did not work"},
	} {
		asked := p.by.asked()
		p.by.open(e.url + p.at)
		p.by.await(`document.readyState === "complete"`)
		if shown := p.by.text(); !strings.Contains(shown, p.says) {
			t.Errorf("%s: no %q in\n%s", p.name, p.says, shown)
		}
		if p.name == "models" {
			p.by.await(`[...document.querySelectorAll("textarea")].every(t => t.value.length > 5)`)
		}
		p.by.judge(p.name, string(axe))
		for _, u := range asked() {
			if own := strings.HasPrefix(u, e.url+"/"); !own && !strings.HasPrefix(u, "data:") {
				t.Errorf("%s asks for %s", p.name, u)
			}
		}
	}
}

// judge shows the page that is open in three widths and two colour schemes.
func (b *tab) judge(name, axe string) {
	b.t.Helper()
	b.do("load axe-core", chromedp.Evaluate[chromedp.Void](axe+"; undefined"))
	for _, width := range []int64{320, 768, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			as := fmt.Sprintf("%s-%d-%s", name, width, scheme)
			b.do("resize", chromedp.EmulateViewport(width, 900))
			if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
			}); err != nil {
				b.t.Fatal(err)
			}
			if b.eval("document.documentElement.scrollWidth <= innerWidth") != "true" {
				b.t.Errorf("%s: the page is wider than its window", as)
			}
			b.picture(as)
			if width == 768 {
				continue // axe-core sees nothing there that it does not see in the others
			}
			if found := b.eval(`axe.run({resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations.map(v => [v.id, v.help, v.nodes.map(n => n.html)])))`); found != "[]" {
				b.t.Errorf("%s: %s", as, found)
			}
		}
	}
}

// asked notes what the browser asks for from now on, and returns what returns it.
func (b *tab) asked() func() []string {
	b.t.Helper()
	var mu sync.Mutex
	var urls []string
	if err := chromedp.Listen(b.ctx, func(ev any) {
		if sent, ok := ev.(*network.EventRequestWillBeSent); ok {
			mu.Lock()
			defer mu.Unlock()
			urls = append(urls, sent.Request.URL)
		}
	}); err != nil {
		b.t.Fatal(err)
	}
	if _, err := chromedp.Call(b.ctx, network.Enable, network.EnableParams{}); err != nil {
		b.t.Fatal(err)
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		if len(urls) == 0 {
			b.t.Error("nothing was seen of what the browser asks for")
		}
		return urls
	}
}

// TestPagesByKeyboard goes through the pages with the Tab key alone: everything
// that can be used is reached, in the order in which it is read, and can be seen to
// have the focus.
func TestPagesByKeyboard(t *testing.T) {
	e := newEstate(t)
	b := browse(t, e)
	b.signIn(e, "/", "alice")
	b.await(`[...document.querySelectorAll("textarea")].every(t => t.value.length > 5)`)
	want := b.eval(`JSON.stringify([...document.querySelectorAll("a, button, textarea")].filter(e => e.checkVisibility()).map(e => e.outerHTML.slice(0, 60)))`)
	var all, reached []string
	if err := json.Unmarshal([]byte(want), &all); err != nil {
		t.Fatal(err)
	}
	for range all {
		b.do("press Tab", chromedp.KeyEvent("\t"))
		reached = append(reached, b.eval("document.activeElement.outerHTML.slice(0, 60)"))
		if b.eval(`getComputedStyle(document.activeElement).outlineStyle`) == "none" {
			t.Errorf("nobody sees that %s has the focus", reached[len(reached)-1])
		}
	}
	if strings.Join(reached, "\n") != strings.Join(all, "\n") {
		t.Errorf("Tab reaches\n%s\nand there are\n%s", strings.Join(reached, "\n"), strings.Join(all, "\n"))
	}
}
