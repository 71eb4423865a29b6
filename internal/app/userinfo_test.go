package app_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"
)

// TestUserinfoSaysHowLongTheSessionLasts: in all, and if it is not used; a bearer
// lasts as long as its token, used or not.
func TestUserinfoSaysHowLongTheSessionLasts(t *testing.T) {
	for name, c := range map[string]struct {
		settings  []string
		idle, all time.Duration
	}{
		"both":        {[]string{"AMLPROXY_SESSION_IDLE=30m", "AMLPROXY_SESSION_MAX=2h"}, 30 * time.Minute, 2 * time.Hour},
		"idle is all": {[]string{"AMLPROXY_SESSION_IDLE=20m", "AMLPROXY_SESSION_MAX=20m"}, 20 * time.Minute, 20 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFort(t, c.settings...)
			userinfo := door{"userinfo", http.MethodGet, "/oauth2/userinfo", false}
			told := lasting(t, f.knock(t, f.signedIn(t, "ann"), userinfo).body)
			for what, left := range map[string][2]time.Duration{"idle": {told.idle(t), c.idle}, "in all": {told.all(t), c.all}} {
				if left[0] > left[1] || left[0] < left[1]-time.Minute {
					t.Errorf("%s: %s, want %s", what, left[0], left[1])
				}
			}
			token := lasting(t, f.knock(t, f.bare, userinfo, "Authorization: Bearer "+f.token(t, "ann")).body)
			if token.IdleAt != nil || token.IdleIn != 0 || token.In == 0 {
				t.Errorf("by a token: %+v", token)
			}
		})
	}
}

type lasts struct {
	At     *time.Time `json:"expires_at"`
	In     int        `json:"expires_in"`
	IdleAt *time.Time `json:"idle_expires_at"`
	IdleIn int        `json:"idle_expires_in"`
}

func lasting(t *testing.T, body string) lasts {
	t.Helper()
	var l lasts
	if err := json.Unmarshal([]byte(body), &l); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return l
}

func (l lasts) all(t *testing.T) time.Duration  { t.Helper(); return agree(t, l.At, l.In) }
func (l lasts) idle(t *testing.T) time.Duration { t.Helper(); return agree(t, l.IdleAt, l.IdleIn) }

// agree returns the time left, of which both say the same.
func agree(t *testing.T, at *time.Time, in int) time.Duration {
	t.Helper()
	left := time.Duration(in) * time.Second
	if at == nil || time.Until(*at)-left > 10*time.Second || left-time.Until(*at) > 10*time.Second {
		t.Errorf("at %v, in %d s", at, in)
	}
	return left
}
