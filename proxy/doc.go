// Package proxy is what a caller meets: the routes to models, the proxy's own
// endpoints, and every refusal.
//
// # The life of a request
//
// [Proxy.ServeHTTP] is one straight line, to be read as its own proof. Nothing is
// assembled elsewhere, and no step can be left out by configuration:
//
//  1. http.Server has limited the header section and its time. Of a message with
//     both Content-Length and Transfer-Encoding it takes the latter and drops the
//     former before anyone can look (RFC 9112 section 6.3), so that it cannot be
//     refused here; and it refuses lengths that differ and codings other than
//     chunked. That is relied on: what is forwarded is framed anew, by
//     http.Transport, so that no upstream sees both (request smuggling); and of a
//     connection on which there can be a doubt nothing more is read (framing.go).
//     The body has a deadline from the first (intake.go).
//  2. The target is read once (target.go). A path that two servers could read
//     differently is refused with 400, and what was authorised is byte for byte
//     what is forwarded, path and query. So is a malformed Host.
//  3. The route is chosen (table.go), by path and, where routes name hosts, by the
//     host that is asked for: one immutable value, which then decides access,
//     limits, transport and with it the credential. Nothing else that a caller sends
//     picks a credential.
//  4. CORS (cors.go): a preflight is answered here and never forwarded. Every
//     later answer, refusals included, carries the CORS fields.
//     Then 404 for a path and 405 for a method that the route does not take. Both
//     come before authentication: they follow from the request line and the
//     settings alone, tell nothing about the caller or the model, and need no
//     identity provider. That a route exists is no secret; what is behind it is.
//  5. authn turns the request into an identity or an error of one of four kinds.
//     Public routes skip 5 and 6, and look at no credential, good or bad: they are
//     for anyone at all, also while the provider is down. What credentials came
//     are removed in step 7 like everybody's.
//  6. A request that carries a session and comes from another site is refused
//     unless it is a plain navigation (csrf.go). Then the route's access rule
//     decides on the identity (access.go), then the limits (limits.go), and last
//     whoever has to put the request on record before it is sent (admit.go).
//  7. httputil.ReverseProxy with Rewrite (forward.go), which makes the header of
//     the request in one go (outbound.go): credentials, cookies, identity,
//     forwarding and deployment fields of the caller go, in every spelling.
//     "Connection:" tricks (RFC 9110 section 7.6.1) are powerless, because
//     everything of ours is added after hop-by-hop fields were removed.
//  8. The route's Transport sends the request; package upstream has one.
//  9. ModifyResponse: the upstream's cookies, challenges and CORS go; its other
//     fields, trailers and streams pass.
//     What streams ends with the session, or the rule, that let it in (ongoing.go).
//  10. One [Record]. Errors from 2 to 8 go through one function that writes
//     refusals (refusal.go).
//
// # What it refuses to do
//
// It reads no setting, writes no log, holds no credential for a model and knows
// no word of Azure. It parses no token and no cookie: package authn does. It
// never looks into a body, of a request or of an answer. It makes no call of its
// own: what reaches the outside goes through a route's Transport.
//
// Package internal/app calls it, with the routes that the settings describe.
package proxy
