// Package authn answers one question: who is calling?
//
// An [Authenticator] turns a request into an [Identity], or into an error of
// one of four kinds: [ErrNone], [ErrInvalid], [ErrForbidden] and
// [ErrUnavailable]. [Bearer] reads access tokens (RFC 6750, RFC 9068),
// [Sessions] reads the cookie that [Login] set at the end of an OpenID Connect
// code flow, and [FirstOf] puts them in order.
//
// The package decides nothing about what a caller may do; package proxy does,
// on the Identity. It writes no refusal either: every failure is returned, and
// proxy is where the one function lives that answers a caller. It logs nothing.
package authn
