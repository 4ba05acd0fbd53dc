package authn

import (
	"crypto/rand"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ccojocar/zxcvbn-go"
	"github.com/ccojocar/zxcvbn-go/match"
	"github.com/ccojocar/zxcvbn-go/matching"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// commonGuesses is how many guesses a password must outlast.
const commonGuesses = 1e6

// characterClasses are what accounts.password.require can ask for.
var characterClasses = []struct {
	name, code, detail string
	has                func(rune) bool
}{
	{"upper", "missing_upper", "use at least one capital letter", unicode.IsUpper},
	{"lower", "missing_lower", "use at least one small letter", unicode.IsLower},
	{"digit", "missing_digit", "use at least one digit", unicode.IsDigit},
	{"symbol", "missing_symbol", "use at least one character that is neither letter nor digit",
		func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r) }},
}

// Rules is what a person must know to choose a username and a password.
type Rules struct {
	UsernameMin, UsernameMax int
	PasswordMin              int
	Require                  []string // of upper lower digit symbol
	RefuseCommon             bool
}

// Rules are those in force.
func (s *Service) Rules() Rules {
	u, p := s.deps.Config.Accounts.Username, s.deps.Config.Accounts.Password
	return Rules{UsernameMin: u.Min, UsernameMax: u.Max, PasswordMin: p.MinLength, Require: p.Require, RefuseCommon: p.RefuseCommon}
}

// checkNewPassword notes everything that is wrong with a password someone
// wants to have. u is whose it will be.
func (c PasswordConfig) checkNewPassword(e *InputError, field string, password Secret, u User) {
	p := password.Reveal()
	switch {
	case p == "":
		e.Add(field, "required", "choose a password")
		return
	case len(p) > maxPassword:
		e.Add(field, "too_long", fmt.Sprintf("use at most %d bytes", maxPassword))
		return
	case !utf8.ValidString(p):
		e.Add(field, "format", "send UTF-8")
		return
	}
	p = norm.NFC.String(p)
	if utf8.RuneCountInString(p) < c.MinLength {
		e.Add(field, "too_short", fmt.Sprintf("use at least %d characters", c.MinLength))
	}
	for _, class := range characterClasses {
		if slices.Contains(c.Require, class.name) && !strings.ContainsFunc(p, class.has) {
			e.Add(field, class.code, class.detail)
		}
	}
	if !c.RefuseCommon {
		return
	}
	if sameAsIdentity(p, u) {
		e.Add(field, "same_as_identity", "do not use your own name or address")
	}
	if tooCommon(p) {
		e.Add(field, "common", "anybody who guesses would try this early on; use something longer or less usual")
	}
}

// samePassword reports whether two passwords, as typed, are one to us. What is
// longer than any password is not looked at.
func samePassword(a, b Secret) bool {
	return len(a) <= maxPassword && len(b) <= maxPassword && norm.NFC.String(a.Reveal()) == norm.NFC.String(b.Reveal())
}

// tooCommon reports whether a password falls to fewer than a million guesses.
// The estimator takes more than linear time, so it sees a piece at a time and
// stops as soon as the pieces together are hard enough, which is nearly always
// after the first.
func tooCommon(password string) bool {
	const piece = 24
	bits, runes := 0.0, []rune(password)
	for len(runes) > 0 && bits < math.Log2(commonGuesses) {
		n := min(piece, len(runes))
		bits += entropy(string(runes[:n]))
		runes = runes[n:]
	}
	return bits < math.Log2(commonGuesses)
}

// lookAlikes stand for letters in words like p@ssw0rd.
const lookAlikes = "4@8({[<369&#!1|0$5+7%2"

// entropy estimates the bits of a short text. Looking for words spelled with
// look-alikes takes time exponential in how many different ones there are; no
// word has more than a few, so text with more is spared that search.
func entropy(text string) float64 {
	different := 0
	for _, r := range lookAlikes {
		if strings.ContainsRune(text, r) {
			different++
		}
	}
	spare := func(m match.Matcher) bool { return different > 7 && m.ID == matching.L33TMatcherName }
	return zxcvbn.PasswordStrength(text, nil, spare).Entropy
}

// sameAsIdentity reports whether a password is the person's own name or
// address, or no more than a variation of it: other case, other punctuation,
// backwards, repeated, or with a number of up to four digits.
func sameAsIdentity(password string, u User) bool {
	p := bare(password)
	local, _, _ := strings.Cut(u.Email, "@")
	names := append([]string{u.Email, u.Username, local, u.Name}, strings.Fields(u.Name)...)
	rest := p
	for _, name := range names {
		if n := bare(name); utf8.RuneCountInString(n) >= 3 {
			if p == n {
				return true
			}
			rest = strings.ReplaceAll(rest, n, "")
			rest = strings.ReplaceAll(rest, backwards(n), "")
		}
	}
	number := strings.TrimFunc(rest, unicode.IsDigit) == ""
	return rest != p && number && len(rest) <= 4
}

// bare is text without case, compatibility forms and everything but letters
// and digits.
func bare(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, cases.Fold().String(norm.NFKC.String(text)))
}

func backwards(text string) string {
	r := []rune(text)
	slices.Reverse(r)
	return string(r)
}

// madeAlphabet leaves out what is taken for something else when read aloud or
// copied by hand: 0 O o 1 l I.
const madeAlphabet = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"

// madeLength makes a made password worth 116 bits.
const madeLength = 20

// makePassword makes a password that satisfies the rules.
func (c PasswordConfig) makePassword() Secret {
	for {
		b := make([]byte, max(madeLength, c.MinLength))
		for i := range b {
			b[i] = pick(madeAlphabet)
		}
		if slices.Contains(c.Require, "symbol") {
			b[len(b)/2] = '-'
		}
		var e InputError
		c.checkNewPassword(&e, "password", Secret(b), User{})
		if e.OrNil() == nil {
			return Secret(b)
		}
	}
}

// pick draws one character, each as likely as any other.
func pick(alphabet string) byte {
	n, _ := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet)))) // crypto/rand does not fail
	return alphabet[n.Int64()]
}
