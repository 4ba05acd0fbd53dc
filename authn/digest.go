package authn

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// What other programs made of a password, so that people keep theirs when
// their accounts are imported. Each such digest is checked in its own scheme
// and hashed anew by today's rules as soon as its person signs in.
//
// Most rest as they came until then. Those that are weak, because they take
// next to no work, are wrapped:
//
//	$dw1w$<method>$k=1f3c9a02$2a$12$<salt and hash>
//
// is bcrypt, keyed as everything of ours is, over the digest that method makes
// of the password. So a copy of the store is worth no more to those who guess
// than one with our own hashes only, and the digest itself, which may be known
// from elsewhere, is no password: what is typed goes through method first.
//
// bcrypt of other programs reads 72 bytes of a password and no further. Nobody
// can tell afterwards what the rest was, so until the first sign-in here it
// does not count.

// digest is what was made of one password, ready to be compared.
type digest struct {
	method string // how it was made: scheme, parameters, salt
	want   []byte
	weak   bool

	// units is the work of sum, in those of bcrypt (2^cost) and a multiple of
	// leastUnits, for a password of that length.
	units func(length int) int
	// sum makes the same of another password, for comparison; nil if the scheme
	// reads no password of that length.
	sum func(password string) []byte
	// right replaces the comparison of sums.
	right func(password string) bool
}

// digestScheme knows one way to make digests.
type digestScheme struct {
	// split takes a digest apart into how it was made and what came out.
	split func(text string) (method, sum string, ok bool)
	// open makes a digest of a method, without want. Its error is for whoever
	// wrote the method and does not repeat it.
	open func(method string) (digest, error)
	// decode reads what came out; false if method never makes the like.
	decode func(sum string) ([]byte, bool)
}

var digestSchemes = map[string]digestScheme{
	"2a":            {splitBcrypt, openBcrypt, anySum},
	"2b":            {splitBcrypt, openBcrypt, anySum},
	"2y":            {splitBcrypt, openBcrypt, anySum},
	"5":             {splitLast, openSHACrypt, cryptSum(43)},
	"6":             {splitLast, openSHACrypt, cryptSum(86)},
	"argon2id":      {splitArgon2, openArgon2, decode64},
	"pbkdf2-sha256": {splitPBKDF2, openPBKDF2, decode64},
	"pbkdf2-sha512": {splitPBKDF2, openPBKDF2, decode64},
	"1":             {splitLast, openMD5Crypt, cryptSum(22)},
	"apr1":          {splitLast, openMD5Crypt, cryptSum(22)},
	"{SHA}":         {splitSHA1, openSHA1, decode64},
	"{SSHA}":        {splitSHA1, openSHA1, decode64},
}

// leastUnits is the least work we can add to even things out: that of bcrypt
// at its lowest cost, about a millisecond.
const leastUnits = 1 << bcrypt.MinCost

// wholeUnits rounds work to what can be evened out.
func wholeUnits(units int) int { return (units + leastUnits/2) / leastUnits * leastUnits }

// fewRounds is below what the slowest of the old schemes does by default: a
// digest made with fewer is wrapped.
const fewRounds = 5000

var errUnknownDigest = errors.New("no scheme this program knows: see docs/import.md for those it does")

// parseDigest reads what another program made of a password.
func parseDigest(text string) (digest, error) {
	scheme, ok := digestSchemes[digestName(text)]
	if !ok {
		return digest{}, errUnknownDigest
	}
	method, sum, ok := scheme.split(text)
	if !ok {
		return digest{}, errors.New("cut short or damaged")
	}
	d, err := scheme.open(method)
	if err != nil {
		return digest{}, err
	}
	if d.want, ok = scheme.decode(sum); !ok {
		return digest{}, errors.New("cut short or damaged")
	}
	return d, nil
}

// digestName is the scheme of "$scheme$..." or "{SCHEME}...".
func digestName(text string) string {
	if strings.HasPrefix(text, "{") {
		name, _, _ := strings.Cut(text, "}")
		return strings.ToUpper(name) + "}"
	}
	return schemeOf(text)
}

// splitLast is for digests that end in "$" and the sum.
func splitLast(text string) (method, sum string, ok bool) {
	i := strings.LastIndexByte(text, '$')
	return text[:max(i, 0)], text[i+1:], i > 0
}

// matches compares a password with the digest.
func (d digest) matches(password string) bool {
	if d.right != nil {
		return d.right(password)
	}
	sum := d.sum(password)
	return len(sum) > 0 && subtle.ConstantTimeCompare(sum, d.want) == 1
}

// verifyDigest checks a password in the scheme of another program.
func (p *passwords) verifyDigest(stored string, password Secret) (right bool, units int) {
	d, err := parseDigest(stored)
	if err != nil {
		return false, 0
	}
	units = d.units(len(password))
	p.work.Add(int64(units))
	return d.matches(password.Reveal()), units
}

