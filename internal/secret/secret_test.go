package secret_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"amlproxy/internal/secret"
)

const canary = "s3cr3t-canary"

// holder keeps a Value where fmt cannot call its methods: behind an unexported
// field, the case in which a `type Secret string` gives itself away.
type holder struct {
	Public  secret.Value
	private secret.Value
	list    []secret.Value
	byName  map[string]secret.Value
}

func TestNoVerbOrEncoderShowsTheSecret(t *testing.T) {
	v := secret.New(canary)
	h := holder{v, v, []secret.Value{v}, map[string]secret.Value{"k": v}}
	for _, x := range []any{v, &v, h, &h, []any{h}, map[string]any{"h": h}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%c", "%U", "%e", "%b", "%o"} {
			if got := fmt.Sprintf(verb, x); leaks(got) {
				t.Errorf("%s of %T shows the secret: %s", verb, x, got)
			}
		}
		b, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		if leaks(string(b)) {
			t.Errorf("JSON of %T shows the secret: %s", x, b)
		}
		core, logs := observer.New(zapcore.DebugLevel)
		zap.New(core).Debug("x", zap.Any("x", x))
		for _, e := range logs.All() {
			if s := fmt.Sprintf("%+v", e.ContextMap()); leaks(s) {
				t.Errorf("zap of %T shows the secret: %s", x, s)
			}
		}
	}
	if got := fmt.Errorf("reading: %v", v).Error(); leaks(got) {
		t.Error(got)
	}
}

func leaks(s string) bool {
	hex := fmt.Sprintf("%x", canary)
	return strings.Contains(s, canary) || strings.Contains(strings.ToLower(s), hex)
}

func TestRevealAndEqual(t *testing.T) {
	var zero secret.Value
	if !zero.IsZero() || zero.Reveal() != "" || !secret.New("").IsZero() {
		t.Error("the zero Value must be the empty secret")
	}
	var v secret.Value
	if err := v.UnmarshalText([]byte(canary)); err != nil {
		t.Fatal(err)
	}
	if v.Reveal() != canary || !v.Equal(secret.New(canary)) || v.Equal(secret.New("other")) || v.Equal(zero) {
		t.Error("Reveal or Equal is wrong")
	}
}
