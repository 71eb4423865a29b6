package azuremltest

import (
	"crypto/subtle"
	"net/http"
	"sync"
	"time"
)

// Auth is what a scoring server wants to see in the Authorization field.
type Auth string

// The ways to authenticate.
const (
	None  Auth = "none"  // nothing; v1 only
	Key   Auth = "key"   // one of a pair of keys
	Token Auth = "token" // a token of the workspace: v1 on AKS, and AMLToken in v2
	Entra Auth = "entra" // a token of Entra ID: AADToken in v2
)

// endpointMode is how ARM spells it.
func (a Auth) endpointMode() string {
	switch a {
	case Token:
		return "AMLToken"
	case Entra:
		return "AADToken"
	}
	return "Key"
}

// KeyType names a key of a pair, as regenerateKeys does.
type KeyType string

// The keys of a pair. Both is not an operation of Azure's, but what happens when
// two people regenerate.
const (
	Primary   KeyType = "Primary"
	Secondary KeyType = "Secondary"
	Both      KeyType = "Both"
)

// credentials are what one scoring server accepts now.
type credentials struct {
	mu        sync.Mutex
	auth      Auth
	primary   key
	secondary key
	revoked   uint64 // tokens with serial numbers up to this one are refused
}

// A key works at once, or only some time after somebody was shown it.
type key struct {
	value string
	delay time.Duration
	shown time.Time
}

func newKey(delay time.Duration) key { return key{value: randomText(24), delay: delay} }

func (k *key) show(now time.Time) string {
	if k.shown.IsZero() {
		k.shown = now
	}
	return k.value
}

func (k *key) accepts(text string, now time.Time) bool {
	if subtle.ConstantTimeCompare([]byte(text), []byte(k.value)) != 1 {
		return false
	}
	return k.delay == 0 || !k.shown.IsZero() && !now.Before(k.shown.Add(k.delay))
}

// Auth returns how calls authenticate now.
func (s *Scoring) Auth() Auth {
	s.credentials.mu.Lock()
	defer s.credentials.mu.Unlock()
	return s.credentials.auth
}

// SetAuth changes it at once, for the scoring server and for what the workspace
// says about it. Keys and tokens of before stay what they are. It refuses what
// the kind of endpoint cannot do.
func (s *Scoring) SetAuth(auth Auth) error {
	if err := s.compute.check(auth); err != nil {
		return err
	}
	s.credentials.mu.Lock()
	defer s.credentials.mu.Unlock()
	s.credentials.auth = auth
	return nil
}

// Keys returns the pair without showing it to anybody: see NewKeyDelay of
// [Behaviour].
func (s *Scoring) Keys() (primary, secondary string) {
	s.credentials.mu.Lock()
	defer s.credentials.mu.Unlock()
	return s.credentials.primary.value, s.credentials.secondary.value
}

// RegenerateKey replaces one key or both, as somebody in the portal would. The
// replaced ones are refused from now on.
func (s *Scoring) RegenerateKey(which KeyType) { s.renew(which, nil) }

// renew replaces keys, with a value of the caller's if there is one.
func (s *Scoring) renew(which KeyType, value *string) {
	fresh := func() key {
		k := newKey(s.behaviour().NewKeyDelay)
		if value != nil {
			k.value = *value
		}
		return k
	}
	s.credentials.mu.Lock()
	defer s.credentials.mu.Unlock()
	if which != Secondary {
		s.credentials.primary = fresh()
	}
	if which != Primary {
		s.credentials.secondary = fresh()
	}
}

// RevokeTokens makes the scoring server refuse every token issued so far,
// Entra's included.
func (s *Scoring) RevokeTokens() {
	serial := s.azure.mint.serial()
	s.credentials.mu.Lock()
	defer s.credentials.mu.Unlock()
	s.credentials.revoked = serial
}

// show returns the pair as listkeys does, from when on it counts as shown.
func (s *Scoring) show() fields {
	now := s.azure.clock.Now()
	s.credentials.mu.Lock()
	defer s.credentials.mu.Unlock()
	return fields{"primaryKey": s.credentials.primary.show(now), "secondaryKey": s.credentials.secondary.show(now)}
}

// newToken issues a workspace token for this endpoint, or says why not.
func (s *Scoring) newToken() (text string, expires, refresh time.Time, refusal answer, ok bool) {
	if s.Auth() != Token {
		return "", expires, refresh, s.fail(http.StatusBadRequest, "BadRequest", "'"+s.name+"' does not authenticate by token."), false
	}
	behaviour := s.behaviour()
	now := s.azure.clock.Now()
	text, err := s.azure.mint.issue(s.azure.model.url, s.azure.options.ClientID, s.audience(), behaviour.TokenLifetime, nil)
	if err != nil {
		return "", expires, refresh, s.fail(http.StatusInternalServerError, "InternalServerError", err.Error()), false
	}
	return text, now.Add(behaviour.TokenLifetime), now.Add(behaviour.TokenRefresh), answer{}, true
}

// audience is that of the workspace tokens for this endpoint alone.
func (s *Scoring) audience() string { return s.azure.id(s.compute.collection(), s.name) }

// A verdict is what a scoring server makes of a call's credential.
type verdict int

const (
	admitted verdict = iota
	unauthorized
	forbidden
)

// judge decides on the Authorization field of a call.
func (s *Scoring) judge(r *http.Request) verdict {
	s.credentials.mu.Lock()
	defer s.credentials.mu.Unlock()
	text, isBearer := bearer(r)
	now := s.azure.clock.Now()
	switch c := &s.credentials; {
	case c.auth == None:
		return admitted
	case !isBearer:
		return unauthorized
	case c.auth == Key:
		if c.primary.accepts(text, now) || c.secondary.accepts(text, now) {
			return admitted
		}
		return unauthorized
	case c.auth == Token:
		return s.judgeToken(text, s.audience(), now)
	default:
		if v := s.judgeToken(text, s.azure.options.MLAudience, now); v != admitted {
			return v
		}
		if !s.azure.may(actionPrefix + "onlineEndpoints/score/action") {
			return forbidden
		}
		return admitted
	}
}

func (s *Scoring) judgeToken(text, audience string, now time.Time) verdict {
	t, known := s.azure.mint.find(text)
	if !known || t.serial <= s.credentials.revoked || !now.Before(t.expires) || !sameAudience(t.audience, audience) {
		return unauthorized
	}
	return admitted
}
