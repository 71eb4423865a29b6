package proxy_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"amlproxy/proxy"
)

// placesOfRoutes are of routes with different rules, one of them inside of another.
var placesOfRoutes = map[string]string{
	"open": "/models/open", "inner": "/models/open/inner", "secret": "/models/secret", "team": "/team",
}

// folderOfModel begins the folder that the model of each route is in.
const folderOfModel = "/api/v1/service/"

// TestEverybodyReadsTheSamePath is C1, differentially: of more than a thousand
// targets, none is forwarded by one route that nginx, Python or Go's mux would look
// for in another; nor is what is forwarded outside of the model's folder to any.
func TestEverybodyReadsTheSamePath(t *testing.T) {
	up := record(t, "")
	var routes []proxy.Route
	for name, path := range placesOfRoutes {
		routes = append(routes, proxy.Route{Name: name, Path: path, Public: name != "secret", Paths: []string{"*"}, Transport: to(t, "http://"+up.listener.Addr().String()+folderOfModel+name+"/score")})
	}
	h := open(t, proxy.Config{Routes: routes})
	nginx := startNginx(t)
	mux := http.NewServeMux()
	for _, path := range placesOfRoutes {
		mux.Handle(path, http.NotFoundHandler())
		mux.Handle(path+"/", http.NotFoundHandler())
	}

	type forwarded struct{ target, route, upstream string }
	var all []forwarded
	corpus := targets()
	for _, target := range corpus {
		status := h.raw(t, "GET "+target+" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer alice\r\n\r\n")
		head, _ := up.last(t)
		if head == "" {
			if status/100 == 2 && !strings.HasPrefix(target, "/?") { // the list of models
				t.Errorf("%q: %d without a model", target, status)
			}
			continue
		}
		upstream := strings.Split(head, " ")[1]
		route, _, _ := strings.Cut(strings.TrimPrefix(upstream, folderOfModel), "/")
		all = append(all, forwarded{target, route, upstream})
	}
	var asked []string
	for _, f := range all {
		asked = append(asked, f.target, f.upstream)
	}
	python := inPython(t, asked)
	for i, f := range all {
		for _, reading := range python[2*i] {
			if got := routeAt(reading); got != f.route {
				t.Errorf("%q was forwarded by %q, and Python reads %q, of %q", f.target, f.route, reading, got)
			}
		}
		for _, reading := range python[2*i+1] {
			if own := folderOfModel + f.route; reading != own && !strings.HasPrefix(reading, own+"/") {
				t.Errorf("%q was forwarded as %q, and Python reads %q there", f.target, f.upstream, reading)
			}
		}
		if status, got := nginx.ask(t, f.target); status == http.StatusOK && got != f.route {
			t.Errorf("%q was forwarded by %q, and nginx reads a path of %q", f.target, f.route, got)
		}
		if status, got := nginx.ask(t, f.upstream); status == http.StatusOK && got != "model-"+f.route {
			t.Errorf("%q was forwarded as %q, and nginx reads a path of %q there", f.target, f.upstream, got)
		}
		if got := inMux(t, mux, f.target); got != f.route {
			t.Errorf("%q was forwarded by %q, and Go's mux reads a path of %q", f.target, f.route, got)
		}
	}
	t.Logf("%d targets, %d of them forwarded", len(corpus), len(all))
	if len(corpus) < 1000 || len(all) < 100 {
		t.Error("too few to prove anything")
	}
}

// routeAt is the rule: the longest path that is path or a whole-segment prefix of it.
func routeAt(path string) string {
	best, name := "", ""
	for n, p := range placesOfRoutes {
		if (path == p || strings.HasPrefix(path, p+"/")) && len(p) > len(best) {
			best, name = p, n
		}
	}
	return name
}

