package authn

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

// The digests of crypt(3) and of htpasswd: MD5 crypt ($1$, and Apache's $apr1$,
// which differs in its label only), SHA crypt ($5$, $6$; U. Drepper,
// "Unix crypt using SHA-256 and SHA-512") and plain SHA-1.

// cryptAlphabet is base64 as crypt(3) writes it.
const cryptAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func inCryptAlphabet(text string) bool {
	return strings.Trim(text, cryptAlphabet) == ""
}

// cryptSum reads a sum of n characters, which is compared as it is written.
func cryptSum(n int) func(string) ([]byte, bool) {
	return func(sum string) ([]byte, bool) {
		return []byte(sum), len(sum) == n && inCryptAlphabet(sum)
	}
}

// goodSalt reports whether a salt is 1 to most printable characters. "$" and
// ":" part fields.
func goodSalt(salt string, most int) bool {
	odd := func(r rune) bool { return r <= ' ' || r > '~' || r == '$' || r == ':' }
	return salt != "" && len(salt) <= most && !strings.ContainsFunc(salt, odd)
}

// triples writes bytes of sum the way crypt(3) does: three at a time, in the
// order given, six bits a character, lowest first. -1 stands for no byte.
func triples(sum []byte, order [][3]int) []byte {
	var out []byte
	for _, t := range order {
		bits, n := 0, 1
		for _, i := range t {
			bits <<= 8
			if i >= 0 {
				bits |= int(sum[i])
				n++
			}
		}
		for range n {
			out = append(out, cryptAlphabet[bits&63])
			bits >>= 6
		}
	}
	return out
}

// cycle is the first n bytes of block repeated.
func cycle(block []byte, n int) []byte {
	out := make([]byte, 0, n+len(block))
	for len(out) < n {
		out = append(out, block...)
	}
	return out[:n]
}

// openMD5Crypt reads "$1$salt" or "$apr1$salt".
func openMD5Crypt(method string) (digest, error) {
	name, salt, _ := strings.Cut(method[1:], "$")
	if !goodSalt(salt, 8) {
		return digest{}, errors.New("its salt is not 1 to 8 characters")
	}
	return digest{
		method: method, weak: true, units: func(int) int { return 0 },
		sum: func(password string) []byte { return md5Crypt("$"+name+"$", salt, []byte(password)) },
	}, nil
}

var md5Order = [][3]int{{0, 6, 12}, {1, 7, 13}, {2, 8, 14}, {3, 9, 15}, {4, 10, 5}, {-1, -1, 11}}

const md5Rounds = 1000

func md5Crypt(label, salt string, password []byte) []byte {
	inner := md5.New()
	inner.Write(password)
	inner.Write([]byte(salt))
	inner.Write(password)
	h := md5.New()
	h.Write(password)
	h.Write([]byte(label + salt))
	h.Write(cycle(inner.Sum(nil), len(password)))
	for n := len(password); n > 0; n >>= 1 {
		if n&1 == 1 {
			h.Write([]byte{0})
		} else {
			h.Write(password[:1])
		}
	}
	sum := h.Sum(nil)
	for i := range md5Rounds {
		sum = stir(h, i, sum, password, []byte(salt))
	}
	return triples(sum, md5Order)
}

// stir is one round, the same for MD5 crypt and SHA crypt: what changes is
// which of its parts a round takes.
func stir(h hash.Hash, round int, sum, password, salt []byte) []byte {
	h.Reset()
	first, last := sum, password
	if round%2 == 1 {
		first, last = password, sum
	}
	h.Write(first)
	if round%3 != 0 {
		h.Write(salt)
	}
	if round%7 != 0 {
		h.Write(password)
	}
	h.Write(last)
	return h.Sum(nil)
}

const (
	shaCryptRounds    = 5000 // where none are named
	minSHACryptRounds = 1000
	maxSHACryptRounds = 500_000

	// maxSHACryptPassword is what crypt(3) reads. Every round takes work by
	// the length of the password.
	maxSHACryptPassword = 512
)

