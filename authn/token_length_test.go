package authn_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/doorward/doorward/authn"
)

// TestTokenOfAnyLength: past what a token of ours can be, even one with our
// signature is not read. Whoever has no key must not have megabytes hashed.
func TestTokenOfAnyLength(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	w := stolen(t, f, f.signIn(t, "ada", authn.ModeToken).AccessToken)
	for n, want := range map[int]error{1000: nil, authn.MaxToken: authn.ErrTokenInvalid, 1 << 20: authn.ErrTokenInvalid} {
		if _, err := f.bearer(w.and("padding", `"`+strings.Repeat("x", n)+`"`).token(t)); !errors.Is(err, want) {
			t.Errorf("with %d bytes more: got %v, want %v", n, err, want)
		}
	}
}
