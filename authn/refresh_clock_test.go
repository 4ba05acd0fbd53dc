package authn_test

import (
	"errors"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

// TestRefreshGraceWhenTheClockGoesBack: a rotation that is still to come by the
// clock is no rotation of a moment ago, or setting the clock back by an hour
// would give a stolen token that hour.
func TestRefreshGraceWhenTheClockGoesBack(t *testing.T) {
	f := newService(t, nil)
	f.newUser(t, "ada", "user")
	in := f.signIn(t, "ada", authn.ModeToken)
	f.advance(time.Hour)
	f.rotated(t, in.RefreshToken)
	f.advance(-30 * time.Minute)
	if _, err := f.refresh(in.RefreshToken); !errors.Is(err, authn.ErrRefreshReused) {
		t.Errorf("got %v, want %v", err, authn.ErrRefreshReused)
	}
}
