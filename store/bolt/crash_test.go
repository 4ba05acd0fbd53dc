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
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
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
	s, err := open(context.Background(), path, Options{}, room{keep: 8, most: 32})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	go s.write()
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
