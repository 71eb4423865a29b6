package authn

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/oauth2"
)

// LoginParameters returns the parameters that a login may ask the provider with
// besides those that it is made of (OpenID Connect Core 1.0 section 3.1.2.1, and
// Entra's domain_hint). No other can be set, so none of the others can be
// overwritten.
func LoginParameters() []string {
	return []string{"prompt", "login_hint", "domain_hint", "acr_values", "max_age"}
}

// CheckLoginParameter reports what makes value none for the parameter name.
func CheckLoginParameter(name, value string) error {
	if value == "" || len(value) > 300 || !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl) {
		return fmt.Errorf("the value of %s is empty, too long or no text", name)
	}
	switch name {
	case "prompt":
		words := strings.Split(value, " ")
		for i, word := range words {
			if !slices.Contains([]string{"none", "login", "consent", "select_account", "create"}, word) || slices.Contains(words[:i], word) {
				return fmt.Errorf("prompt is not made of login, consent, select_account and create, or none")
			}
		}
		if len(words) > 1 && slices.Contains(words, "none") {
			return fmt.Errorf("prompt is none and something else")
		}
	case "max_age":
		if n, err := strconv.ParseUint(value, 10, 32); err != nil || strconv.FormatUint(n, 10) != value || n > 365*24*3600 {
			return fmt.Errorf("max_age is no number of seconds, up to a year")
		}
	case "acr_values":
		if strings.Join(strings.Fields(value), " ") != value || strings.ContainsFunc(value, func(r rune) bool { return r > '~' }) {
			return fmt.Errorf("acr_values is not made of words")
		}
	case "domain_hint":
		if strings.ContainsFunc(value, func(r rune) bool {
			return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._", r))
		}) {
			return fmt.Errorf("domain_hint is no name of a domain")
		}
	case "login_hint":
	default:
		return fmt.Errorf("%s is none of %s", clip(name, 50), strings.Join(LoginParameters(), ", "))
	}
	return nil
}

// parameters are those of LoginConfig.
type parameters struct {
	fixed map[string]string
	start []string
}

func (p parameters) check() error {
	for name, value := range p.fixed {
		if err := CheckLoginParameter(name, value); err != nil {
			return err
		}
	}
	for _, name := range p.start {
		if !slices.Contains(LoginParameters(), name) {
			return fmt.Errorf("%q is none of %s", name, strings.Join(LoginParameters(), ", "))
		}
		if _, twice := p.fixed[name]; twice {
			return fmt.Errorf("%s is fixed and left to whoever starts the login", name)
		}
	}
	return nil
}

// of returns the parameters of one login: the fixed ones, and what query asks for
// and may. What it asks for and may not is refused, and not left out: a page that
// asks for a fresh sign-in is not to believe that it got one.
func (p parameters) of(query url.Values) (map[string]string, error) {
	all := map[string]string{}
	for _, name := range LoginParameters() {
		value, fixed := p.fixed[name]
		if fixed {
			all[name] = value
		}
		asked := query[name]
		switch {
		case len(asked) == 0:
			continue
		case len(asked) > 1:
			return nil, unusable(fmt.Errorf("%s is there twice", name))
		case !slices.Contains(p.start, name):
			return nil, unusable(fmt.Errorf("%s is not to be set by whoever starts a login here", name))
		}
		if err := CheckLoginParameter(name, asked[0]); err != nil {
			return nil, unusable(err)
		}
		all[name] = asked[0]
	}
	return all, nil
}

func unusable(err error) *Error {
	return &Error{Kind: ErrInvalid, Malformed: true, Detail: err.Error()}
}

// options are the parameters as x/oauth2 takes them, and what of them the ID
// token has to show.
func options(all map[string]string) ([]oauth2.AuthCodeOption, asked) {
	var list []oauth2.AuthCodeOption
	for name, value := range all {
		list = append(list, oauth2.SetAuthURLParam(name, value))
	}
	return list, asked{maxAge: all["max_age"], acr: all["acr_values"]}
}
