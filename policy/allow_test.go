package policy

import (
	"strings"
	"testing"
)

func TestParseAllow(t *testing.T) {
	tests := []struct {
		name string
		in   any
		want string // as String writes it, or part of the error
		ok   bool
	}{
		{"anyone", "anyone", "anyone", true},
		{"authenticated", "authenticated", "authenticated", true},
		{"nobody", "nobody", "nobody", true},
		{"role list", []any{"admin"}, "[admin]", true},
		{"several", []string{"admin", "ops.eu:1"}, "[admin, ops.eu:1]", true},
		{"bare role", "admin", "write [admin]", false},
		{"wrong case", "Anyone", "is none of anyone, authenticated, nobody", false},
		{"empty word", "", "is none of anyone", false},
		{"word in a list", []any{"admin", "anyone"}, "anyone stands alone", false},
		{"empty list", []any{}, "the list of roles is empty", false},
		{"bad role", []any{"Admin"}, `"Admin" is not a role name`, false},
		{"comma in a role", []any{"a,b"}, `"a,b" is not a role name`, false},
		{"twice", []any{"a", "a"}, "a is listed twice", false},
		{"number in a list", []any{1}, "1 is not a role name", false},
		{"missing", nil, "allow is missing and there is no default", false},
		{"truth", true, "true is neither a word nor a list", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, err := ParseAllow(tt.in)
			got := a.String()
			if err != nil {
				got = err.Error()
			}
			if (err == nil) != tt.ok || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if err != nil && a.Audience != Unset {
				t.Errorf("an error came with audience %s", a.Audience)
			}
		})
	}
}

func TestValidRole(t *testing.T) {
	tests := map[string]bool{
		"admin": true, "0": true, "a_b.c:d-e": true, strings.Repeat("a", 64): true,
		"": false, "-a": false, "Admin": false, "a b": false, "a,b": false, "a\n": false, "é": false,
		strings.Repeat("a", 65): false, "anyone": false, "authenticated": false, "nobody": false,
	}
	for name, want := range tests {
		if got := ValidRole(name); got != want {
			t.Errorf("ValidRole(%q): got %v, want %v", name, got, want)
		}
	}
}
