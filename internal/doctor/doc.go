// Package doctor compares the settings with reality: it asks everybody whom the
// proxy would ask, one question at a time, and says for each answer that is wrong
// what to do about it, with the command that does it.
//
// A [Check] is one question. [Upstream] returns those about what the proxy calls:
// the way there, the proxy's identity, its workspaces, and each route's endpoint
// and credential. Another list may stand beside it: [Run] takes all of them, asks
// at the same time what does not depend on another answer, and writes one line for
// each, in the order of the list.
//
// What depends on something that failed is skipped, so that one cause is one
// failure. Nothing is changed anywhere, and no model is called: the endpoints are
// asked for their description. No line holds a secret, nor anything that a scoring
// endpoint answered.
package doctor
