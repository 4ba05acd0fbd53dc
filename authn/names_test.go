package authn

import (
	"strings"
	"testing"
)

func TestParseEmail(t *testing.T) {
	for _, c := range []struct{ name, typed, want string }{ // want "": refused
		{"plain", "ada@example.com", "ada@example.com"},
		{"case and space", "  Ada@Example.COM \n", "ada@example.com"},
		{"tag and dots", "a.d+tag@example.com", "a.d+tag@example.com"},
		{"one label", "root@localhost", "root@localhost"},
		{"domain beyond ASCII", "ada@BÜCHER.example", "ada@xn--bcher-kva.example"},
		{"domain in punycode", "ada@xn--bcher-kva.example", "ada@xn--bcher-kva.example"},
		{"full-width domain", "ada@ｅxample.com", "ada@example.com"},
		{"local part beyond ASCII", "Jürgen@example.com", "jürgen@example.com"},
		{"decomposed local part", "ju\u0308rgen@example.com", "jürgen@example.com"},
		{"empty", "", ""},
		{"no at", "ada.example.com", ""},
		{"two ats", "ada@evil.com@example.com", ""},
		{"no local part", "@example.com", ""},
		{"no domain", "ada@", ""},
		{"display name", "Ada <ada@example.com>", ""},
		{"angle brackets", "<ada@example.com>", ""},
		{"comment", "ada(x)@example.com", ""},
		{"quoted local part", `"ada"@example.com`, ""},
		{"quoted with at", `"ada@evil.com"@example.com`, ""},
		{"list", "ada@example.com,eve@example.com", ""},
		{"space inside", "a da@example.com", ""},
		{"line end inside", "ada@example.com\r\nBcc: eve@example.com", ""},
		{"NUL", "ada\x00@example.com", ""},
		{"DEL", "ada\x7f@example.com", ""},
		{"dot first", ".ada@example.com", ""},
		{"dot last", "ada.@example.com", ""},
		{"two dots", "a..da@example.com", ""},
		{"trailing dot of the domain", "ada@example.com.", ""},
		{"empty label", "ada@example..com", ""},
		{"address literal", "ada@[127.0.0.1]", ""},
		{"bare address", "ada@127.0.0.1", ""},
		{"underscore in the domain", "ada@ex_ample.com", ""},
		{"hyphen first in a label", "ada@-example.com", ""},
		{"zero-width space", "a\u200bda@example.com", ""},
		{"soft hyphen", "a\u00adda@example.com", ""},
		{"full-width local part", "ａda@example.com", ""},
		{"long s", "ſam@example.com", ""},
		{"invalid UTF-8", "ad\xff@example.com", ""},
		{"local part of 65", strings.Repeat("a", 65) + "@example.com", ""},
		{"254 bytes", strings.Repeat("a", 64) + "@" + strings.Repeat("b.", 93) + "ab", strings.Repeat("a", 64) + "@" + strings.Repeat("b.", 93) + "ab"},
		{"255 bytes", strings.Repeat("a", 64) + "@" + strings.Repeat("b.", 93) + "abc.d", ""},
		{"label of 64", "ada@" + strings.Repeat("b", 64) + ".com", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := parseEmail(c.typed)
			if got != c.want || ok != (c.want != "") {
				t.Errorf("parseEmail(%q) = %q, %v; want %q", c.typed, got, ok, c.want)
			}
		})
	}
}

// FuzzEmail holds that an accepted address is a fixed point, whatever was
// typed: two programs that store and compare it never disagree.
func FuzzEmail(f *testing.F) {
	for _, s := range []string{"ada@example.com", " Ada@BÜCHER.example", "ſ@ｅ.com", "İ@a.b", "a\u0323\u0307@x", "K@x.y", "ß@ß.de", "a@xn--a.b", "ῼ@x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		email, ok := parseEmail(typed)
		if !ok {
			return
		}
		again, ok := parseEmail(email)
		if !ok || again != email {
			t.Errorf("parseEmail(%q) = %q, and of that %q, %v", typed, email, again, ok)
		}
		if strings.ContainsAny(email, " \t\r\n\x00<>(),;:\"[]\\") || strings.Count(email, "@") != 1 {
			t.Errorf("parseEmail(%q) = %q, which another program could read otherwise", typed, email)
		}
		if plain, kind := plainLogin(email); kind != loginEmail || plain != email {
			t.Errorf("as a login %q means %q (%v): its owner could not sign in", email, plain, kind)
		}
	})
}

