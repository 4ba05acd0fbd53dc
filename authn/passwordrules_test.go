package authn

import (
	"strings"
	"testing"
)

func TestPasswordRules(t *testing.T) {
	ada := User{Username: "ada-l", Email: "countess@example.com", Name: "Ada Lovelace"}
	strict := PasswordConfig{MinLength: 8, Require: []string{"upper", "lower", "digit", "symbol"}}
	usual := PasswordConfig{MinLength: 8, RefuseCommon: true}
	for _, c := range []struct {
		name, password string
		cfg            PasswordConfig
		want           string
	}{
		{"good", "tapioca-Harbour-91", usual, ""},
		{"empty", "", usual, "required"},
		{"seven", "k8#Qz!f", PasswordConfig{MinLength: 8}, "too_short"},
		{"eight characters of two bytes", "žřčéáýíů", usual, ""},
		{"decomposed does not lengthen", strings.Repeat("e\u0301", 7), PasswordConfig{MinLength: 8}, "too_short"},
		{"1024 bytes", strings.Repeat("tapioca-", 128), usual, ""},
		{"1025 bytes", strings.Repeat("tapioca-", 128) + "x", usual, "too_long"},
		{"a megabyte", strings.Repeat("x", 1<<20), usual, "too_long"},
		{"invalid UTF-8", "tapioca\xffHarbour", usual, "format"},
		{"everything missing", "   ", strict, "too_short missing_upper missing_lower missing_digit"},
		{"no symbol", "Tapioca91", strict, "missing_symbol"},
		{"letters beyond ASCII count", "Žluťoučký 1", strict, ""},
		{"common", "password", usual, "common"},
		{"common in leet", "P@ssw0rd", usual, "common"},
		{"common in leet of many kinds", "p@$$w0rd!1", usual, "common"},
		{"every look-alike there is", strings.Repeat("4@8({[<369&#!1|0$5+7%2", 46), usual, ""},
		{"walk on the keyboard", "qwertyuiop", usual, "common"},
		{"one letter", strings.Repeat("a", 30), usual, "common"},
		{"common head, strong tail", strings.Repeat("password", 4) + "kX9v!q2Lw0", usual, ""},
		{"common and allowed", "password", PasswordConfig{MinLength: 8}, ""},
		{"own address", "Countess@Example.com", usual, "same_as_identity"},
		{"own local part", "countess", usual, "same_as_identity common"},
		{"own username in other dress", "_ADA_L_", PasswordConfig{RefuseCommon: true}, "same_as_identity"},
		{"own name", "lovelace ada", usual, "same_as_identity"},
		{"own name and year", "Lovelace1815", usual, "same_as_identity"},
		{"own name backwards", "ecalevol", usual, "same_as_identity"},
		{"full-width name", "ｌｏｖｅｌａｃｅ", usual, "same_as_identity"},
		{"more than the name", "lovelace-kX9v!q", usual, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var e InputError
			c.cfg.checkNewPassword(&e, "password", Secret(c.password), ada)
			if got := codes(&e); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			for _, f := range e.Fields {
				if c.password != "" && strings.Contains(f.Detail, c.password) {
					t.Errorf("detail %q shows the password", f.Detail)
				}
			}
		})
	}
}

func TestMadePasswordKeepsTheRules(t *testing.T) {
	cfg := PasswordConfig{MinLength: 24, Require: []string{"upper", "lower", "digit", "symbol"}, RefuseCommon: true}
	seen := map[Secret]bool{}
	for range 50 {
		p := cfg.makePassword()
		var e InputError
		cfg.checkNewPassword(&e, "password", p, User{})
		if err := e.OrNil(); err != nil || seen[p] {
			t.Fatalf("made %q: %v, seen before: %v", p.Reveal(), err, seen[p])
		}
		seen[p] = true
	}
	p := Default().Accounts.Password.makePassword().Reveal()
	if len(p) != 20 || strings.ContainsAny(p, "0Oo1lI") {
		t.Errorf("made %q, want 20 characters that cannot be misread", p)
	}
}
