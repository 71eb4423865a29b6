package proxy

import (
	"errors"
	"net/http"
	"strconv"
)

// The texts are for the caller.
var (
	errUpgrade = errors.New("a WebSocket begins with a GET of HTTP/1.1 that has no body")
	errLength  = errors.New("the Content-Length is not the one of the body")
)

// certain reports whether it is beyond doubt where r ends, for whoever brought it
// here as well. Of a message with both lengths net/http has dropped one unseen, and
// in HTTP/1.0 it knows no Transfer-Encoding; another proxy may have kept to the other
// one. What follows on such a connection could then be the middle of somebody's
// request, so that nothing may follow (RFC 9112 section 6.1: "MUST close the
// connection", which here is kept to for every message of which it might be true).
func certain(r *http.Request) bool {
	return r.ProtoMajor > 1 || r.ProtoMinor == 1 && len(r.TransferEncoding) == 0
}

// checkLength refuses a message of HTTP/2 whose Content-Length is more than one, no
// number, or of a body that does not come: there a length frames nothing, so that
// net/http looks at the first alone, and only while there is a body (RFC 9113 section
// 8.1.1).
func checkLength(r *http.Request) error {
	said := r.Header["Content-Length"]
	if r.ProtoMajor == 1 || len(said) == 0 || len(said) == 1 && said[0] == strconv.FormatInt(r.ContentLength, 10) {
		return nil
	}
	return errLength
}

// checkUpgrade refuses what opens no WebSocket but asks for one. Behind a body, or
// in a version without upgrades (RFC 9110 section 7.8), two servers could disagree
// about where the other protocol begins, and what would then be a request to the one
// is a message to the other.
func checkUpgrade(r *http.Request) error {
	if isWebSocket(r.Header) && (r.Method != http.MethodGet || r.Proto != "HTTP/1.1" || r.ContentLength != 0) {
		return errUpgrade
	}
	return nil
}
