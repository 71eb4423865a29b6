package proxy_test

import "strings"

// A sequence is what one caller writes into one connection. {post} and {get} begin a
// request that its route lets in, {open} one that nobody is let in with; {smuggled}
// is a whole request that must never reach the upstream, and {n} is its length.
// Behind the sequence comes {last}, a good request.
//
// want are the statuses of the answers, in their order. 200 alone means that the
// connection was closed behind it, and {last} was not read.
type sequence struct{ bytes, want string }

const smuggled = "GET /models/grouped/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"

const chunkedEnd = "0\r\n\r\n"

// sequences are by class; each list by what it does to a message.
func sequences() map[string][]sequence {
	return map[string][]sequence{
		"both lengths (RFC 9112 section 6.3)": {
			{"{post}Content-Length: {n}\r\nTransfer-Encoding: chunked\r\n\r\n" + chunkedEnd + "{smuggled}", "200"},
			{"{post}Transfer-Encoding: chunked\r\nContent-Length: {n}\r\n\r\n" + chunkedEnd + "{smuggled}", "200"},
			{"{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + chunkedEnd, "200"},
			{"{post}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n" + chunkedEnd + "{smuggled}", "200"},
			{"{post}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}" + chunkedEnd, "200"},
			{"{post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{chunk}" + chunkedEnd, "200"},
			{"{post}transfer-encoding: CHUNKED\r\ncontent-length: 4\r\n\r\n{chunk}" + chunkedEnd, "200"},
			{"{post}Transfer-Encoding:\tchunked \r\nContent-Length: 4\r\n\r\n{chunk}" + chunkedEnd, "200"},
			{"{get}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{chunk}" + chunkedEnd, "200"},
			{"{post}Transfer-Encoding: chunked\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n{chunk}" + chunkedEnd, "400"},
			{"{post}Transfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n{chunk}" + chunkedEnd, "400"},
			{"{open}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{chunk}" + chunkedEnd, "401"},
			{"{post}Transfer-Encoding: chunked\r\n\r\n{chunk}" + chunkedEnd + "{smuggled}", "200"},
		},
		"codings that one server knows and another does not": append(each(
			"{post}Content-Length: 4\r\n%\r\n\r\n{chunk}"+chunkedEnd, "501",
			"Transfer-Encoding: xchunked", "Transfer-Encoding: identity", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity, chunked",
			"Transfer-Encoding: chunked, chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, gzip", "Transfer-Encoding: chunked;q=1",
			"Transfer-Encoding: \"chunked\"", "Transfer-Encoding: 'chunked'", "Transfer-Encoding: ,chunked", "Transfer-Encoding: chunked,",
			"Transfer-Encoding:", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
			"Transfer-Encoding: x\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chun\r\n ked", "Transfer-Encoding: \r\n chunked\r\n\tx", "Transfer-Encoding: chunk\xc3\xa9d",
			"Transfer-Encoding: chunked\xa0", "Transfer-Encoding: cow", "Transfer-Encoding: deflate",
		), each("{post}Content-Length: 4\r\n%\r\n\r\n{chunk}"+chunkedEnd, "400",
			"Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked", "Transfer-Encoding: \x0bchunked", "Transfer-Encoding: chunked\x0b", "Transfer-Encoding: \x00chunked",
			"Transfer-Encoding: chunked\x00", "Transfer-Encoding\x00: chunked", "Transfer-Encoding\x0b: chunked", "\x0bTransfer-Encoding: chunked", "Transfer-Encoding\r\n: chunked",
			"X: y\rTransfer-Encoding: chunked", "Transfer-Encoding: chunked\rX: y", "Transfer-Encoding: \x7fchunked", "Transfer-Encoding: chunked\x1f", "Transfer\x00-Encoding: chunked",
			": chunked", "Transfer-Encoding", "Transfer-Encoding;: chunked", "Transfer-Encoding\xa0: chunked",
		)...),
		"a coding hidden in another field": {
			{"{post}Content-Length: 0\r\nX: y\r\n Transfer-Encoding: chunked\r\n\r\n", "200 200"}, // obs-fold: it belongs to X
			{"{post}Content-Length: 0\r\nTransfer_Encoding: chunked\r\n\r\n", "200 200"},
			{"{post}Content-Length: 0\r\nX-Transfer-Encoding: chunked\r\n\r\n", "200 200"},
			{"{post}Content-Length: 0\r\nTE: chunked\r\nConnection: TE\r\n\r\n", "200 200"},
			{"{post}Content-Length: 0\r\nConnection: Content-Length, Transfer-Encoding, Host\r\n\r\n", "200 200"},
			{"{post}Content-Length: {n}\r\nConnection: content-length\r\n\r\n{smuggled}", "200 200"},
			{"{post}Content-Length: 0\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n" + chunkedEnd + "{smuggled}", "200"}, // LF ends a line (section 2.2)
			{"{path} HTTP/1.1\r\n Transfer-Encoding: chunked\r\nHost: x\r\n\r\n" + chunkedEnd, "400"},
			{"{path} HTTP/1.1\r\n\tHost: x\r\n\r\n", "400"},
		},
		"lengths": append(append(each("{post}%\r\n\r\n{smuggled}", "400",
			"Content-Length: 4, 4", "Content-Length: 4,{n}", "Content-Length: 4\r\nContent-Length: {n}", "Content-Length: {n}\r\nContent-Length: 4", "Content-Length: 0\r\nContent-Length: {n}",
			"Content-Length: +{n}", "Content-Length: -{n}", "Content-Length: -0", "Content-Length: 0x4", "Content-Length: 4.0", "Content-Length: 4e0", "Content-Length: 4 4",
			"Content-Length: 4;", "Content-Length: \"4\"", "Content-Length: 4_0", "Content-Length: \xd9\xa4", "Content-Length: 99999999999999999999", "Content-Length: 18446744073709551616",
			"Content-Length: 9223372036854775808", "Content-Length: 4\x00", "Content-Length: \x0b4", "Content-Length : 4", "Content-Length\x00: 4", "Content-Length: 4\r\n 5", "Content-Length: 4\r5",
			"Content-Length: chunked", "Content-Length:", "Content-Length: ", "Content-Length: 4\r\ncontent-length: 5",
		), each("{post}%\r\n\r\n{smuggled}", "200 200",
			"Content-Length: {n}", "Content-Length: 0{n}", "Content-Length:{n}", "Content-Length: \t{n} \t", "Content-Length: {n}\r\nContent-Length: {n}", "content-LENGTH: {n}",
			"Content_Length: 4\r\nContent-Length: {n}", "X-Content-Length: 4\r\nContent-Length: {n}",
		)...),
			// A request that says nothing about a body has none: what follows is the next.
			sequence{"{post}Content_Length: {n}\r\n\r\n{smuggled}", "200 401 200"},
			sequence{"{post}X: Content-Length: {n}\r\n\r\n{smuggled}", "200 401 200"},
			sequence{"{get}\r\n{smuggled}", "200 401 200"},
			sequence{"{get}Content-Length: {n}\r\n\r\n{smuggled}", "200 200"},
			sequence{"HEAD {path} HTTP/1.1\r\nHost: x\r\n{pass}Content-Length: {n}\r\n\r\n{smuggled}", "405 200"},
			sequence{"DELETE {path} HTTP/1.1\r\nHost: x\r\n{pass}Content-Length: {n}\r\n\r\n{smuggled}", "405 200"},
			// Of a body that does not come to its end nothing is made.
			sequence{"{post}Content-Length: 100000\r\n\r\n{smuggled}", "408"},
			sequence{"{post}Content-Length: 70000000\r\n\r\n{smuggled}", "413"},
		),
		"ends of lines": {
			{"POST {path} HTTP/1.1\nHost: x\n{passlf}Content-Length: {n}\n\n{smuggled}", "200 200"},
			{"{post}Content-Length: {n}\r\n\n{smuggled}", "200 200"},
			{"{post}Content-Length: {n}\n\r\n{smuggled}", "200 200"},
			{"{post}X: y\r\r\nContent-Length: 0\r\n\r\n", "400"},
			{"{post}X: a\rb\r\nContent-Length: 0\r\n\r\n", "400"},
			{"{post}Content-Length: 0\r\r\n\r\r\n{smuggled}", "400"},
			{"{post}X: y\r\rGET /models/grouped/smuggled HTTP/1.1\r\n\r\n", "400"},
			{"POST {path} HTTP/1.1\rHost: x\r\rGET /models/grouped/smuggled HTTP/1.1\r\n\r\n", "400"},
			{"POST {path}\r HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
			{"POST {path} HTTP/1.1\r\r\nHost: x\r\n\r\n", "400"},
			{"\r\n{post}Content-Length: 0\r\n\r\n", "400"},
			{"\n\n{get}\r\n", "400"},
			{"{post}Content-Length: 0\r\n\r\n\r\n\r\n", "200 200"}, // for old clients
			{"{get}\r\n\r\n{smuggled}", "200 400"},
			{"{post}X: a\r\n\r\nb\r\n\r\n", "200 400"},
			{"{post}X: a\x0c\r\n\r\n", "400"},
			{"{post}X: a\x00b\r\n\r\n", "400"},
			{"{post}X\x00: b\r\n\r\n", "400"},
			{"{post}X: a\u2028\r\nContent-Length: 0\r\n\r\n", "200 200"},
		},
		"chunks": append(append(each("{post}Transfer-Encoding: chunked\r\n\r\n%{smuggled}", "400",
			"0x5\r\nhello\r\n"+chunkedEnd, "+5\r\nhello\r\n"+chunkedEnd, "-1\r\nhello\r\n"+chunkedEnd, "g\r\nhello\r\n"+chunkedEnd, "\r\nhello\r\n"+chunkedEnd, "5 5\r\nhello\r\n"+chunkedEnd,
			"\t5\r\nhello\r\n"+chunkedEnd, "00000000000000005\r\nhello\r\n"+chunkedEnd, "10000000000000005\r\nhello\r\n"+chunkedEnd, "FFFFFFFFFFFFFFFFF\r\nhello\r\n"+chunkedEnd,
			"5\nhello\r\n"+chunkedEnd, "5\rhello\r\n"+chunkedEnd, "5;a\nb\r\nhello\r\n"+chunkedEnd, "5;a\rb\r\nhello\r\n"+chunkedEnd, "5\r\nhello\n"+chunkedEnd, "5\r\nhello\r"+chunkedEnd,
			"5\r\nhello"+chunkedEnd, "4\r\nhello\r\n"+chunkedEnd, "6\r\nhello\r\n"+chunkedEnd, "5\r\n\r\nhello\r\n"+chunkedEnd, "5,\r\nhello\r\n"+chunkedEnd, "5\x00\r\nhello\r\n"+chunkedEnd,
			"5_\r\nhello\r\n"+chunkedEnd, "\xd9\xa5\r\nhello\r\n"+chunkedEnd, "0\n\r\n", "0\r\rX", "5 ;a\r\nhello\r\n"+chunkedEnd, "1\r\nZ\r\nQ\r\n\r\n", "2\r\nZ\r\n"+chunkedEnd,
			"5;"+strings.Repeat("x", 20_000)+"\r\nhello\r\n"+chunkedEnd, "0\r\nX\r\n\r\n", "0\r\n: y\r\n\r\n", "0\r\nX: a\x00b\r\n\r\n",
			strings.Repeat("1;"+strings.Repeat("y", 4000)+"\r\na\r\n", 20)+chunkedEnd,
		), each("{post}Transfer-Encoding: chunked\r\n\r\n%{smuggled}", "200",
			"5\r\nhello\r\n"+chunkedEnd, "05\r\nhello\r\n"+chunkedEnd, "5;a=b\r\nhello\r\n"+chunkedEnd, "5;a=\"\\\"b\"\r\nhello\r\n"+chunkedEnd, "5 \r\nhello\r\n"+chunkedEnd,
			"0;a\r\n\r\n", "0\r\n\n", "0\r\nX : y\r\n\r\n", "00\r\n\r\n", "A\r\n0123456789\r\n"+chunkedEnd, "a\r\n0\r\n\r\nGET /\r\n"+chunkedEnd,
			"0\r\nContent-Length: {n}\r\n\r\n", "0\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\nHost: y\r\n\r\n", "0\r\nAuthorization: Bearer y\r\n\r\n", "0\r\nX: y\r\n z\r\n\r\n", "0\r\nX_Forwarded-User: root\r\n\r\n",
			"0\r\nTrailer: X\r\nContent-Encoding: gzip\r\n\r\n",
		)...), append(each("{post}Transfer-Encoding: chunked\r\n\r\n%", "400", "5", "5\r\nhe", "0\r", "0\r\nX: y\r\n", "5\r\n"), each("{post}Transfer-Encoding: chunked\r\n\r\n%", "408", "fffffffffffffff\r\nhello\r\n")...)...),
		"forms of the target": each("%", "400",
			"GET models/public HTTP/1.1\r\nHost: x\r\n\r\n", "GET /models/public smuggled HTTP/1.1\r\nHost: x\r\n\r\n", "GET  /models/public HTTP/1.1\r\nHost: x\r\n\r\n", "GET\t/models/public\tHTTP/1.1\r\nHost: x\r\n\r\n",
			" GET /models/public HTTP/1.1\r\nHost: x\r\n\r\n", "G(ET /models/public HTTP/1.1\r\nHost: x\r\n\r\n", "GET /models/public\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
			"GET /models/public HTTP/1.1 \r\nHost: x\r\n\r\n", "GET /models/public http/1.1\r\nHost: x\r\n\r\n", "GET /models/public HTTP/01.1\r\nHost: x\r\n\r\n", "GET /models/public HTTP/1.1x\r\nHost: x\r\n\r\n",
			"GET /models/public\r\nHost: x\r\n\r\n", "GET /models/public\r\n", "/models/public HTTP/1.1\r\nHost: x\r\n\r\n", "GET /models/public HTTP/-1.1\r\nHost: x\r\n\r\n", "GET HTTP/1.1\r\nHost: x\r\n\r\n",
		),
		// Each is a whole message, refused for what it asks: the next is read.
		"what is asked for": each("%", "400 200",
			"GET http://evil.example/models/public/smuggled HTTP/1.1\r\nHost: x\r\n\r\n", "GET http://x/models/public/smuggled HTTP/1.1\r\nHost: x\r\n\r\n", "GET //models/public/smuggled HTTP/1.1\r\nHost: x\r\n\r\n",
			"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "GET /models/public%00 HTTP/1.1\r\nHost: x\r\n\r\n", "GET /models/public HTTP/1.1\r\nHost:\r\n\r\n",
		),
		"versions": append(each("GET /models/public % \r\nHost: x\r\n\r\n", "400", "HTTP/1.1"), each("GET /models/public %\r\nHost: x\r\n\r\n", "505", "HTTP/0.9", "HTTP/2.0", "HTTP/3.0")...),
		"who is asked": each("%", "400",
			"GET /models/public HTTP/1.1\r\n\r\n", "GET /models/public HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", "GET /models/public HTTP/1.1\r\nHost: x\r\nhost: y\r\n\r\n", "GET /models/public HTTP/1.1\r\nHost: x y\r\n\r\n",
			"GET /models/public HTTP/1.1\r\nHost: x, y\r\n\r\n", "GET /models/public HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", "GET /models/public HTTP/1.1\r\nHost : x\r\n\r\n", "GET /models/public HTTP/1.1\r\nHost: x/models\r\n\r\n",
			"GET /models/public HTTP/1.1\r\nHost: x\x00\r\n\r\n", "GET /models/public HTTP/1.0\r\n\r\n",
		),
		"behind a refusal": {
			{"{open}Content-Length: {n}\r\n\r\n{smuggled}", "401 200"},
			{"{open}Content-Length: {n}\r\n\r\n{smuggled}{smuggled}", "401 401 200"},
			{"{open}Content-Length: 90000\r\n\r\n{smuggled}", "401"},
			{"{open}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + chunkedEnd + "{smuggled}", "401"},
			{"{open}Transfer-Encoding: chunked\r\n\r\nnonsense{smuggled}", "401"},
			{"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: {n}\r\n\r\n{smuggled}", "404 200"},
			{"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: {n}\r\n\r\n{smuggled}", "405 200"},
			{"GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: {n}\r\n\r\n{smuggled}", "200 200"},
			{"GET /readyz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: {n}\r\n\r\n" + chunkedEnd + "{smuggled}", "200"},
			{"GET /oauth2/userinfo HTTP/1.1\r\nHost: x\r\nContent-Length: {n}\r\n\r\n{smuggled}", "401 200"},
			{"OPTIONS {path} HTTP/1.1\r\nHost: x\r\nOrigin: https://a\r\nAccess-Control-Request-Method: POST\r\nContent-Length: {n}\r\n\r\n{smuggled}", "204 200"},
			{"OPTIONS {path} HTTP/1.1\r\nHost: x\r\nOrigin: https://a\r\nAccess-Control-Request-Method: POST\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}" + chunkedEnd + "{smuggled}", "204"},
			{"POST /models/public/..%2f HTTP/1.1\r\nHost: x\r\nContent-Length: {n}\r\n\r\n{smuggled}", "400 200"},
			{"{get}\r\n{smuggled}{get}\r\n", "200 401 200 200"},
			{"{smuggled}{smuggled}{smuggled}", "401 401 401 200"},
			{"GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n{smuggled}", "431"},
			{"CONNECT {path} HTTP/1.1\r\nHost: x\r\n\r\n{smuggled}", "405 401 200"},
			{"CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n{smuggled}", "400 401 200"},
			{"TRACE {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {n}\r\n\r\n{smuggled}", "405 200"},
		},
		"expectations": {
			{"{post}Expect: 100-continue\r\nContent-Length: {n}\r\n\r\n{smuggled}", "100 200 200"},
			{"{post}expect: 100-CONTINUE\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}" + chunkedEnd + "{smuggled}", "100 200"},
			{"{open}Expect: 100-continue\r\nContent-Length: {n}\r\n\r\n{smuggled}", "401"},
			{"{open}Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n" + chunkedEnd + "{smuggled}", "401"},
			{"{post}Expect: 200-ok\r\nContent-Length: {n}\r\n\r\n{smuggled}", "417"},
			{"{post}Expect: 100-continue, x\r\nContent-Length: {n}\r\n\r\n{smuggled}", "100 200 200"},
			{"{post}Expect: 100-continue\r\nExpect: x\r\nContent-Length: {n}\r\n\r\n{smuggled}", "100 200 200"},
			{"{post}Expect:\r\nContent-Length: {n}\r\n\r\n{smuggled}", "200 200"},
			{"{get}Expect: 100-continue\r\n\r\n{smuggled}", "200 401 200"},
			{"POST /nothing HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n{smuggled}", "404"},
		},
		"upgrades": {
			{"{get}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n{smuggled}", "200 401 200"},
			{"{post}Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: {n}\r\n\r\n{smuggled}", "200 200"},
			{"{get}Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n\r\n{smuggled}", "200 401 200"},
			{"{get}Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n\r\n{smuggled}", "200 401 200"},
			{"{get}Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n\r\n{smuggled}", "200 401 200"},
			{"{get}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\n\r\n{smuggled}", "200 401 200"}, // refused by the upstream: no tunnel
			{"{get}Upgrade: websocket\r\n\r\n{smuggled}", "200 401 200"},
			{"{get}Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: {n}\r\n\r\n{smuggled}", "400"},
			{"{get}Connection: Upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n\r\n" + chunkedEnd + "{smuggled}", "400"},
			{"{post}Connection: Upgrade\r\nUpgrade: WebSocket\r\nContent-Length: {n}\r\n\r\n{smuggled}", "400"},
			{"{post}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n{smuggled}", "400"},
			{"{get}Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n{smuggled}", "200 401 200"},
			{"{get}Connection: keep-alive, Upgrade\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n\r\n{smuggled}", "200 401 200"},
			{"{open}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n{smuggled}", "400"},
			{"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n{smuggled}", "401 401 200"},
			{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{smuggled}", "400"},
			{"GET {path} HTTP/1.0\r\nHost: x\r\n{pass}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n{smuggled}", "400"},
		},
		"HTTP/1.0": {
			{"GET {path} HTTP/1.0\r\nHost: x\r\n{pass}\r\n{smuggled}", "200"},
			{"GET {path} HTTP/1.0\r\nHost: x\r\n{pass}Connection: keep-alive\r\n\r\n{smuggled}", "200"},
			{"POST {path} HTTP/1.0\r\nHost: x\r\n{pass}Connection: keep-alive\r\nContent-Length: {n}\r\n\r\n{smuggled}", "200"},
			{"POST {path} HTTP/1.0\r\nHost: x\r\n{pass}Connection: keep-alive\r\n\r\n{smuggled}", "200"},
			{"POST {path} HTTP/1.0\r\nHost: x\r\n{pass}Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}" + chunkedEnd, "200"},
			{"POST {path} HTTP/1.0\r\nHost: x\r\n{pass}Connection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{chunk}" + chunkedEnd, "200"},
			{"POST {path} HTTP/1.0\r\nHost: x\r\n{pass}Connection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: {n}\r\n\r\n{smuggled}", "200"},
			{"GET {path} HTTP/1.9\r\nHost: x\r\n{pass}Transfer-Encoding: chunked\r\n\r\n" + chunkedEnd + "{smuggled}", "200"},
		},
	}
}

// each returns the sequences that form makes with each of the parts in place of %.
func each(form, want string, parts ...string) []sequence {
	all := make([]sequence, len(parts))
	for i, part := range parts {
		all[i] = sequence{strings.Replace(form, "%", part, 1), want}
	}
	return all
}
