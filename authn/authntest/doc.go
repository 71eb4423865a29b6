// Package authntest is an OpenID provider for tests and for the demonstration: well
// behaved, and misbehaving on command.
//
// Underneath is the op package of github.com/zitadel/oidc, which is certified.
// Around it are what op leaves to its user (a store, in memory, and a login
// form without JavaScript) and what it lacks: the iss parameter of RFC 9207, the
// response mode form_post for errors too, a session of the browser with the provider, JWT access tokens of
// the type of RFC 9068, and audiences that keep ID tokens and access tokens
// apart.
//
//	p, err := authntest.Start(authntest.Options{
//		Users:     []authntest.User{{Name: "alice", Password: "wonderland", Groups: []string{"ml-users"}}},
//		Clients:   []authntest.Client{{ID: "web", Secret: "s3cret", RedirectURIs: []string{"http://127.0.0.1:8080/oauth2/callback"}}},
//		Audiences: []string{"api://models"},
//	})
//	defer p.Close()
//
// A [Fault] makes it misbehave: p.Misbehave(authntest.Refuse(authntest.Keys)), or
// p.Misbehave(authntest.AlterIDToken(func(t *authntest.Token) { t.Claims["nonce"] = "other" })).
// [Provider.Calls] counts, [Provider.RotateKey] rotates, [Provider.Sign] makes any
// token at all, and [SignIn] does what a person with a browser does.
//
// op logs refused requests to slog's default logger and knows no other way; a
// program that wants quiet sets that one.
package authntest