// targets are made of paths of routes with something odd at every place, and of
// ways from one route into another.
func targets() []string {
	odd := []string{
		"", "/", "//", "/.", "/./", "/..", "/../", ".", "..", "%2e", "%2E%2e", "%2f", "%2F", "%5c", "\\", ";", ";x=1", "..;/", "%3b", "%00", "%09", "%0a", "%20", "%25", "%252f", "%252e",
		"?", "?/../", "#", "%23", "%3f", "%c0%af", "%c0%ae", "%e0%80%af", "%f0%80%80%af", "%ef%bc%8f", "%ef%bc%8e", "%e2%88%95", "%e2%81%84", "%ff", "%", "%2", "%zz", "%u002f", "+", "*", "~", "%7e", "%41", "\x80", "\xc3\xa9", "%c3%a9", "!", "$", "&", "'", "(", ",", "=", ":", "@", "|", "{", "\"", "%E2%80%8B",
	}
	var all []string
	for _, base := range []string{"/models/open/score", "/models/open/inner/score", "/models/secret/score", "/team"} {
		for at := 1; at <= len(base); at++ {
			for _, o := range odd {
				if at == len(base) || base[at] == '/' || base[at-1] == '/' || len(all)%7 == 0 {
					all = append(all, base[:at]+o+base[at:])
				}
			}
			if at < len(base) { // a character in another spelling
				c := base[at]
				all = append(all, fmt.Sprintf("%s%%%02x%s", base[:at], c, base[at+1:]), fmt.Sprintf("%s%%25%02X%s", base[:at], c, base[at+1:]),
					base[:at]+strings.ToUpper(string(c))+base[at+1:], fmt.Sprintf("%s%%ef%%bc%%%02x%s", base[:at], c-0x20+0x80, base[at+1:]))
			}
		}
	}
	for _, from := range []string{"/models/open", "/models/open/inner", "/team"} {
		for _, o := range odd {
			all = append(all, from+"/"+o+"/secret", from+"/"+o+o+"/models/secret", from+o+"models"+o+"secret", from+"/x"+o+"../../secret/score",
				from+"/.."+o+"secret", from+"/"+o+"../secret", from+"/%2e%2e"+o+"secret", from+"/score?x="+o+"/../secret", from+"/a"+o+"b")
		}
	}
	all = append(all, "*", "models/secret", "http://x/models/secret", "http:/models/secret", "//x/models/secret", "/\\x/models/secret", "x:80", "/models/open/http://x/models/secret")
	slices.Sort(all)
	return slices.Compact(all)
}

// inPython returns all that Python's standard library makes of each target's path.
func inPython(t *testing.T, targets []string) [][]string {
	t.Helper()
	const script = `
import json, posixpath, sys, unicodedata
from urllib.parse import unquote, urlparse, urlsplit
answers = []
for target in json.load(sys.stdin):
    paths = {target.partition("?")[0], urlsplit(target).path, urlparse(target).path}
    for read in (unquote, lambda p: unquote(p, "latin-1"), lambda p: unquote(unquote(p)), posixpath.normpath, lambda p: unicodedata.normalize("NFKC", p)):
        paths |= {read(p) for p in paths}
    paths |= {posixpath.normpath(p) for p in paths}
    answers.append(sorted(paths))
json.dump(answers, sys.stdout)
`
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Fatalf("make deps installs Python: %v", err)
	}
	in, err := json.Marshal(targets)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, "-c", script)
	cmd.Stdin = bytes.NewReader(in)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, &failed)
	}
	var readings [][]string
	if err := json.Unmarshal(out, &readings); err != nil || len(readings) != len(targets) {
		t.Fatalf("%d answers of %d: %v", len(readings), len(targets), err)
	}
	return readings
}

// inMux returns the route whose pattern Go's mux takes, after the redirect that it
// may make.
func inMux(t *testing.T, mux *http.ServeMux, target string) string {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")))
	if err != nil {
		return err.Error()
	}
	_, pattern := mux.Handler(r)
	return routeAt(strings.TrimSuffix(pattern, "/"))
}

// An nginx answers with the name of the route whose location it takes.
type nginx string

func startNginx(t *testing.T) nginx {
	t.Helper()
	program, err := exec.LookPath("nginx")
	if err != nil {
		t.Fatalf("make deps installs nginx: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	_ = l.Close()
	dir := t.TempDir()
	var b strings.Builder
	location := func(path, says string) {
		fmt.Fprintf(&b, "location = %s { return 200 %s; }\nlocation %s/ { return 200 %s; }\n", path, says, path, says)
	}
	for name, path := range placesOfRoutes {
		location(path, name)
		location(folderOfModel+name, "model-"+name)
	}
	conf := fmt.Sprintf("daemon off;\nuser root;\npid %[1]s/pid;\nerror_log stderr;\nevents {}\nhttp {\naccess_log off;\n"+
		"client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;\n"+
		"server { listen %[2]s;\n%[3]slocation / { return 200 nobody; }\n}\n}\n", dir, at, &b)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", file)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if c, err := net.Dial("tcp", at); err == nil {
			_ = c.Close()
			return nginx(at)
		}
		if time.Now().After(deadline) {
			t.Fatalf("nginx does not listen: %s", &said)
		}
	}
}

func (n nginx) ask(t *testing.T, target string) (status int, says string) {
	t.Helper()
	c, err := net.Dial("tcp", string(n))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "GET "+target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%q: %v", target, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}
