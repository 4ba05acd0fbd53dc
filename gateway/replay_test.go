package gateway

import (
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
)

func TestReplayBody(t *testing.T) {
	long := strings.Repeat("x", 3*transportBuffer)
	tests := []struct {
		name  string
		body  string
		take  int // bytes the first attempt takes
		again bool
	}{
		{"nothing taken", long, 0, true},
		{"a little taken", "hello", 3, true},
		{"all of a little", "hello", 5, true},
		{"more than is kept", long, 2 * transportBuffer, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := &replayBody{src: strings.NewReader(tt.body)}
			if _, err := io.ReadFull(b.view(), make([]byte, tt.take)); err != nil {
				t.Fatal(err)
			}
			next, err := b.again()
			if tt.again != (err == nil) {
				t.Fatalf("again: got %v, want possible: %v", err, tt.again)
			}
			if err != nil {
				return
			}
			if got, err := io.ReadAll(next); err != nil || string(got) != tt.body {
				t.Errorf("got %d bytes, %v; want the whole body", len(got), err)
			}
		})
	}
}

// The transport reads a body of unknown length in pieces longer than what is kept,
// and the first one before it notices that its connection is closed.
func TestTheFirstPieceOfABodyCanBeSentAgain(t *testing.T) {
	b := &replayBody{src: strings.NewReader(strings.Repeat("x", 3*transportBuffer))}
	if n, err := b.view().Read(make([]byte, 2*transportBuffer)); n != transportBuffer || err != nil {
		t.Fatalf("got %d bytes and %v, want %d", n, err, transportBuffer)
	}
	next, err := b.again()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(next); len(got) != 3*transportBuffer || err != nil {
		t.Errorf("got %d bytes, %v; want the whole body", len(got), err)
	}
}

func TestABodyThatBreaksOffIsTheClientsDoing(t *testing.T) {
	b := &replayBody{src: io.MultiReader(strings.NewReader("x"), &failing{errors.New("broken")})}
	if _, err := io.ReadAll(b.view()); err == nil || b.failed() == nil {
		t.Errorf("got %v, %v; want the error kept", err, b.failed())
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// Over HTTP/2 an attempt that has failed may still wait for the client when the
// next one begins. What it is given then is the next one's, whole and in order.
func TestAnAttemptGivenUpTakesNothingFromTheNext(t *testing.T) {
	for range 200 { // the next one begins to read before or after that
		overlap(t)
	}
}

func overlap(t *testing.T) {
	t.Helper()
	client := &slowBody{asked: make(chan bool, 8), gives: make(chan string)}
	b := &replayBody{src: client}
	given := b.view()
	go given.Read(make([]byte, 64))
	<-client.asked // it waits for the client now
	next, err := b.again()
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string)
	go func() {
		all, _ := io.ReadAll(next)
		got <- string(all)
	}()
	runtime.Gosched()
	for _, piece := range []string{"one ", "two ", ""} {
		client.gives <- piece
	}
	if body := <-got; body != "one two " {
		t.Fatalf("got %q, want all that the client sent", body)
	}
	if n, err := given.Read(make([]byte, 64)); n != 0 || !errors.Is(err, errBodySent) {
		t.Fatalf("the attempt given up reads %d bytes, %v; want none", n, err)
	}
}

// slowBody says when it is read and gives what it is told to; "" is its end.
type slowBody struct {
	asked chan bool
	gives chan string
}

func (s *slowBody) Read(p []byte) (int, error) {
	s.asked <- true
	piece := <-s.gives
	if piece == "" {
		return 0, io.EOF
	}
	return copy(p, piece), nil
}
