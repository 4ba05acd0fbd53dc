package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Audience is who a rule admits. There is no default: Unset is an error.
type Audience uint8

const (
	Unset Audience = iota
	Anyone
	Authenticated
	Nobody
	Roles
)

// Allow is a rule's `allow`: one of three words, or a list of roles of which
// the caller needs one.
type Allow struct {
	Audience Audience
	Roles    []string
}

var words = map[string]Audience{
	"anyone":        Anyone,
	"authenticated": Authenticated,
	"nobody":        Nobody,
}

// Caller is who asks, as already established.
type Caller struct {
	SignedIn bool
	Roles    []string
	Verified bool // the email address is proven
}

// ParseAllow reads `allow` from decoded YAML. A role outside a list is an
// error: a misspelt word must not become a role nobody has, or somebody does.
func ParseAllow(v any) (Allow, error) {
	switch v := v.(type) {
	case string:
		return parseWord(v)
	case []string:
		return parseRoles(v)
	case []any:
		names := make([]string, len(v))
		for i, item := range v {
			name, ok := item.(string)
			if !ok {
				return Allow{}, fmt.Errorf("allow: %v is not a role name; quote it if it is one", item)
			}
			names[i] = name
		}
		return parseRoles(names)
	case nil:
		return Allow{}, errUnset
	}
	return Allow{}, fmt.Errorf("allow: %v is neither a word nor a list; write anyone, authenticated, nobody or a list of roles like [admin]", v)
}

var errUnset = fmt.Errorf("allow is missing and there is no default; write anyone, authenticated, nobody or a list of roles like [admin]")

func parseWord(s string) (Allow, error) {
	if a, ok := words[s]; ok {
		return Allow{Audience: a}, nil
	}
	if ValidRole(s) {
		return Allow{}, fmt.Errorf("allow: %q is not a word of ours; for the role write [%s]", s, s)
	}
	return Allow{}, fmt.Errorf("allow: %q is none of anyone, authenticated, nobody; a role goes into a list like [admin]", s)
}

func parseRoles(names []string) (Allow, error) {
	a := Allow{Audience: Roles, Roles: slices.Clone(names)}
	if err := a.valid(); err != nil {
		return Allow{}, err
	}
	return a, nil
}

// valid is ParseAllow's judgement for an Allow built by hand.
func (a Allow) valid() error {
	switch {
	case a.Audience == Unset || a.Audience > Roles:
		return errUnset
	case a.Audience != Roles && len(a.Roles) > 0:
		return fmt.Errorf("allow: %s takes no roles", a.Audience)
	case a.Audience == Roles && len(a.Roles) == 0:
		return fmt.Errorf("allow: the list of roles is empty; write nobody if nobody may")
	}
	for i, name := range a.Roles {
		if _, ok := words[name]; ok {
			return fmt.Errorf("allow: %s stands alone, not in a list; write allow: %s", name, name)
		}
		if !ValidRole(name) {
			return fmt.Errorf("allow: %q is not a role name; use 1-64 of a-z 0-9 _ . : - beginning with a letter or digit", name)
		}
		if slices.Contains(a.Roles[:i], name) {
			return fmt.Errorf("allow: role %s is listed twice", name)
		}
	}
	return nil
}

// String writes an Allow as the configuration does.
func (a Allow) String() string {
	if a.Audience == Roles {
		return "[" + strings.Join(a.Roles, ", ") + "]"
	}
	return a.Audience.String()
}

// String is the word for an audience.
func (a Audience) String() string {
	for word, audience := range words {
		if audience == a {
			return word
		}
	}
	if a == Roles {
		return "roles"
	}
	return "unset"
}

// ValidRole reports whether name may be a role: [a-z0-9][a-z0-9_.:-]{0,63}, and
// none of the words that stand for an audience.
func ValidRole(name string) bool {
	if len(name) == 0 || len(name) > 64 {
		return false
	}
	for i := range len(name) {
		c := name[i]
		alnum := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !alnum && (i == 0 || strings.IndexByte("_.:-", c) < 0) {
			return false
		}
	}
	_, word := words[name]
	return !word
}

// admit judges the caller against one rule. Only what signing in can mend is
// AuthenticationRequired.
func (r *Rule) admit(c Caller) Code {
	switch r.Allow.Audience {
	case Anyone:
		return Allowed
	case Authenticated, Roles:
	default:
		return InsufficientRole
	}
	if !c.SignedIn {
		return AuthenticationRequired
	}
	if r.Allow.Audience == Roles && !r.Allow.names(c.Roles) {
		return InsufficientRole
	}
	if r.Verified && !c.Verified {
		return EmailNotVerified
	}
	return Allowed
}

func (a Allow) names(roles []string) bool {
	for _, role := range roles {
		if slices.Contains(a.Roles, role) {
			return true
		}
	}
	return false
}
