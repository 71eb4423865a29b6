package demo

import (
	"crypto/rand"
	"encoding/base64"

	"amlproxy/authn/authntest"
)

// Names that the demo uses and the README shows.
const (
	groupUsers  = "ml-users"
	groupAdmins = "ml-admins"

	clientProxy = "amlproxy"
	// ClientJob is the machine client: a program that calls models on its own behalf.
	ClientJob = "batch-job"
	audience  = "api://amlproxy-demo"
)

// An Account is somebody who can sign in, or a program that can get a token.
// The secrets are made up at each start and printed, so none is a default that
// could be left in place anywhere.
type Account struct {
	Name, Secret string
	Groups       []string
	says         string // of it, in the banner
}

func newAccounts() (people []Account, job Account) {
	people = []Account{
		{Name: "alice", Groups: []string{groupUsers, groupAdmins}, says: "may call every model"},
		{Name: "bob", Groups: []string{groupUsers}, says: "may call diabetes and digits"},
		{Name: "eve", says: "may call none"},
	}
	for i := range people {
		people[i].Secret = password()
	}
	return people, Account{Name: ClientJob, Secret: rand.Text()}
}

// password is short enough to type and long enough for an afternoon: 50 bits.
func password() string { return rand.Text()[:5] + "-" + rand.Text()[:5] }

// cookieSecret is what AMLPROXY_COOKIE_SECRET wants.
func cookieSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, as crypto/rand documents
	return base64.StdEncoding.EncodeToString(key)
}

func users(people []Account) []authntest.User {
	list := make([]authntest.User, len(people))
	for i, a := range people {
		list[i] = authntest.User{
			Name: a.Name, Password: a.Secret, FullName: title(a.Name),
			Email: a.Name + "@example.com", EmailVerified: true, Groups: a.Groups,
		}
	}
	return list
}

// title returns a lower-case ASCII name with its first letter in upper case.
func title(name string) string { return string(name[0]-'a'+'A') + name[1:] }