// openSHACrypt reads "$5$salt" or "$6$rounds=N$salt".
func openSHACrypt(method string) (digest, error) {
	fields := strings.Split(method, "$")[1:]
	rounds := shaCryptRounds
	if len(fields) == 3 {
		text, ok := strings.CutPrefix(fields[1], "rounds=")
		n, err := strconv.Atoi(text)
		if !ok || err != nil || n < minSHACryptRounds || n > maxSHACryptRounds {
			return digest{}, fmt.Errorf("its rounds are not %d to %d", minSHACryptRounds, maxSHACryptRounds)
		}
		rounds = n
		fields = append(fields[:1], fields[2])
	}
	if len(fields) != 2 || !goodSalt(fields[1], 16) {
		return digest{}, errors.New("its salt is not 1 to 16 characters")
	}
	v, salt := shaCrypts[fields[0]], []byte(fields[1])
	return digest{
		method: method, weak: rounds < fewRounds,
		units: func(length int) int { return v.units(rounds, length, len(salt)) },
		sum: func(password string) []byte {
			if len(password) > maxSHACryptPassword {
				return nil
			}
			return v.sum(rounds, salt, []byte(password))
		},
	}, nil
}

// shaCrypt is what differs between $5$ and $6$.
type shaCrypt struct {
	hash  func() hash.Hash
	order [][3]int
	// blocksPerUnit is how many blocks are hashed in one unit of bcrypt.
	blocksPerUnit int
}

var shaCrypts = map[string]shaCrypt{
	"5": {sha256.New, sha256Order(), 700},
	"6": {sha512.New, sha512Order(), 210},
}

// sha256Order is the published order of the 32 bytes.
func sha256Order() [][3]int { return append(rotating([3]int{0, 10, 20}, 10, 2), [3]int{-1, 31, 30}) }

// sha512Order is the published order of the 64 bytes.
func sha512Order() [][3]int { return append(rotating([3]int{0, 21, 42}, 21, 1), [3]int{-1, -1, 63}) }

// rotating lists n triples. Each takes the next byte of the three runs that
// begin at start; from one triple to the next the runs move places to the
// left.
func rotating(start [3]int, n, places int) [][3]int {
	var order [][3]int
	for i := range n {
		var t [3]int
		for at := range t {
			t[at] = start[(at+i*places)%3] + i
		}
		order = append(order, t)
	}
	return order
}

func (v shaCrypt) sum(rounds int, salt, password []byte) []byte {
	h := v.hash()
	digestOf := func(parts ...[]byte) []byte {
		h.Reset()
		for _, part := range parts {
			h.Write(part)
		}
		return h.Sum(nil)
	}
	inner := digestOf(password, salt, password)
	mix := [][]byte{password, salt, cycle(inner, len(password))}
	for n := len(password); n > 0; n >>= 1 {
		if n&1 == 1 {
			mix = append(mix, inner)
		} else {
			mix = append(mix, password)
		}
	}
	sum := digestOf(mix...)
	var repeated [][]byte
	for range password {
		repeated = append(repeated, password)
	}
	p := cycle(digestOf(repeated...), len(password))
	repeated = repeated[:0]
	for range 16 + int(sum[0]) {
		repeated = append(repeated, salt)
	}
	s := cycle(digestOf(repeated...), len(salt))
	for i := range rounds {
		sum = stir(h, i, sum, p, s)
	}
	return triples(sum, v.order)
}

// units estimates the work: a round hashes the sum, the password once or twice
// and most of the time the salt, and a block is filled up with its length.
func (v shaCrypt) units(rounds, password, salt int) int {
	if password > maxSHACryptPassword {
		return 0
	}
	h := v.hash()
	bytes := h.Size() + password*13/7 + salt*2/3 + 1 + h.BlockSize()/8
	blocks := 1 + float64(bytes-1)/float64(h.BlockSize())
	return wholeUnits(int(float64(rounds) * max(blocks-0.5, 1) / float64(v.blocksPerUnit)))
}

// splitSHA1 takes "{SHA}base64" and "{SSHA}base64" apart. The second holds
// its salt behind the sum.
func splitSHA1(text string) (method, sum string, ok bool) {
	name, coded, _ := strings.Cut(text, "}")
	raw, err := base64.StdEncoding.Strict().DecodeString(coded)
	if err != nil || len(raw) < sha1.Size {
		return "", "", false
	}
	salt := base64.RawStdEncoding.EncodeToString(raw[sha1.Size:])
	return strings.ToUpper(name) + "}" + salt, base64.RawStdEncoding.EncodeToString(raw[:sha1.Size]), true
}

// openSHA1 reads "{SHA}" or "{SSHA}salt".
func openSHA1(method string) (digest, error) {
	name, coded, _ := strings.Cut(method, "}")
	salt, ok := decode64(coded)
	if !ok || (name == "{SHA") != (len(salt) == 0) || len(salt) > 64 {
		return digest{}, errors.New("cut short or damaged")
	}
	return digest{
		method: method, weak: true, units: func(int) int { return 0 },
		sum: func(password string) []byte {
			sum := sha1.Sum(append([]byte(password), salt...))
			return sum[:]
		},
	}, nil
}
