package bolt

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
	"go.etcd.io/bbolt"
)

// childEnv turns this test binary into a process to be killed or starved.
const childEnv = "DOORWARD_STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	switch os.Getenv(childEnv) {
	case "write":
		writeForever(os.Args[1], os.Args[2])
	case "full":
		if err := fillDisk(os.Args[1]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(ctx context.Context, kind string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"="+kind)
	cmd.Stderr = os.Stderr
	return cmd
}

// writeForever signs people up and out until it is killed, and says so only
// after the store has.
func writeForever(path, round string) {
	s, err := Open(context.Background(), path, Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%sx%dx%d", round, worker, n)
				if err := s.Update(context.Background(), signUp(id)); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				fmt.Println("in " + id) // one write: whole or not at all
				if n%3 == 0 {
					if err := s.Update(context.Background(), signOut(id)); err != nil {
						fmt.Fprintln(os.Stderr, err)
						os.Exit(1)
					}
					fmt.Println("out " + id)
				}
			}
		})
	}
	wg.Wait()
}

func signUp(id string) func(tx authn.Tx) error {
	now := time.Now()
	return func(tx authn.Tx) error {
		return errors.Join(
			tx.PutUser(authn.User{ID: id, Username: "name" + id, Email: id + "@example.com", Name: "N " + id, Roles: []string{"user"}, Active: true}),
			tx.PutSession(authn.Session{ID: id, User: id, CreatedAt: now, IdleEnd: now, End: now}),
			tx.AddEvent(authn.Event{Time: now, Kind: authn.UserRegistered, Actor: id, Subject: id}, now),
			tx.PutCounter(authn.Counter{Key: id, Count: 1, Expires: now}),
		)
	}
}

func signOut(id string) func(tx authn.Tx) error {
	return func(tx authn.Tx) error {
		return errors.Join(tx.DeleteSession(id), tx.AddEvent(authn.Event{Kind: authn.SessionEnded, Subject: id}, time.Now()))
	}
}

// TestKilledWhileWriting kills a writing process over and over, each time
// after another number of acknowledged writes, and looks for every one of them
// in what is left.
func TestKilledWhileWriting(t *testing.T) {
	rounds := 50
	if testing.Short() {
		rounds = 5
	}
	path := filepath.Join(t.TempDir(), "doorward.db")
	signedIn := map[string]bool{} // by id: whether the session is still there
	for round := range rounds {
		acknowledged := killAfter(t, path, "r"+strconv.Itoa(round), 1+rand.IntN(150))
		maps.Copy(signedIn, acknowledged)
		s := openAt(t, path)
		mustHold(t, s, acknowledged)
		if round%10 == 4 || round == rounds-1 { // what is half stays half
			mustHold(t, s, signedIn)
			mustBeConsistent(t, s)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(signedIn) < rounds {
		t.Errorf("got %d acknowledged sign-ups in %d rounds, too few to mean anything", len(signedIn), rounds)
	}
	t.Logf("%d acknowledged sign-ups in %d rounds", len(signedIn), rounds)
}

// killAfter lets a child write until it has acknowledged n writes, kills it,
// and returns all that it had acknowledged by then.
func killAfter(t *testing.T, path, round string, n int) map[string]bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := child(ctx, "write", path, round)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	acknowledged := map[string]bool{}
	lines := bufio.NewReader(out)
	for seen := 1; ; seen++ {
		line, err := lines.ReadString('\n')
		if err != nil {
			break
		}
		what, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		acknowledged[id] = what == "in"
		if seen == n {
			cmd.Process.Kill()
		}
	}
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Fatalf("the child was not killed: %v", err)
	}
	return acknowledged
}

