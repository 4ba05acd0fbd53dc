package gateway

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// clientConnPair is a client's connection as the gateway has it, and the client's
// end.
func clientConnPair(t *testing.T) (*clientConn, net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := clients{ln}.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); client.Close() })
	return conn.(*clientConn), client
}

// reading reads so many bytes beside the test, and has begun when it returns.
func reading(t *testing.T, c *clientConn, bytes int) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		_, err := c.Read(make([]byte, bytes))
		ended <- err
	}()
	for begun := false; !begun; {
		c.mu.Lock()
		begun = c.reads.held > 0 || c.watching
		c.mu.Unlock()
	}
	return ended
}

var longAgo = time.Unix(1, 0)

func TestADeadlineEndsWhatIsUnderWay(t *testing.T) {
	for name, bytes := range map[string]int{"a read": 100, "the watch": 1} {
		t.Run(name, func(t *testing.T) {
			c, _ := clientConnPair(t)
			ended := reading(t, c, bytes)
			c.SetReadDeadline(longAgo)
			if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v, want a deadline that is exceeded", err)
			}
			if _, err := c.Read(make([]byte, bytes)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the next: got %v, want the same", err)
			}
		})
	}
	t.Run("a write", func(t *testing.T) {
		c, _ := clientConnPair(t)
		ended := make(chan error, 1)
		go func() {
			_, err := c.Write(make([]byte, 64<<20)) // more than fits anywhere
			ended <- err
		}()
		for begun := false; !begun; {
			c.mu.Lock()
			begun = c.writes.held > 0
			c.mu.Unlock()
		}
		c.SetDeadline(longAgo)
		if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("got %v, want a deadline that is exceeded", err)
		}
	})
}

func TestADeadlineHoldsThatWasSetBeforehand(t *testing.T) {
	c, client := clientConnPair(t)
	for _, bytes := range []int{100, 1} {
		begun := time.Now()
		c.SetReadDeadline(begun.Add(30 * time.Millisecond))
		if _, err := c.Read(make([]byte, bytes)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) < 30*time.Millisecond {
			t.Errorf("%d bytes: got %v after %s, want a deadline that is exceeded after 30 ms", bytes, err, time.Since(begun))
		}
	}
	c.SetReadDeadline(time.Time{})
	client.Write([]byte("xyz"))
	got := make([]byte, 1)
	if n, err := c.Read(got); n != 1 || err != nil || got[0] != 'x' {
		t.Errorf("after it was taken back: got %d bytes and %v", n, err)
	}
}

// What net/http asks of one byte is to notice that the client has left.
func TestTheWatchSeesAClientLeave(t *testing.T) {
	for name, leave := range map[string]func(c, client net.Conn){
		"the client":      func(_, client net.Conn) { client.Close() },
		"the client half": func(_, client net.Conn) { client.(*net.TCPConn).CloseWrite() },
		"we":              func(c, _ net.Conn) { c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			c, client := clientConnPair(t)
			ended := reading(t, c, 1)
			leave(c, client)
			if err := <-ended; err != io.EOF && !errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v, want the end", err)
			}
		})
	}
}

// net/http moves the deadlines of a connection for each request.
func TestDeadlinesAreNotSetForEachRequest(t *testing.T) {
	c, client := clientConnPair(t)
	sets := 0
	for _, d := range []*deadline{&c.reads, &c.writes} {
		set := d.set
		d.set = func(t time.Time) error { sets++; return set(t) }
	}
	text := make([]byte, 4)
	for range 100 {
		c.SetReadDeadline(time.Now().Add(time.Hour))
		client.Write([]byte("ping"))
		if n, err := c.Read(text); n != 4 || err != nil {
			t.Fatalf("got %d bytes and %v", n, err)
		}
		c.SetReadDeadline(time.Now().Add(time.Minute))
		c.SetReadDeadline(time.Time{})
		watch := reading(t, c, 1)
		c.SetWriteDeadline(time.Now().Add(time.Hour))
		if _, err := c.Write(text); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(longAgo)
		if err := <-watch; err == nil {
			t.Fatal("the watch read what nobody sent")
		}
		c.SetWriteDeadline(time.Time{})
		io.ReadFull(client, text)
	}
	if sets > 150 { // of a thousand; where the machine is slow the watch does read
		t.Errorf("deadlines were set %d times in 100 requests", sets)
	}
}
