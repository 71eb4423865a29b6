// Package authntest is an OpenID provider for tests and for the demonstration: well
// behaved, and misbehaving on command.
//
// Underneath is the op package of github.com/zitadel/oidc, which is certified.
// Around it are what op leaves to its user (a store, in memory, and a login
// form without JavaScript) and what it lacks: the iss parameter of RFC 9207,
// form_post for errors too, a session of the browser with the provider, access
// tokens of the type of RFC 9068, and audiences that keep ID tokens and access
// tokens apart. Not here: the implicit and hybrid flows, device codes, private_key_jwt,
// consent, and anything that outlives the process.
//
//	p, err := authntest.Start(authntest.Options{
//		Users:     []authntest.User{{Name: "alice", Password: "wonderland", Groups: []string{"ml-users"}}},
//		Clients:   []authntest.Client{{ID: "web", Secret: "s3cret", RedirectURIs: []string{"http://127.0.0.1:8080/oauth2/callback"}}},
//		Audiences: []string{"api://models"},
//	})
//	defer p.Close()
//
// A [Fault] makes it misbehave, until it is undone or as often as it says:
//
//	undo := p.Misbehave(authntest.Refuse(authntest.Keys))
//	p.Misbehave(authntest.AlterIDToken(func(t *authntest.Token) { t.Claims["nonce"] = "other" }).Times(1))
//
// [Provider.Calls] counts, [Provider.RotateKey] rotates, [Provider.Sign] makes any
// token at all, and [SignIn] does what a person with a browser does.
//
// op logs refused requests to slog's default logger and knows no other way; a
// program that wants quiet sets that one.
package authntest
