package bolt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
	"go.etcd.io/bbolt"
)

// goodFile is the bytes of a store with some users in it, and how many of them
// are in use: bbolt makes room in advance.
func goodFile(t *testing.T) (whole []byte, used int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "doorward.db")
	s := openAt(t, path)
	for i := range 50 {
		writeUser(t, s, i)
	}
	if err := s.db.View(func(btx *bbolt.Tx) error { used = int(btx.Size()); return nil }); err != nil {
		t.Fatal(err)
	}
	s.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return whole, used
}

func writeUser(t testing.TB, s *Store, n int) {
	t.Helper()
	if err := s.Update(t.Context(), func(tx authn.Tx) error { return tx.PutUser(person(n)) }); err != nil {
		t.Fatal(err)
	}
}

func person(n int) authn.User {
	name := "user" + strconv.Itoa(n)
	return authn.User{ID: "id" + strconv.Itoa(1_000_000+n), Username: name, Email: name + "@example.com", Name: "Ursula " + name, Roles: []string{"user"}, Active: true}
}

// foreignBolt is a bbolt file another program made.
func foreignBolt(t *testing.T, noFreelist bool, fill func(btx *bbolt.Tx) error) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "other.db")
	o := *bbolt.DefaultOptions
	o.NoFreelistSync = noFreelist // opening such a file for writing changes it
	db, err := bbolt.Open(path, 0o600, &o)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fill), db.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func withBuckets(names ...string) func(btx *bbolt.Tx) error {
	return func(btx *bbolt.Tx) (err error) {
		for _, n := range names {
			_, e := btx.CreateBucket([]byte(n))
			err = errors.Join(err, e)
		}
		return err
	}
}

func versioned(v string) func(btx *bbolt.Tx) error {
	return func(btx *bbolt.Tx) error {
		return errors.Join(mark(btx), btx.Bucket([]byte(metaBucket)).Put(metaVersion, []byte(v)))
	}
}

func TestBadFilesAreRefusedAndUntouched(t *testing.T) {
	good, used := goodFile(t)
	page := os.Getpagesize()
	damaged := func(from, to int) []byte {
		b := bytes.Clone(good)
		for i := from; i < to; i++ {
			b[i] = 0xa5
		}
		return b
	}
	for _, tt := range []struct {
		name string
		file []byte
		want error
		says string
	}{
		{"text", []byte("listen: :8080\n"), ErrForeign, "name another file"},
		{"zeros", make([]byte, 1<<16), ErrForeign, "name another file"},
		{"sqlite", append([]byte("SQLite format 3\x00"), make([]byte, 1<<14)...), ErrForeign, "name another file"},
		{"bbolt of another program", foreignBolt(t, false, withBuckets("theirs")), ErrForeign, "another program"},
		{"bbolt of another program, no free list", foreignBolt(t, true, withBuckets("theirs")), ErrForeign, "another program"},
		{"bbolt with a meta bucket of its own", foreignBolt(t, false, withBuckets("meta")), ErrForeign, "another program"},
		{"newer", foreignBolt(t, false, versioned("5")), ErrNewer, "run the newer Doorward"},
		{"much newer", foreignBolt(t, true, versioned("7000")), ErrNewer, "run the newer Doorward"},
		{"version unreadable", foreignBolt(t, false, versioned("x")), ErrDamaged, "restore a backup"},
		{"a bucket is missing", foreignBolt(t, false, func(btx *bbolt.Tx) error {
			return errors.Join(mark(btx), btx.DeleteBucket([]byte(usersBucket)))
		}), ErrDamaged, "users is missing"},
		{"cut in the first header", good[:40], ErrDamaged, "restore a backup"},
		{"cut after the first header", good[:page], ErrDamaged, "cut short"},
		{"cut after both headers", good[:2*page], ErrDamaged, "cut short"},
		{"cut inside the headers' pages", good[:2*page-7], ErrDamaged, "cut short"},
		{"cut in half", good[:used/2], ErrDamaged, "cut short"},
		{"cut by a byte", good[:used-1], ErrDamaged, "cut short"},
		{"both headers overwritten behind the magic number", append(append(append(bytes.Clone(good[:20]), make([]byte, page-20)...), make([]byte, page)...), good[2*page:]...), ErrDamaged, "header is not whole"},
		{"everything behind the headers overwritten", damaged(2*page, len(good)), ErrDamaged, "restore a backup"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "doorward.db")
			if err := os.WriteFile(path, tt.file, 0o640); err != nil {
				t.Fatal(err)
			}
			s, err := Open(t.Context(), path, Options{})
			if err == nil {
				s.Close()
			}
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %v that says %q", err, tt.want, tt.says)
			}
			after, readErr := os.ReadFile(path)
			info, statErr := os.Stat(path)
			if err := errors.Join(readErr, statErr); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(after, tt.file) || info.Mode().Perm() != 0o640 {
				t.Error("the file was changed")
			}
			entries, _ := os.ReadDir(filepath.Dir(path))
			if len(entries) != 1 {
				t.Errorf("got %v beside the file, want nothing", entries)
			}
		})
	}
}

