package authn

import (
	"crypto/rand"
	"encoding/base32"
	"time"
)

// idLength is the length of every id we make: of users, sessions and keys.
const idLength = 26

// idEncoding is base32hex in lower case: its alphabet is in ASCII order, so ids
// sort as the bytes they stand for.
var idEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// newID returns an id that sorts by time (48 bits of milliseconds) and that
// nobody can guess or meet twice (80 random bits).
func newID(now time.Time) string {
	var b [16]byte
	ms := max(now.UnixMilli(), 0)
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	rand.Read(b[6:])
	return idEncoding.EncodeToString(b[:])
}

// idBytes is the id in 16 bytes, as refresh tokens and cookies carry it. False
// for anything newID could not have made.
func idBytes(id string) (b [16]byte, ok bool) {
	if len(id) != idLength {
		return b, false
	}
	n, err := idEncoding.Decode(b[:], []byte(id))
	// The last character holds two spare bits; only one spelling is an id.
	return b, err == nil && n == len(b) && idEncoding.EncodeToString(b[:]) == id
}

// idString is the inverse of idBytes.
func idString(b [16]byte) string { return idEncoding.EncodeToString(b[:]) }

// randomBytes returns n bytes nobody can guess. It never fails: crypto/rand
// ends the process rather than return less.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
