package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"
)

// C8: what one request may learn of another. Everything that is shared (the state of
// logins, remembered tokens, pooled connections, the fetches that many wait for) is
// used by many people at once, and nobody is anybody else.

// whoAmI returns whom the proxy takes a caller for, and whom the model was told of.
func (f *fort) whoAmI(client *http.Client, fields ...string) (told, marks string, err error) {
	a, err := f.send(client, door{"userinfo", http.MethodGet, "/oauth2/userinfo", false}, fields...)
	if err != nil {
		return "", "", err
	}
	var who struct {
		Sub    string   `json:"sub"`
		Groups []string `json:"groups"`
	}
	if err := json.Unmarshal([]byte(a.body), &who); err != nil || a.StatusCode != http.StatusOK {
		return "", "", fmt.Errorf("%d %s", a.StatusCode, a.body)
	}
	b, err := f.send(client, door{"grouped", http.MethodPost, "/models/grouped", false}, fields...)
	if err == nil && b.StatusCode != http.StatusOK {
		err = fmt.Errorf("%d %s", b.StatusCode, b.body)
	}
	return who.Sub, b.Header.Get(marked), err
}

func TestAHundredLoginsAtOnceNeverMix(t *testing.T) {
	f := newFort(t)
	var all sync.WaitGroup
	begin := make(chan struct{})
	for i := range crowded {
		name := fmt.Sprint("p", i)
		client, token := f.browser(t), f.token(t, name)
		all.Go(func() {
			<-begin
			if err := f.signIn(client, name); err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			for range 3 {
				for _, by := range []struct {
					client *http.Client
					fields []string
				}{{client, nil}, {f.bare, []string{"Authorization: Bearer " + token}}} {
					told, marks, err := f.whoAmI(by.client, by.fields...)
					if err != nil || told != "user-"+name || marks != told {
						t.Errorf("%s is taken for %q, and the model is told %q: %v", name, told, marks, err)
					}
				}
			}
		})
	}
	close(begin)
	all.Wait()
}

// FuzzTwoCallers: two people at once, with anything at all besides their own
// credentials, are themselves.
func FuzzTwoCallers(f *testing.F) {
	house := newFort(f)
	tokens := [2]string{house.token(f, "p1"), house.token(f, "p2")}
	cookie := house.cookie(f, house.signedIn(f, "ann"), "amlproxy").Value
	for _, s := range []string{"X-Forwarded-User: user-p1", "Cookie: amlproxy=" + cookie, "Connection: x-forwarded-user", "X-Request-Id: a", "Te: trailers", "Host: a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		var all sync.WaitGroup
		for i, token := range tokens {
			all.Go(func() {
				told, marks, err := house.whoAmI(house.bare, "Authorization: Bearer "+token, field)
				if err != nil {
					return // a field that nobody can send, or that is refused
				}
				if want := fmt.Sprint("user-p", i+1); told != want || marks != want {
					t.Errorf("%q: %s is taken for %q, and the model is told %q", field, want, told, marks)
				}
			})
		}
		all.Wait()
	})
}
