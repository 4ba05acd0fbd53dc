package bolt

import (
	"path/filepath"
	"testing"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, dir string) authn.Store {
		t.Helper()
		return openAt(t, filepath.Join(dir, "doorward.db"))
	})
}

func openAt(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
