package authn

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Names end up in headers that backends trust, so a name someone chooses must
// never look like somebody else's, and one person must not have two spellings
// that count apart.

const (
	maxEmail = 254
	maxName  = 100  // characters
	maxLogin = 1024 // bytes of what is typed as a login, before any work is done on it
)

var (
	usernameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	roleForm     = regexp.MustCompile(`^[a-z0-9][a-z0-9_.:-]{0,63}$`)
)

// checkUsername notes what is wrong with a username. It has no "@", so it can
// never be taken for an email address, and no letter outside ASCII, so it can
// never look like another.
func (c UsernameConfig) checkUsername(e *InputError, username string) {
	switch n := len(username); {
	case !usernameForm.MatchString(username):
		e.Add("username", "format", "use letters, digits, and _ . - after the first")
	case n < c.Min:
		e.Add("username", "too_short", fmt.Sprintf("use at least %d characters", c.Min))
	case n > c.Max:
		e.Add("username", "too_long", fmt.Sprintf("use at most %d characters", c.Max))
	case isID(strings.ToLower(username)) && username[0] == '0':
		// Where somebody has no username, backends are told the id in its place.
		// An id begins with the time in milliseconds: with 0 until the year 2248.
		e.Add("username", "format", "choose another username: this one looks like the id of an account")
	}
}

// checkReserved notes a name nobody may take for themself.
func (c UsernameConfig) checkReserved(e *InputError, field, name string) {
	plain := bareName(name)
	if plain != "" && slices.ContainsFunc(c.Reserved, func(word string) bool { return bareName(word) == plain }) {
		e.Add(field, "reserved", "choose another: this one is reserved")
	}
}

// bareName is a name without what the eye passes over: case, compatibility
// forms, space and punctuation. "Ad-Min." is admin.
func bareName(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return r
		}
		return -1
	}, cases.Fold().String(norm.NFKC.String(visible(name))))
}

// visible is text without what leaves no mark of its own: joiners, soft hyphens,
// variation selectors and fillers, of which Unicode calls some letters.
func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) {
			return -1
		}
		return r
	}, text)
}

// checkOwnName notes what is wrong with what somebody wants to be called. It
// goes to backends beside the username, and some show or even believe it: it
// must not be an address, nor one of the reserved words. Whether it is
// somebody's username, ownNameFree says.
func (c AccountConfig) checkOwnName(e *InputError, name string) {
	if strings.Contains(norm.NFKC.String(name), "@") {
		e.Add("name", "format", "leave out the @: a name is not an address")
	}
	c.Username.checkReserved(e, "name", name)
}

// ownNameFree is an InputError if name is, or looks like, the username of anybody
// but self.
func ownNameFree(tx Tx, name, self string) error {
	plain, kind := plainLogin(visible(name))
	if kind != loginUsername {
		return nil
	}
	u, err := tx.UserByUsername(plain)
	switch {
	case errors.Is(err, ErrNotFound), err == nil && u.ID == self:
		return nil
	case err != nil:
		return err
	}
	return &InputError{[]FieldError{{"name", "taken", "choose another name: this one is somebody's username"}}}
}

// checkEmail returns the address as it is kept, noting what is wrong with it.
func checkEmail(e *InputError, typed string) string {
	email, ok := parseEmail(typed)
	if !ok {
		if len(strings.TrimSpace(typed)) > maxEmail {
			e.Add("email", "too_long", fmt.Sprintf("use an address of at most %d bytes", maxEmail))
		} else {
			e.Add("email", "format", "write one address, such as ada@example.com")
		}
	}
	return email
}

// checkName returns the name as it is kept, noting what is wrong with it.
func checkName(e *InputError, typed string) string {
	if len(typed) > 64*maxName {
		e.Add("name", "too_long", fmt.Sprintf("use at most %d characters", maxName))
		return ""
	}
	name := strings.TrimSpace(norm.NFC.String(typed))
	switch n := utf8.RuneCountInString(name); {
	case !utf8.ValidString(typed) || strings.ContainsFunc(name, unprintable):
		e.Add("name", "format", "leave out control characters")
	case n == 0:
		e.Add("name", "too_short", "use at least 1 character")
	case n > maxName:
		e.Add("name", "too_long", fmt.Sprintf("use at most %d characters", maxName))
	}
	return name
}

