package config

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
)

// An environment is what of the environment is ours, after the pass that the
// env library does not make: it skips empty values, unknown names and gaps in
// numbers without a word.
type environment struct {
	*report
	table    []setting
	known    map[string]setting // by name, the numbered ones with n
	values   map[string]string  // by name; secrets from files are under their own name
	seen     map[string]bool    // names that were there, with a usable value or not
	fromFile map[string]bool    // names of secrets whose …_FILE was set
	counts   map[string]int     // of each family
}

// readEnviron sorts out the names. What it finds wrong is reported and left out.
func readEnviron(environ []string, r *report) *environment {
	e := &environment{
		report: r, table: table(), known: map[string]setting{},
		values: map[string]string{}, seen: map[string]bool{}, fromFile: map[string]bool{}, counts: map[string]int{},
	}
	for _, s := range e.table {
		e.known[s.name] = s
	}
	raw := e.collect(environ)
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		e.take(name, raw[name], raw)
	}
	for _, family := range []string{routesFamily, issuersFamily} {
		e.counts[family] = e.count(family, raw)
	}
	return e
}

// collect returns what could be ours. A name set twice is a mistake: which of
// the two counts depends on who reads.
func (e *environment) collect(environ []string) map[string]string {
	raw := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if _, ok := e.lookup(name); !ok && !strings.HasPrefix(name, Prefix) {
			continue
		}
		if injected.MatchString(name) {
			continue
		}
		if _, twice := raw[name]; twice {
			e.add(show(name), "is set twice: set it once")
		}
		raw[name] = value
	}
	return raw
}

// lookup reports whether a name is that of a setting, and whether it is the …_FILE
// of a secret.
func (e *environment) lookup(name string) (file, ok bool) {
	generic := name
	if m := numbered.FindStringSubmatch(name); m != nil {
		if n, err := strconv.Atoi(m[2]); err != nil || strconv.Itoa(n) != m[2] {
			return false, false
		}
		generic = m[1] + "n_" + m[3]
	}
	if _, ok = e.known[generic]; ok {
		return false, !strings.Contains(name, "_n_")
	}
	base, file := strings.CutSuffix(generic, "_FILE")
	return true, file && e.known[base].secret && !strings.Contains(name, "_n_")
}

// take judges one name and its value.
func (e *environment) take(name, value string, raw map[string]string) {
	file, ok := e.lookup(name)
	if !ok {
		e.unknown(name)
		return
	}
	base := name
	if file {
		base = strings.TrimSuffix(name, "_FILE")
		e.fromFile[base] = true
	}
	e.seen[base] = true
	if _, both := raw[base]; file && both {
		e.add(name, "is set together with "+base+": set one of them")
		return
	}
	if strings.TrimSpace(value) == "" {
		e.add(name, "is set but empty: give it a value, or do not set it")
		return
	}
	if file {
		var err error
		if value, err = e.readSecret(value); err != nil {
			e.add(name, err.Error())
			return
		}
	}
	if err := plainText(value); err != nil {
		e.add(name, err.Error())
		return
	}
	e.values[base] = value
}

// unknown reports a name that nothing reads, and the one that may have been meant.
func (e *environment) unknown(name string) {
	if m := numbered.FindStringSubmatch(name); m != nil && m[1] == routesFamily && e.fileOnly(m[3]) {
		e.add(show(name), "is not a setting: only a routes file ("+Prefix+"ROUTES_FILE) can say this")
		return
	}
	var known []string
	for _, s := range e.table {
		known = append(known, s.name)
		if s.secret {
			known = append(known, s.name+"_FILE")
		}
	}
	e.add(show(name), "is not a setting: the nearest is "+nearest(name, known))
}

// fileOnly reports whether a routes file has a key for what ROUTES_n_ has no name for.
func (e *environment) fileOnly(key string) bool {
	_, known := e.known[routesFamily+"n_"+key]
	return !known && slices.Contains(fileKeys(), strings.ToLower(key))
}

// count returns how many entries a family has, and reports the first number
// that is missing: what lies behind the gap must not be dropped silently.
func (e *environment) count(family string, raw map[string]string) int {
	first := map[int]string{}
	for _, name := range slices.Sorted(maps.Keys(raw)) {
		m := numbered.FindStringSubmatch(name)
		if m == nil || m[1] != family {
			continue
		}
		n, err := strconv.Atoi(m[2])
		if _, ok := first[n]; err == nil && !ok && strconv.Itoa(n) == m[2] {
			first[n] = name
		}
	}
	for i, n := range slices.Sorted(maps.Keys(first)) {
		if n != i {
			e.add(show(first[n]), "comes after a gap: there is no "+family+strconv.Itoa(i)+"_…; number from 0 without gaps")
			return i
		}
	}
	return len(first)
}

// has reports whether a setting was there at all, so that what is wrong with
// its value is not reported again as its absence.
func (e *environment) has(name string) bool { return e.seen[Prefix+name] }

// show makes a name that someone else chose fit for a message.
func show(name string) string {
	if noControl(name) == nil && len(name) <= 100 {
		return name
	}
	return strconv.QuoteToASCII(name[:min(len(name), 100)])
}

const maxSecretFile = 64 << 10

// readSecret reads the file of a secret. One line break at its end is not part
// of it: editors and `echo` put it there.
func (r *report) readSecret(path string) (string, error) {
	b, err := r.readFile(path, maxSecretFile)
	if err != nil {
		return "", err
	}
	s, ended := strings.CutSuffix(string(b), "\n")
	if ended {
		s = strings.TrimSuffix(s, "\r")
	}
	if strings.TrimSpace(s) == "" {
		return "", errors.New("names a file that is empty")
	}
	return s, nil
}

// readFile reads a file that a setting names, and remembers it. The errors do not repeat the path:
// people put the secret itself where its file belongs.
func (r *report) readFile(path string, limit int64) ([]byte, error) {
	r.remember(path)
	f, err := os.Open(path)
	if err != nil {
		return nil, unreadable(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, unreadable(err)
	case int64(len(b)) > limit:
		return nil, errors.New("names a file larger than " + strconv.FormatInt(limit>>10, 10) + " KiB")
	}
	return b, nil
}

func unreadable(err error) error {
	var cause *fs.PathError
	if errors.As(err, &cause) {
		return errors.New("names a file that cannot be read: " + cause.Err.Error())
	}
	return errors.New("names a file that cannot be read")
}