// verifyWrapped checks a password against a digest that was wrapped. Making
// the digest is not counted: it is little, or it would not have been wrapped.
func (p *passwords) verifyWrapped(stored string, password Secret) (right bool, units int) {
	method, id, hash, ok := splitWrapped(stored)
	key, known := p.keys[id]
	cost, err := bcrypt.Cost(hash)
	if !ok || !known || err != nil {
		return false, 0
	}
	scheme, known := digestSchemes[digestName(method)]
	if !known {
		return false, 0
	}
	d, err := scheme.open(method)
	if err != nil || d.sum == nil {
		return false, 0
	}
	p.work.Add(1 << cost)
	sum := d.sum(password.Reveal())
	return bcrypt.CompareHashAndPassword(hash, prepareSum(key, sum)) == nil && len(sum) > 0, 1 << cost
}

// wrap must be called inside the pool.
func (p *passwords) wrap(d digest) (string, error) {
	p.work.Add(1 << p.cfg.BcryptCost)
	b, err := bcrypt.GenerateFromPassword(prepareSum(p.keys[p.today], d.want), p.cfg.BcryptCost)
	if err != nil {
		return "", err
	}
	return "$dw1w$" + strings.TrimPrefix(d.method, "$") + "$k=" + p.today + string(b), nil
}

// prepareSum is prepare for a digest; the label keeps it apart from passwords.
func prepareSum(key, sum []byte) []byte {
	return prepareBytes(key, append([]byte("digest\x00"), sum...))
}

// splitWrapped takes "$dw1w$METHOD$k=ID$2a$..." apart. A salt may hold "k=" as
// well, so the last one counts: nothing behind it can hold another.
func splitWrapped(stored string) (method, key string, hash []byte, ok bool) {
	rest, ok := strings.CutPrefix(stored, "$dw1w$")
	i := strings.LastIndex(rest, "$k=")
	if !ok || i < 0 {
		return "", "", nil, false
	}
	method = rest[:i]
	if !strings.HasPrefix(method, "{") {
		method = "$" + method
	}
	key, hash, ok = splitDW1("$dw1" + rest[i:])
	return method, key, hash, ok
}

// adopt turns what an import brings as a password's hash into what is stored:
// as it is, or a digest that has to be wrapped first. Hashes of our own come
// back from an export. The error is for the operator and holds nothing of the
// hash.
func (p *passwords) adopt(text string) (stored string, wrap *digest, err error) {
	switch schemeOf(text) {
	case "dw1", "dw1w":
		return text, nil, p.checkOwn(text)
	}
	d, err := parseDigest(text)
	if err != nil {
		return "", nil, err
	}
	if d.weak {
		return "", &d, nil
	}
	return text, nil, nil
}

// checkOwn says what is wrong with a hash that claims to be ours.
func (p *passwords) checkOwn(text string) error {
	id, hash, ok := splitDW1(text)
	if method, key, wrapped, isWrapped := splitWrapped(text); isWrapped {
		scheme, known := digestSchemes[digestName(method)]
		if !known {
			return errUnknownDigest
		}
		if d, err := scheme.open(method); err != nil || d.sum == nil {
			return errors.New("cut short or damaged")
		}
		id, hash, ok = key, wrapped, true
	}
	if !ok {
		return errors.New("cut short or damaged")
	}
	if p.keys[id] == nil {
		return errors.New("made with a pepper that is not configured here: set accounts.password.pepper to the one it was made with")
	}
	return checkBcrypt(string(hash), max(maxBcryptCost, p.cfg.BcryptCost))
}

// maxBcryptCost bounds bcrypt that is brought in: twice as dear again takes
// seconds.
const maxBcryptCost = 14

const bcryptLength = 60

func checkBcrypt(text string, most int) error {
	cost, err := bcrypt.Cost([]byte(text))
	switch {
	case err != nil || len(text) != bcryptLength || !inCryptAlphabet(text[7:]):
		return errors.New("cut short or damaged")
	case cost > most:
		return fmt.Errorf("bcrypt with a cost above %d takes too long", most)
	}
	return nil
}

func splitBcrypt(text string) (method, sum string, ok bool) { return text, "", true }

func openBcrypt(text string) (digest, error) {
	if err := checkBcrypt(text, maxBcryptCost); err != nil {
		return digest{}, err
	}
	cost, _ := bcrypt.Cost([]byte(text))
	return digest{
		method: text,
		units:  func(int) int { return 1 << cost },
		right: func(password string) bool {
			return bcrypt.CompareHashAndPassword([]byte(text), []byte(password)) == nil
		},
	}, nil
}

func anySum(string) ([]byte, bool) { return nil, true }
