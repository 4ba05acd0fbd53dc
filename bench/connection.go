package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

func (st *stand) dialFrom(ctx context.Context, ip net.IP) (net.Conn, error) {
	d := &net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: ip}}
	return d.DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", st.gateway.port))
}

// ask writes a request as it stands and reads the whole answer: its status, and
// the code if it is a refusal of the gateway's.
func ask(conn net.Conn, text string) (string, error) {
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return answerOf(res), err
}

// answerOf is an answer in a few words: the status, and the gateway's code.
func answerOf(res *http.Response) string {
	answer := fmt.Sprint(res.StatusCode)
	if code := res.Header.Get("Doorward"); code != "" {
		answer += " " + code
	}
	return answer
}

// socket is one WebSocket, and when it ended.
type socket struct {
	conn  *websocket.Conn
	ended chan struct{}
	at    time.Time
}

// openSocket opens a WebSocket and has one message sent back.
func (st *stand) openSocket(ctx context.Context, client *http.Client, token string) (*socket, error) {
	limited := *client
	limited.Timeout = 0 // it would end the socket too
	c, res, err := websocket.Dial(ctx, st.gateway.url("/app/ws"), &websocket.DialOptions{
		HTTPClient: &limited, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	if err != nil {
		if res != nil {
			err = fmt.Errorf("%s: %w", answerOf(res), err)
		}
		return nil, err
	}
	s := &socket{conn: c, ended: make(chan struct{})}
	if err := s.echo(ctx, "hello"); err != nil {
		c.CloseNow()
		return nil, err
	}
	return s, nil
}

// echo sends a message and waits for it to come back.
func (s *socket) echo(ctx context.Context, text string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := s.conn.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		return err
	}
	_, got, err := s.conn.Read(ctx)
	if err == nil && string(got) != text {
		err = fmt.Errorf("the echo of %q is %q", text, got)
	}
	return err
}

// watch notes when the other side ends it.
func (s *socket) watch() {
	s.conn.Read(context.Background())
	s.at = time.Now()
	close(s.ended)
}

// tokenOf is the token of one of the sessions.
func (st *stand) tokenOf(i int) string {
	all := st.tokens[standAlgorithm].all
	return all[i%len(all)]
}
