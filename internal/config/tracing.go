package config

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"amlproxy/internal/secret"
)

// Tracing is where spans are sent, as OpenTelemetry's own variables say it
// (OpenTelemetry Protocol Exporter). What is sampled and how it is batched, the SDK
// reads by itself: OTEL_TRACES_SAMPLER, OTEL_BSP_…, OTEL_SERVICE_NAME,
// OTEL_RESOURCE_ATTRIBUTES.
type Tracing struct {
	Endpoint *url.URL // the whole address; nil: no span is made
	Headers  []Header // sent along, as who asks to be let in needs it
	Timeout  time.Duration
	Gzip     bool
	// Files in PEM, empty for none: roots to trust besides the system's, and a
	// certificate to show with its key.
	CAFile, CertFile, KeyFile string
}

// A Header is one that is sent to the collector of spans.
type Header struct {
	Name  string
	Value secret.Value
}

// The variables of traces alone go before those of all signals.
const (
	otlpTraces = "OTEL_EXPORTER_OTLP_TRACES_"
	otlpAll    = "OTEL_EXPORTER_OTLP_"
)

// tracing reads Tracing. The specification takes an empty value for none, and so
// does this; a value that cannot be followed is a mistake, or a warning where it
// was meant for other programs as well.
func (r *report) tracing(environ []string) Tracing {
	set := map[string]string{}
	for _, entry := range environ {
		if name, value, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "OTEL_") && strings.TrimSpace(value) != "" {
			set[name] = strings.TrimSpace(value)
		}
	}
	where, address := either(set, "ENDPOINT")
	if address == "" || strings.EqualFold(set["OTEL_SDK_DISABLED"], "true") || set["OTEL_TRACES_EXPORTER"] == "none" {
		return Tracing{}
	}
	if exporter := set["OTEL_TRACES_EXPORTER"]; exporter != "" && exporter != "otlp" {
		r.warn("OTEL_TRACES_EXPORTER", "names an exporter that this program does not have: no traces are sent, which only otlp does")
		return Tracing{}
	}
	if name, protocol := either(set, "PROTOCOL"); protocol != "" && protocol != "http/protobuf" {
		r.warn(name, "names a protocol that this program does not speak: no traces are sent, which only http/protobuf does")
		return Tracing{}
	}
	t := Tracing{Timeout: 10 * time.Second}
	var err error
	if t.Endpoint, err = otlpEndpoint(where, address); err != nil {
		r.add(where, err.Error())
	} else if t.Endpoint.Scheme == "http" && !loopback(t.Endpoint.Hostname()) {
		r.warn(where, "is http: whoever is on the way reads the spans, and what lets the proxy in")
	}
	r.otlpOptions(set, &t)
	return t
}

func (r *report) otlpOptions(set map[string]string, t *Tracing) {
	if name, ms := either(set, "TIMEOUT"); ms != "" {
		n, err := strconv.ParseUint(ms, 10, 31)
		if err != nil || n == 0 {
			r.add(name, "is not a number of milliseconds above 0")
		}
		t.Timeout = time.Duration(n) * time.Millisecond
	}
	switch name, how := either(set, "COMPRESSION"); how {
	case "", "none":
	case "gzip":
		t.Gzip = true
	default:
		r.add(name, "is none of gzip, none")
	}
	if name, list := either(set, "HEADERS"); list != "" {
		var err error
		if t.Headers, err = otlpHeaders(list); err != nil {
			r.add(name, err.Error())
		}
	}
	_, t.CAFile = either(set, "CERTIFICATE")
	_, t.CertFile = either(set, "CLIENT_CERTIFICATE")
	name, key := either(set, "CLIENT_KEY")
	if t.KeyFile = key; (t.KeyFile == "") != (t.CertFile == "") {
		r.add(orText(name, otlpAll+"CLIENT_CERTIFICATE"), "needs both, a certificate and its key: set the other one, too")
	}
}

// either returns the value of a variable, and its name.
func either(set map[string]string, name string) (where, value string) {
	for _, prefix := range []string{otlpTraces, otlpAll} {
		if value = set[prefix+name]; value != "" {
			return prefix + name, value
		}
	}
	return "", ""
}

func orText(s, or string) string {
	if s == "" {
		return or
	}
	return s
}

// otlpEndpoint returns where to post. The address of all signals is one below
// which each has its own.
func otlpEndpoint(name, address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || u.Fragment != "" {
		return nil, errors.New("is not an address like https://collector.example:4318; what lets the proxy in belongs in OTEL_EXPORTER_OTLP_HEADERS")
	}
	if name == otlpAll+"ENDPOINT" {
		return u.JoinPath("v1", "traces"), nil
	}
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

// otlpHeaders reads a list of name=value, as in W3C Baggage: values are encoded as
// in addresses. No mistake quotes it.
func otlpHeaders(list string) ([]Header, error) {
	wrong := errors.New("is not a list like name=value,name=value with encoded values")
	var all []Header
	for item := range strings.SplitSeq(list, ",") {
		name, value, ok := strings.Cut(item, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		plain, err := url.PathUnescape(value)
		if !ok || err != nil || !fieldName(name) || strings.ContainsFunc(plain, func(c rune) bool { return c < ' ' || c == 0x7f }) {
			return nil, wrong
		}
		all = append(all, Header{name, secret.New(plain)})
	}
	return all, nil
}

// fieldName reports whether s is a token (RFC 9110 section 5.6.2).
func fieldName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", c))
	})
}
