package bolt

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/doorward/doorward/authn"
)

func TestBackupIsAStore(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "doorward.db"))
	for i := range 300 {
		writeUser(t, s, i)
	}
	// Writers go on meanwhile; the copy is of one moment.
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 300; ctx.Err() == nil; i++ {
			s.Update(ctx, func(tx authn.Tx) error { return tx.PutUser(person(i)) })
		}
	})
	path := filepath.Join(dir, "copy.db")
	err := s.Backup(t.Context(), path)
	stop()
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v, %v, want mode 0600", info.Mode(), err)
	}
	wantFiles(t, dir, "copy.db", "doorward.db")
	copied := openAt(t, path)
	mustBeConsistent(t, copied)
	if got := total(t, copied); got < 300 {
		t.Errorf("got %d users in the copy, want 300 or more", got)
	}
	writeUser(t, copied, 1_000_000)
}

// TestBackupHoldsEverything: what takes several transactions to copy, and what
// stands apart, is all there and where it belongs, in pages that are full.
func TestBackupHoldsEverything(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, filepath.Join(dir, "doorward.db"), room{1 << 20, 1 << 20})
	err := s.Update(t.Context(), func(tx authn.Tx) error {
		var err error
		for i := range 3 * copyAtOnce / 1000 {
			u := person(i)
			u.PasswordHash = strings.Repeat("x", 700)
			err = errors.Join(err, tx.PutUser(u))
		}
		return errors.Join(err, signUp("z")(tx), signUp("b")(tx), signUp("a")(tx), signOut("b")(tx))
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "copy.db")
	if err := s.Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	c := openAt(t, path)
	want, size := contents(t, s)
	if got, _ := contents(t, c); !maps.Equal(got, want) {
		t.Errorf("the copy has %d entries, the store %d, or they differ", len(got), len(want))
	}
	if before, after := s.Apart(), c.Apart(); before == 0 || after != 0 {
		t.Errorf("got %d entries that stand apart in the store and %d in its copy, want some and none", before, after)
	}
	if size < 2*copyAtOnce || info.Size() > int64(size)*2 {
		t.Errorf("the copy takes %d bytes for %d", info.Size(), size)
	}
	mustBeConsistent(t, c)
}

// contents is every entry as a reader sees it, by bucket and key, and how many
// bytes they are.
func contents(t *testing.T, s *Store) (all map[string]string, size int) {
	t.Helper()
	all = map[string]string{}
	err := s.View(t.Context(), func(at authn.Tx) error {
		for _, b := range buckets {
			if b == recentBucket {
				continue
			}
			at.(*tx).ascend(b, nil, func(k, v []byte) bool {
				all[string(b)+"/"+string(k)] = string(v)
				size += len(k) + len(v)
				return true
			})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, size
}

// TestBackupLeavesFreedPagesBehind: the seed of a token long rotated lies on in
// the file, in a page that is free, and must not travel with the copy.
func TestBackupLeavesFreedPagesBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "doorward.db")
	s := openAt(t, path)
	seed := []byte("a seed that was rotated long ago")
	session := authn.Session{ID: "s", User: "u", Chain: &authn.Chain{Links: []authn.Link{{Seed: seed}}}}
	put := func(session authn.Session) {
		t.Helper()
		if err := s.Update(t.Context(), func(tx authn.Tx) error { return tx.PutSession(session) }); err != nil {
			t.Fatal(err)
		}
	}
	put(session)
	encoded := []byte("YSBzZWVkIHRoYXQgd2FzIHJvdGF0ZWQgbG9uZyBhZ28=")
	session.Chain = &authn.Chain{}
	put(session)
	if file, _ := os.ReadFile(path); !bytes.Contains(file, encoded) {
		t.Fatal("the live file does not hold the old seed: the test shows nothing")
	}
	copyPath := filepath.Join(dir, "copy.db")
	if err := s.Backup(t.Context(), copyPath); err != nil {
		t.Fatal(err)
	}
	if file, _ := os.ReadFile(copyPath); len(file) == 0 || bytes.Contains(file, encoded) {
		t.Error("the copy holds the old seed")
	}
}

// TestBackupOfADamagedStore: what cannot be read is said, and does not leave the
// backup waiting for itself.
func TestBackupOfADamagedStore(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "doorward.db")
	s := openAt(t, path)
	for i := range 300 {
		writeUser(t, s, i)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	const count = 10 // where a page says how many entries it has
	for at := 4 * page; at < len(file); at += page {
		if bytes.Contains(file[at:at+page], []byte(`"username":"`+person(150).Username)) {
			copy(file[at+count:], "\xff\xff")
		}
	}
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path)
	if err := s.Backup(t.Context(), filepath.Join(dir, "copy.db")); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want that the store is damaged", err)
	}
	wantFiles(t, dir, "doorward.db")
}

func TestBackupRefuses(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, filepath.Join(dir, "doorward.db"))
	taken := filepath.Join(dir, "taken")
	if err := os.WriteFile(taken, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name, path, says string
		ctx              context.Context
	}{
		{"a file", taken, "exists", t.Context()},
		{"the store itself", s.path, "exists", t.Context()},
		{"a link to nowhere", filepath.Join(dir, "link"), "exists", t.Context()},
		{"a directory", dir, "exists", t.Context()},
		{"no directory", filepath.Join(dir, "missing", "copy"), "no such file or directory", t.Context()},
		{"given up", filepath.Join(dir, "copy"), "canceled", ended},
	} {
		if err := s.Backup(tt.ctx, tt.path); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want an error that says %q", tt.name, err, tt.says)
		}
	}
	if got, _ := os.ReadFile(taken); string(got) != "mine" {
		t.Errorf("the file was overwritten with %d bytes", len(got))
	}
	wantFiles(t, dir, "doorward.db", "link", "taken")
	// The race: the name is taken after the first look.
	tmp := filepath.Join(dir, "tmp")
	os.WriteFile(tmp, []byte("copy"), 0o600)
	if err := publish(tmp, taken); err == nil {
		t.Error("publish replaced a file")
	}
	if got, _ := os.ReadFile(taken); string(got) != "mine" {
		t.Error("publish replaced a file")
	}
}

func wantFiles(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got the files %v, want %v", got, want)
	}
}
