package bolt

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/store/storetest"
)

// TestStore runs the contract where what is written stands apart for good, where
// it never does for long, and where there is always too much of it.
func TestStore(t *testing.T) {
	for name, r := range map[string]room{"ordinary": ordinaryRoom, "none kept": {0, 1 << 20}, "overfull": {1 << 20, 0}} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, dir string) authn.Store {
				t.Helper()
				return openIn(t, filepath.Join(dir, "doorward.db"), r)
			})
		})
	}
}

func openAt(t testing.TB, path string) *Store {
	t.Helper()
	return openIn(t, path, ordinaryRoom)
}

func openIn(t testing.TB, path string, r room) *Store {
	t.Helper()
	s := opened(t, path, r)
	go s.write()
	t.Cleanup(func() { s.Close() })
	return s
}

// openUnwritten opens a store of which together is the writer, until begin has
// it get its own.
func openUnwritten(t testing.TB, path string, r room) (s *Store, begin func()) {
	t.Helper()
	s = opened(t, path, r)
	begin = sync.OnceFunc(func() { go s.write() })
	t.Cleanup(func() { begin(); s.Close() })
	return s, begin
}

func opened(t testing.TB, path string, r room) *Store {
	t.Helper()
	s, err := open(t.Context(), path, Options{}, r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