func mustHold(t *testing.T, s *Store, signedIn map[string]bool) {
	t.Helper()
	err := s.View(context.Background(), func(tx authn.Tx) error {
		for id, live := range signedIn {
			u, err := tx.User(id)
			if err != nil || u.Username != "name"+id {
				t.Errorf("user %s was acknowledged: got %v, %v", id, u, err)
			}
			// An acknowledged sign-in may have been followed by a sign-out
			// that was committed and not acknowledged any more.
			if _, err := tx.Session(id); err == nil && !live {
				t.Errorf("session %s is there after an acknowledged sign-out", id)
			}
			events, err := tx.Events(authn.EventQuery{User: id, Limit: 5})
			if err != nil || len(events) == 0 || !live && len(events) != 2 {
				t.Errorf("user %s: got the events %v, %v", id, events, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// mustBeConsistent holds every index against the records it was made from, and
// bbolt's pages against each other.
func mustBeConsistent(t *testing.T, s *Store) {
	t.Helper()
	err := s.db.View(func(btx *bbolt.Tx) error {
		for err := range btx.Check() {
			t.Error(err)
		}
		got, want := indexes(btx), rebuilt(t, btx)
		for key := range want {
			if !got[key] {
				t.Errorf("the index lacks %q", key)
			}
		}
		for key := range got {
			if !want[key] {
				t.Errorf("the index has %q and there is no such record", key)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

var indexBuckets = []bucket{
	statesBucket, usernamesBucket, emailsBucket, namesBucket, rolesBucket,
	sessionsOfBucket, eventLogBucket, eventsOfBucket, eventsByBucket, expiryBucket,
}

// indexes are the keys of every index, with the name of the index before them.
func indexes(btx *bbolt.Tx) map[string]bool {
	keys := map[string]bool{}
	for _, b := range indexBuckets {
		btx.Bucket([]byte(b)).ForEach(func(k, _ []byte) error {
			keys[string(b)+" "+string(k)] = true
			return nil
		})
	}
	return keys
}

// rebuilt is what indexes should be, from the records alone.
func rebuilt(t *testing.T, btx *bbolt.Tx) map[string]bool {
	t.Helper()
	keys := map[string]bool{}
	add := func(b bucket, key []byte) { keys[string(b)+" "+string(key)] = true }
	each := func(b bucket, fn func(id string, v []byte) error) {
		err := btx.Bucket([]byte(b)).ForEach(func(k, v []byte) error { return fn(string(k), v) })
		if err != nil {
			t.Fatal(err)
		}
	}
	users := 0
	each(usersBucket, func(id string, v []byte) error {
		users++
		r, err := decode[userRecord](usersBucket, v)
		add(statesBucket, []byte(id))
		for _, name := range append(r.Former, r.Username) {
			if name != "" {
				add(usernamesBucket, fold(name))
			}
		}
		if r.Email != "" {
			add(emailsBucket, fold(r.Email))
		}
		if r.Name != "" {
			add(namesBucket, pair(string(fold(r.Name)), id))
		}
		for _, role := range r.Roles {
			add(rolesBucket, pair(role, id))
		}
		return err
	})
	if got := (&tx{b: btx}).users(); got != users {
		t.Errorf("the total is %d, there are %d users", got, users)
	}
	each(sessionsBucket, func(id string, v []byte) error {
		r, err := decode[sessionRecord](sessionsBucket, v)
		s := r.session(id)
		add(sessionsOfBucket, sessionOf(s))
		add(expiryBucket, expiryKey(kindSession, id, s.Expires()))
		return err
	})
	each(eventsBucket, func(id string, v []byte) error {
		r, err := decode[eventRecord](eventsBucket, v)
		for _, k := range eventKeys(id, r.event(id)) {
			add(k.bucket, k.key)
		}
		add(expiryBucket, expiryKey(kindEvent, id, r.Expires))
		return err
	})
	each(countersBucket, func(id string, v []byte) error {
		r, err := decode[counterRecord](countersBucket, v)
		add(expiryBucket, expiryKey(kindCounter, id, r.Expires))
		return err
	})
	return keys
}

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
	written := 0
	write := func() error {
		err := s.Update(ctx, func(tx authn.Tx) error {
			u := person(written)
			u.PasswordHash = strings.Repeat("x", 9000)
			return errors.Join(tx.PutUser(u), tx.AddEvent(authn.Event{Kind: authn.UserCreated, Subject: u.ID}, time.Now()))
		})
		if err == nil {
			written++
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
		if told != written-before {
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
