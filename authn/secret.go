package authn

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"log/slog"
)

// redacted is what a Secret shows to anything that prints it.
const redacted = "REDACTED"

// Secret is a value that must not be seen: a password, a token, a pepper, a
// private key. It prints as REDACTED in logs, JSON, YAML, %v and %#v. Only the
// code that uses a secret turns it back, with Reveal, and hands it to nothing
// that keeps it.
type Secret string

// Reveal returns the secret itself. Every call is a place to look at twice.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) String() string   { return redacted }
func (s Secret) GoString() string { return redacted }

// LogValue keeps slog from reaching the underlying string by reflection.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
func (s Secret) MarshalYAML() (any, error)    { return redacted, nil }

// Equal compares in time that depends on the lengths alone.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s), []byte(other)) == 1
}

// sum is how a secret of high entropy rests in the store: nothing that can be
// presented again can be read back from a copy of the database.
func (s Secret) sum() []byte {
	h := sha256.Sum256([]byte(s))
	return h[:]
}
