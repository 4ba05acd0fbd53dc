package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// holds checks that a contender does the work it is measured by: it lets the
// genuine token pass, tells the upstream who it is from, and refuses the others.
func (s *site) holds(ctx context.Context, c *contender) error {
	t := s.tokens[c.tokenAlgorithm()]
	told := ""
	if c.algorithm != "" {
		told = s.crowd.members[0].user.Username
	}
	if err := c.expect(ctx, "a genuine token", t.hot, http.StatusOK, told); err != nil {
		return err
	}
	if c.algorithm == "" {
		return nil
	}
	for _, bad := range []struct {
		what, token string
		want        int
	}{
		{"no token", "", 401},
		{"a forged token", forge(t.hot), 401},
		{"an expired token", t.expired, 401},
		{"a token without the role", t.guest, 403},
	} {
		if err := c.expect(ctx, bad.what, bad.token, bad.want, ""); err != nil {
			return err
		}
	}
	if !c.revokes {
		return nil
	}
	if err := c.expect(ctx, "a token before signing out", t.left, http.StatusOK, told); err != nil {
		return err
	}
	if err := c.signOut(ctx, t.left); err != nil {
		return err
	}
	return c.expect(ctx, "a token after signing out", t.left, 401, "")
}

// forge changes the last but one character of the signature, which holds no
// spare bits.
func forge(token string) string {
	i := len(token) - 2
	other := "A"
	if token[i] == 'A' {
		other = "B"
	}
	return token[:i] + other + token[i+1:]
}

// expect sends a request and holds the answer to what is wanted. Who sends it
// also claims to be someone else, which must never reach the upstream.
func (c *contender) expect(ctx context.Context, what, token string, status int, told string) error {
	res, err := c.send(ctx, http.MethodGet, "/app/who", token)
	if err != nil {
		return fmt.Errorf("%s, %s: %w", c.name, what, err)
	}
	if res.StatusCode != status {
		return fmt.Errorf("%s, %s: got status %d, want %d", c.name, what, res.StatusCode, status)
	}
	if got := res.Header.Get("X-Told"); c.algorithm != "" && got != told {
		return fmt.Errorf("%s, %s: the upstream was told %q, want %q", c.name, what, got, told)
	}
	return nil
}

func (c *contender) signOut(ctx context.Context, token string) error {
	res, err := c.send(ctx, http.MethodPost, "/auth/logout", token)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusNoContent {
		return fmt.Errorf("%s: signing out got %s", c.name, res.Status)
	}
	return nil
}

// send makes one request on a connection of its own, and reads the answer.
func (c *contender) send(ctx context.Context, method, path, token string) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, c.url(path), strings.NewReader(""))
	if err != nil {
		return nil, err
	}
	r.Close = true
	r.Header.Set("X-Forwarded-User", "someone-else")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res, err
}