// TestLoginSpellings is the lockout key row: each spelling means the account,
// and so counts against it, or it means nobody.
func TestLoginSpellings(t *testing.T) {
	const nobody = ""
	for _, c := range []struct{ name, typed, want string }{
		{"username", "ada", "ada"},
		{"capitals", "ADA", "ada"},
		{"space around", " \tada \n", "ada"},
		{"full-width", "ａｄａ", "ada"},
		{"no-break space", "\u00a0ada\u3000", "ada"},
		{"email", "ada@example.com", "ada@example.com"},
		{"email in capitals", "ADA@EXAMPLE.COM", "ada@example.com"},
		{"email with line end", "ada@example.com\n", "ada@example.com"},
		{"full-width email", "ａda＠example.com", "ada@example.com"},
		{"long s", "ſam@example.com", "sam@example.com"},
		{"kelvin sign", "\u212aim", "kim"},
		{"domain in Unicode", "ada@bücher.example", "ada@xn--bcher-kva.example"},
		{"zero-width space", "a\u200bda", nobody},
		{"soft hyphen", "a\u00adda@example.com", nobody},
		{"trailing dot", "ada@example.com.", nobody},
		{"Cyrillic a", "аda", nobody},
		{"NUL", "ada\x00", nobody},
		{"space inside", "a da", nobody},
	} {
		t.Run(c.name, func(t *testing.T) {
			plain, kind := plainLogin(c.typed)
			got := plain
			if kind == loginOfNobody {
				got = nobody
			}
			if got != c.want {
				t.Errorf("plainLogin(%q) = %q, %v; want %q", c.typed, plain, kind, c.want)
			}
		})
	}
}

func TestCheckUsername(t *testing.T) {
	cfg := Default().Accounts.Username
	for _, c := range []struct{ username, want string }{
		{"ada", ""}, {"Ada_L.2-x", ""}, {"007", ""}, {strings.Repeat("a", 30), ""},
		{"ad", "too_short"}, {strings.Repeat("a", 31), "too_long"},
		{"_ada", "format"}, {".ada", "format"}, {"ada@example.com", "format"}, {"ada l", "format"},
		{"ada\n", "format"}, {"аda", "format"}, {"ada,root", "format"}, {" ada", "format"},
	} {
		var e InputError
		cfg.checkUsername(&e, c.username)
		if got := codes(&e); got != c.want {
			t.Errorf("checkUsername(%q): %q, want %q", c.username, got, c.want)
		}
	}
	for _, word := range []string{"admin", "ADMIN", "Root"} {
		var e InputError
		cfg.checkReserved(&e, "username", word)
		if got := codes(&e); got != "reserved" {
			t.Errorf("checkReserved(%q): %q, want reserved", word, got)
		}
	}
}

func TestCheckName(t *testing.T) {
	for _, c := range []struct{ label, typed, want, code string }{
		{"plain", "Ada Lovelace", "Ada Lovelace", ""},
		{"space around", "  Ada ", "Ada", ""},
		{"composed", "Jose\u0301", "José", ""},
		{"hundred", strings.Repeat("é", 100), strings.Repeat("é", 100), ""},
		{"joined emoji", "👩‍🔬", "👩‍🔬", ""},
		{"one more", strings.Repeat("é", 101), "", "too_long"},
		{"huge", strings.Repeat("a", 1<<20), "", "too_long"},
		{"nothing", " ", "", "too_short"},
		{"header injection", "Ada\r\nX-Admin: 1", "", "format"},
		{"escape", "\x1b[31mAda", "", "format"},
		{"line separator", "Ada\u2028x", "", "format"},
		{"turned direction", "Ada\u202eadmin", "", "format"},
		{"invalid UTF-8", "Ad\xff", "", "format"},
	} {
		t.Run(c.label, func(t *testing.T) {
			var e InputError
			got := checkName(&e, c.typed)
			if codes(&e) != c.code || c.code == "" && got != c.want {
				t.Errorf("checkName(%q) = %q, %q; want %q, %q", c.typed, got, codes(&e), c.want, c.code)
			}
		})
	}
}

// codes joins what is wrong, in order.
func codes(e *InputError) string {
	var all []string
	for _, f := range e.Fields {
		all = append(all, f.Code)
	}
	return strings.Join(all, " ")
}

// TestNamesThatOnlyLookLikeAName: an address or a reserved word in full-width
// letters is one.
func TestNamesThatOnlyLookLikeAName(t *testing.T) {
	c := Default().Accounts
	for name, want := range map[string]string{"ada＠example.com": "format", "ａｄｍｉｎ": "reserved", "Ⓡoot": "reserved", "Ada": ""} {
		var e InputError
		c.checkOwnName(&e, name)
		got := ""
		if len(e.Fields) > 0 {
			got = e.Fields[0].Code
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
