// Package authn answers one question: who is calling?
//
// An [Authenticator] turns a request into an [Identity], or into an error of
// one of four kinds: [ErrNone], [ErrInvalid], [ErrForbidden] and
// [ErrUnavailable]. [Bearer] reads access tokens (RFC 6750, RFC 9068),
// [Sessions] reads the cookie that [Login] set at the end of an OpenID Connect
// code flow, and [FirstOf] puts them in order: the bearer first, so that a bad
// one is never made good by a cookie.
//
// The package decides nothing about what a caller may do; package proxy does,
// on the Identity. It writes no refusal either: every failure is returned, and
// proxy is where the one function lives that answers a caller. It logs nothing.
//
// # Tokens
//
// A token is judged in a straight line, [Bearer.Authenticate] and what it calls:
// its form, its issuer, the signature, what kind of token it is, audience, time,
// subject, tenant. Claims are compared with their exact names, and a name that
// is there twice ends the matter. Only asymmetric algorithms exist; keys come
// from where the issuer's metadata says and from nowhere a token names. The same
// holds for the ID token of a login, with nonce, azp, iat and at_hash besides.
//
// # Providers
//
// A provider may be down, slow, enormous or wrong at any time. Nothing is
// fetched before it is needed; one fetch serves all who wait, and none of them
// can end it for the others; each ends after 15 s and 1 MiB, and follows no
// redirect. Keys once fetched serve until newer ones are, which are asked for every
// 5 minutes, and for key identifiers never seen at most twice in 10 s. "Cannot be
// found out now" is never said as "invalid", nor the other way round.
//
// # Cookies
//
// The session and each login on its way are sealed cookies: AES-256-GCM under a
// key derived for the one purpose, with version, expiry and cookie name
// authenticated. Without Redis there is no store: what was ended before its time
// is known to the process that was told, and elsewhere a copy of the cookie works
// until it is idle. With Redis the cookie holds a sealed identifier, and Redis the
// session, sealed too.
//
// # Renewal
//
// Claims older than the refresh time are renewed through the refresh token, which
// often works once only. One renewal of a session runs at a time, in this process
// and, with Redis, in all; it is detached from whoever asked first, and what came
// of it serves those who still come with the old cookie. A provider in trouble ends
// no session; one that refuses the refresh token does.
//
// Values of an Identity are what the provider wrote, control characters, commas
// and all. Whoever puts one into a header, a page or a log encodes it there.
package authn