// unprintable reports control characters, line ends of any kind and the marks
// that turn the direction of the text after them.
func unprintable(r rune) bool {
	return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) ||
		unicode.Is(unicode.Bidi_Control, r) && r != '\u200e' && r != '\u200f'
}

// checkRoles returns the roles sorted, each once, noting what is wrong.
func checkRoles(e *InputError, roles []string) []string {
	for _, r := range roles {
		if !roleForm.MatchString(r) {
			e.Add("roles", "format", "a role is 1 to 64 of a-z 0-9 _ . : - and begins with a letter or digit")
			break
		}
	}
	return sortedRoles(roles)
}

func sortedRoles(roles []string) []string {
	sorted := append([]string{}, roles...)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

// domains turns an internationalised domain into the form the DNS knows.
var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.CheckHyphens(true),
	idna.StrictDomainName(true), idna.VerifyDNSLength(true))

// parseEmail reads one addr-spec (RFC 5322, dot-atoms only; RFC 6531 for what
// is not ASCII) and returns it as it is kept: trimmed, lower case, the domain
// in ASCII. No display name, comment, quoted local part or address literal:
// they are legal, and every one of them has been used to write an address
// that two programs read differently. Parsing what it returned changes
// nothing.
func parseEmail(typed string) (string, bool) {
	text := strings.TrimSpace(typed)
	if len(text) > maxEmail || !utf8.ValidString(text) {
		return "", false
	}
	local, domain, ok := strings.Cut(text, "@")
	if !ok || strings.Contains(domain, "@") {
		return "", false
	}
	local = lowerNFC(local)
	domain, err := domains.ToASCII(domain)
	domain = strings.ToLower(domain)
	email := local + "@" + domain
	if err != nil || !goodLocal(local) || !goodDomain(domain) || len(email) > maxEmail {
		return "", false
	}
	return email, true
}

// lowerNFC composes, lowers, and composes again: a lowered letter can be one
// that composes with what follows.
func lowerNFC(s string) string {
	return norm.NFC.String(strings.ToLower(norm.NFC.String(s)))
}

// goodLocal reports whether a local part is a dot-atom that has one spelling
// only: a full-width or long s letter would be read as its plain self by some.
func goodLocal(local string) bool {
	if len(local) > 64 || norm.NFKC.String(local) != local || lowerNFC(local) != local {
		return false
	}
	for atom := range strings.SplitSeq(local, ".") {
		if atom == "" || strings.ContainsFunc(atom, notAtext) {
			return false
		}
	}
	return true
}

func notAtext(r rune) bool {
	if r < utf8.RuneSelf {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+/=?^_`{|}~-", r))
	}
	return !unicode.IsLetter(r) && !unicode.IsMark(r) && !unicode.IsDigit(r)
}

func goodDomain(domain string) bool {
	if _, err := netip.ParseAddr(domain); err == nil || strings.HasSuffix(domain, ".") {
		return false
	}
	return domain != ""
}

// loginKind is what a typed login can be.
type loginKind int

const (
	loginOfNobody loginKind = iota // nobody can have it
	loginUsername
	loginEmail
)

// plainLogin is the one form of what someone types as a login: compatibility
// forms, case and surrounding space are gone. Every spelling of a login that
// somebody could have has the same form, so that known and unknown names are
// counted alike; any other spelling means nobody.
func plainLogin(typed string) (string, loginKind) {
	text := strings.TrimSpace(norm.NFKC.String(typed))
	if email, ok := parseEmail(text); ok {
		return email, loginEmail
	}
	if usernameForm.MatchString(text) {
		return strings.ToLower(text), loginUsername
	}
	fold := cases.Fold()
	return norm.NFKC.String(fold.String(text)), loginOfNobody
}

// userByLogin finds whose login was typed. ErrNotFound if nobody's.
func userByLogin(tx Tx, typed string) (User, error) {
	switch plain, kind := plainLogin(typed); kind {
	case loginEmail:
		return tx.UserByEmail(plain)
	case loginUsername:
		return tx.UserByUsername(plain)
	default:
		return User{}, ErrNotFound
	}
}
