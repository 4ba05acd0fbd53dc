package authn

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// Digests written as the password hashing competition proposed:
// $scheme$parameters$salt$sum. The parameters say how much work the next
// sign-in takes, and the file may be anyone's, so they are bounded.

// decode64 reads base64 with or without padding, and as passlib writes it,
// with "." for "+".
func decode64(text string) ([]byte, bool) {
	text = strings.ReplaceAll(strings.TrimRight(text, "="), ".", "+")
	b, err := base64.RawStdEncoding.Strict().DecodeString(text)
	return b, err == nil
}

// parameters reads "m=1,t=2" where every name is known and given once, and
// every value is a number.
func parameters(text string, names ...string) (map[string]int, bool) {
	found := map[string]int{}
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		n, err := strconv.ParseUint(value, 10, 31)
		_, twice := found[name]
		if err != nil || twice {
			return nil, false
		}
		found[name] = int(n)
	}
	for name := range found {
		known := false
		for _, n := range names {
			known = known || n == name
		}
		if !known {
			return nil, false
		}
	}
	return found, true
}

// withLength notes in a method how long the sum is, which the scheme needs to
// know and a wrapped digest no longer shows.
func withLength(text string) (method, sum string, ok bool) {
	method, sum, ok = splitLast(text)
	fields := strings.Split(method, "$")
	raw, good := decode64(sum)
	if !ok || !good || len(fields) < 4 {
		return "", "", false
	}
	at := len(fields) - 2
	if _, err := strconv.Atoi(fields[at]); err == nil { // passlib's spelling
		fields[at] = "i=" + fields[at]
	}
	if p, ok := parameters(fields[at], "i", "l", "m", "t", "p"); !ok {
		return "", "", false
	} else if l, given := p["l"]; !given {
		fields[at] += ",l=" + strconv.Itoa(len(raw))
	} else if l != len(raw) {
		return "", "", false
	}
	return strings.Join(fields, "$"), sum, true
}

func splitArgon2(text string) (method, sum string, ok bool) { return withLength(text) }
func splitPBKDF2(text string) (method, sum string, ok bool) { return withLength(text) }

const (
	minArgon2KiB  = 1 << 10
	maxArgon2KiB  = 128 << 10 // per sign-in under way
	maxArgon2Time = 16
	maxArgon2Work = 512 << 10 // KiB times passes
	maxLanes      = 16

	// argon2PerUnit is how many KiB are passed over in one unit of bcrypt.
	argon2PerUnit = 55
)

// openArgon2 reads "$argon2id$v=19$m=65536,t=3,p=4,l=32$salt".
func openArgon2(method string) (digest, error) {
	fields := strings.Split(method, "$")
	if len(fields) != 5 || fields[2] != "v=19" {
		return digest{}, errors.New("argon2id without v=19")
	}
	p, ok := parameters(fields[3], "m", "t", "p", "l")
	m, t, lanes, length := p["m"], p["t"], p["p"], p["l"]
	switch {
	case !ok || length < 16 || length > 64:
		return digest{}, errors.New("cut short or damaged")
	case m < minArgon2KiB || m > maxArgon2KiB || t < 1 || t > maxArgon2Time || m*t > maxArgon2Work || lanes < 1 || lanes > maxLanes:
		return digest{}, fmt.Errorf("argon2id with other than m=%d to %d, t=1 to %d, p=1 to %d and at most %d for m times t", minArgon2KiB, maxArgon2KiB, maxArgon2Time, maxLanes, maxArgon2Work)
	}
	salt, ok := decode64(fields[4])
	if !ok || len(salt) < 8 || len(salt) > 64 {
		return digest{}, errors.New("its salt is not 8 to 64 bytes")
	}
	units := wholeUnits(m * t / argon2PerUnit / min(lanes, runtime.GOMAXPROCS(0)))
	return digest{
		method: method, units: func(int) int { return units },
		sum: func(password string) []byte {
			return argon2.IDKey([]byte(password), salt, uint32(t), uint32(m), uint8(lanes), uint32(length))
		},
	}, nil
}

// maxPBKDF2Rounds bounds rounds times blocks of output.
const maxPBKDF2Rounds = 2_000_000

// pbkdf2Hash is what PBKDF2 iterates, and how often in one unit of bcrypt.
type pbkdf2Hash struct {
	hash          func() hash.Hash
	roundsPerUnit int
}

var pbkdf2Hashes = map[string]pbkdf2Hash{
	"pbkdf2-sha256": {sha256.New, 236},
	"pbkdf2-sha512": {sha512.New, 94},
}

// openPBKDF2 reads "$pbkdf2-sha256$i=29000,l=32$salt".
func openPBKDF2(method string) (digest, error) {
	fields := strings.Split(method, "$")
	if len(fields) != 4 {
		return digest{}, errors.New("cut short or damaged")
	}
	v := pbkdf2Hashes[fields[1]]
	p, ok := parameters(fields[2], "i", "l")
	rounds, length := p["i"], p["l"]
	if !ok || length < 16 || length > 64 {
		return digest{}, errors.New("cut short or damaged")
	}
	size := v.hash().Size()
	work := rounds * ((length + size - 1) / size)
	if rounds < 1 || work > maxPBKDF2Rounds {
		return digest{}, fmt.Errorf("its rounds are not 1 to %d", maxPBKDF2Rounds)
	}
	salt, ok := decode64(fields[3])
	if !ok || len(salt) < 4 || len(salt) > 1024 {
		return digest{}, errors.New("its salt is not 4 to 1024 bytes")
	}
	units := wholeUnits(work / v.roundsPerUnit)
	return digest{
		method: method, weak: rounds < fewRounds, units: func(int) int { return units },
		sum: func(password string) []byte {
			sum, err := pbkdf2.Key(v.hash, password, salt, rounds, length)
			if err != nil {
				return nil
			}
			return sum
		},
	}, nil
}
