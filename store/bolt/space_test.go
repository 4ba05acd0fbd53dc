package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
	"go.etcd.io/bbolt"
)

// TestNoDiskSpace starves a child of room for its file, in the two places
// where it shows: the file cannot grow, and a page inside it cannot be written.
func TestNoDiskSpace(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := child(ctx, "full", filepath.Join(t.TempDir(), "doorward.db")).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func fillDisk(path string) error {
	signal.Ignore(syscall.SIGXFSZ)
	ctx := context.Background()
	s, err := Open(ctx, path, Options{})
	if err != nil {
		return err
	}
	if err := s.Update(ctx, func(tx authn.Tx) error { return tx.PutSession(authn.Session{ID: "z", User: "u"}) }); err != nil {
		return err
	}
	written := 0
	write := func() error {
		err := s.Update(ctx, func(tx authn.Tx) error {
			u := person(written)
			u.PasswordHash = strings.Repeat("x", 9000)
			apart := authn.Session{ID: "s", User: "u", UserAgent: u.ID} // before "z"
			return errors.Join(tx.PutUser(u), tx.PutSession(apart), tx.AddEvent(authn.Event{Kind: authn.UserCreated, Subject: u.ID}, time.Now()))
		})
		if err == nil {
			written++
		}
		// Whether it was written or not, readers see what was last.
		readErr := s.View(ctx, func(tx authn.Tx) error {
			x, err := tx.Session("s")
			if want := person(written - 1).ID; err == nil && x.UserAgent != want {
				return fmt.Errorf("read the write of %s, want that of %s", x.UserAgent, want)
			}
			return err
		})
		if readErr != nil {
			return readErr
		}
		return err
	}
	for range 20 {
		if err := write(); err != nil {
			return err
		}
	}
	sizes := map[string]func() int64{
		"of the file":  func() int64 { info, _ := os.Stat(path); return info.Size() },
		"that is used": func() (n int64) { s.db.View(func(btx *bbolt.Tx) error { n = btx.Size(); return nil }); return n },
	}
	for _, name := range []string{"of the file", "that is used"} {
		before, told := written, 0
		err := watching(s, func(authn.Change) { told++ }, func() error { return starve(sizes[name](), write) })
		if err != nil {
			return fmt.Errorf("limited to the size %s: %w", name, err)
		}
		if told != 2*(written-before) { // a user's and a session's
			return fmt.Errorf("watch: got %d changes for %d updates", told, written-before)
		}
		if err := s.Check(ctx); err != nil {
			return fmt.Errorf("check when there is room again: %w", err)
		}
		if err := count(s, written); err != nil {
			return err
		}
	}
	if err := s.Close(); err != nil {
		return err
	}
	if s, err = Open(ctx, path, Options{}); err != nil {
		return err
	}
	if err := count(s, written); err != nil {
		return err
	}
	for err := range checkPages(s) {
		return err
	}
	return s.Close()
}

// watching does something while tell watches.
func watching(s *Store, tell func(authn.Change), do func() error) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.Watch(ctx, func() { close(ready) }, tell) }()
	<-ready
	err := do()
	stop()
	return errors.Join(err, <-ended)
}

// starve writes until there is no room, ten times more, and then with room.
func starve(size int64, write func() error) error {
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	tight := old
	tight.Cur = uint64(size)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &tight); err != nil {
		return err
	}
	failed := 0
	for tries := 0; failed < 10; tries++ {
		err := write()
		switch {
		case err != nil && strings.Contains(err.Error(), syscall.EFBIG.Error()): // bbolt does not always wrap
			failed++
		case err != nil:
			return fmt.Errorf("want the operating system's error, got %w", err)
		case tries > 1000:
			return errors.New("the limit does not bite")
		}
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	for range 200 {
		if err := write(); err != nil {
			return fmt.Errorf("with room again: %w", err)
		}
	}
	return nil
}

func checkPages(s *Store) <-chan error {
	errs := make(chan error, 100)
	s.db.View(func(btx *bbolt.Tx) error {
		defer close(errs)
		for err := range btx.Check() {
			select {
			case errs <- err:
			default:
			}
		}
		return nil
	})
	return errs
}

// count reads back everyone who was acknowledged, and nobody else.
func count(s *Store, want int) error {
	return s.View(context.Background(), func(tx authn.Tx) error {
		page, err := tx.Users(authn.UserQuery{Limit: 1})
		if err != nil || page.Total != want {
			return fmt.Errorf("got %d users, want %d, %w", page.Total, want, err)
		}
		for i := range want {
			if _, err := tx.UserByUsername(person(i).Username); err != nil {
				return fmt.Errorf("user %d: %w", i, err)
			}
		}
		if _, err := tx.User(person(want).ID); err != authn.ErrNotFound {
			return fmt.Errorf("user %d was refused and is there: %v", want, err)
		}
		return nil
	})
}