// TestEitherHeaderWillDo: bbolt writes its two headers in turn, so that one is
// whole whenever the machine stops.
func TestEitherHeaderWillDo(t *testing.T) {
	good, _ := goodFile(t)
	page := os.Getpagesize()
	for _, header := range []int{0, 1} {
		path := filepath.Join(t.TempDir(), "doorward.db")
		b := bytes.Clone(good)
		b[header*page+pageHeader+50] ^= 0xff // in the transaction's number, covered by the checksum
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s := openAt(t, path)
		if got := total(t, s); got < 49 { // the older header lacks the last commit
			t.Errorf("header %d damaged: got %d users, want 49 or 50", header, got)
		}
	}
}

func total(t testing.TB, s *Store) (n int) {
	t.Helper()
	err := s.View(t.Context(), func(tx authn.Tx) error {
		page, err := tx.Users(authn.UserQuery{Limit: 1})
		n = page.Total
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doorward.db")
	s := openAt(t, path)
	writeUser(t, s, 1)
	before, _ := os.ReadFile(path)
	_, err := Open(t.Context(), path, Options{})
	if !errors.Is(err, ErrLocked) {
		t.Errorf("got %v, want ErrLocked", err)
	} else if got, want := err.Error(), "store is locked: another process has "+path+" open"; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want %q and what to do", got, want)
	}
	after, _ := os.ReadFile(path)
	if !bytes.Equal(after, before) {
		t.Error("the file was changed")
	}
	writeUser(t, s, 2)
	s.Close()
	if got := total(t, openAt(t, path)); got != 2 {
		t.Errorf("got %d users after the lock was released, want 2", got)
	}
}

func TestPathsThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct{ name, path, says string }{
		{"no directory", filepath.Join(dir, "missing", "doorward.db"), "missing does not exist: create it"},
		{"a directory", dir, "is not a file"},
	} {
		_, err := Open(t.Context(), tt.path, Options{})
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %v, want an error that says %q", tt.name, err, tt.says)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("got %v, want nothing left behind", entries)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, filepath.Join(dir, "x.db"), Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// TestUnfinishedCreation: whoever was killed while making the store left an
// empty file, or a bbolt file with nothing in it. Neither holds anything.
func TestUnfinishedCreation(t *testing.T) {
	empty := foreignBolt(t, false, func(*bbolt.Tx) error { return nil })
	for name, b := range map[string][]byte{"no byte": nil, "no bucket": empty} {
		path := filepath.Join(t.TempDir(), "doorward.db")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s := openAt(t, path)
		writeUser(t, s, 1)
		if got := total(t, s); got != 1 {
			t.Errorf("%s: got %d users, want 1", name, got)
		}
	}
}

func TestFileMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doorward.db")
	mode := func() os.FileMode {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	openAt(t, path).Close()
	if got := mode(); got != 0o600 {
		t.Errorf("new file: got mode %04o, want 0600", got)
	}
	if err := os.Chmod(path, 0o664); err != nil {
		t.Fatal(err)
	}
	openAt(t, path).Close()
	if got := mode(); got != 0o600 {
		t.Errorf("a file others may read: got mode %04o, want 0600", got)
	}
}

func TestCheckNoticesAFileThatIsGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doorward.db")
	s := openAt(t, path)
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); err == nil {
		t.Error("the file is gone: got no error")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); err == nil {
		t.Error("another file is in its place: got no error")
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("the file is back: got %v", err)
	}
}

// TestUpgrade: a file of version 1, from before there were tickets, opens and
// has room for them, and so does one of version 2, with sessions whose entries
// all stand at their ends; from then on it is of today's version.
func TestUpgrade(t *testing.T) {
	for version := 1; version < storeVersion; version++ {
		t.Run(strconv.Itoa(version), func(t *testing.T) { upgrades(t, version) })
	}
}

func upgrades(t *testing.T, version int) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	old := foreignBolt(t, false, func(btx *bbolt.Tx) error {
		err := mark(btx)
		for b, v := range since {
			if v > version {
				err = errors.Join(err, btx.DeleteBucket([]byte(b)))
			}
		}
		record := `{"v":1,"user":"id1000001","mode":"token","created_at":"2026-01-01T00:00:00Z","idle_end":"2026-01-01T01:00:00Z","end":"2026-01-02T00:00:00Z"}`
		x := authn.Session{ID: "s", User: "id1000001", CreatedAt: now}
		return errors.Join(err, btx.Bucket([]byte(metaBucket)).Put(metaVersion, []byte(strconv.Itoa(version))),
			btx.Bucket([]byte(sessionsBucket)).Put([]byte("s"), []byte(record)),
			btx.Bucket([]byte(sessionsOfBucket)).Put(sessionOf(x), nil),
			btx.Bucket([]byte(expiryBucket)).Put(expiryKey(kindSession, "s", now.Add(time.Hour)), nil))
	})
	path := filepath.Join(t.TempDir(), "doorward.db")
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, path)
	writeUser(t, s, 1)
	ticket := authn.Ticket{ID: "t", Kind: authn.TicketVerifyEmail, User: "id1000001"}
	err := s.Update(t.Context(), func(tx authn.Tx) error {
		x, err := tx.Session("s")
		x.IdleEnd = now.Add(3 * time.Hour)
		return errors.Join(err, tx.PutTicket(ticket), tx.PutSession(x))
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = openAt(t, path)
	mustBeConsistent(t, s)
	err = s.db.View(func(btx *bbolt.Tx) error {
		if got := string(btx.Bucket([]byte(metaBucket)).Get(metaVersion)); got != strconv.Itoa(storeVersion) {
			t.Errorf("got version %s, want %d", got, storeVersion)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
