package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// person is somebody with an account and an address of their own, who signs in
// and out like others do. Whoever uses the session holds the lock for reading,
// whoever changes it holds it alone.
type person struct {
	st     *stand
	name   string
	client *http.Client

	sync.RWMutex
	access, refresh string
	issued          time.Time
	cookie          string // Cookie line of a second session
}

func (st *stand) person(name string, address int) *person {
	return &person{st: st, name: name, client: clientFrom(loopback(address))}
}

// reply is an answer that has been read.
type reply struct {
	is     string // answerOf
	header http.Header
	body   []byte
}

// call makes a request and reads the answer.
func call(ctx context.Context, client *http.Client, method, url string, body []byte, header ...string) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(r)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	return reply{answerOf(res), res.Header, text}, err
}

// post sends JSON to an endpoint of the gateway's own.
func (p *person) post(ctx context.Context, path string, body any, header ...string) (reply, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return reply{}, err
	}
	return call(ctx, p.client, http.MethodPost, p.st.gateway.url(path), text, append(header, "Content-Type", "application/json")...)
}

// fields is a body of strings.
type fields map[string]string

// errWant is an answer that nobody asked for.
type errWant struct{ got, want string }

func (e *errWant) Error() string { return fmt.Sprintf("got %s, want %s", e.got, e.want) }

// want holds an answer to those that are right.
func want(r reply, err error, answers ...string) (string, error) {
	if err != nil {
		return "", err
	}
	for _, a := range answers {
		if r.is == a {
			return r.is, nil
		}
	}
	return r.is, &errWant{r.is, strings.Join(answers, " or ")}
}

// register makes the account; it is signed in afterwards.
func (p *person) register(ctx context.Context) (string, error) {
	r, err := p.post(ctx, "/auth/register", fields{"username": p.name, "password": password})
	return p.keep(r, err, "201")
}

// signIn starts another session, in the place of the one there was.
func (p *person) signIn(ctx context.Context) (string, error) {
	r, err := p.post(ctx, "/auth/login", fields{"login": p.name, "password": password})
	return p.keep(r, err, "200")
}

// rotate takes new tokens for the refresh token.
func (p *person) rotate(ctx context.Context) (string, error) {
	r, err := p.post(ctx, "/auth/refresh", fields{"refresh_token": p.refresh})
	return p.keep(r, err, "200")
}

// keep takes the tokens out of an answer.
func (p *person) keep(r reply, err error, answer string) (string, error) {
	got, err := want(r, err, answer)
	if err != nil {
		return got, err
	}
	var t struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal(r.body, &t); err != nil {
		return got, err
	}
	if t.Access == "" || t.Refresh == "" {
		return got, errors.New("no tokens in the answer")
	}
	p.access, p.refresh, p.issued = t.Access, t.Refresh, time.Now()
	return got, nil
}

// signInByCookie starts a session like a browser's.
func (p *person) signInByCookie(ctx context.Context) (string, error) {
	r, err := p.post(ctx, "/auth/login", fields{"login": p.name, "password": password, "mode": "session_cookie"})
	got, err := want(r, err, "200")
	if err != nil {
		return got, err
	}
	line := r.header.Get("Set-Cookie")
	p.cookie, _, _ = strings.Cut(line, ";")
	if !strings.Contains(p.cookie, "=") {
		return got, fmt.Errorf("no cookie in the answer, but %q", line)
	}
	return got, nil
}

// signOut ends the session of a credential, which must not pass any more.
func (p *person) signOut(ctx context.Context, name, value string) (string, error) {
	r, err := call(ctx, p.client, http.MethodPost, p.st.gateway.url("/auth/logout"), nil, name, value)
	got, err := want(r, err, "204")
	if err != nil {
		return got, err
	}
	r, err = call(ctx, p.client, http.MethodGet, p.st.gateway.url("/auth/profile"), nil, name, value)
	if _, err := want(r, err, "401 TOKEN_REVOKED", "401 AUTHENTICATION_REQUIRED"); err != nil {
		return got, fmt.Errorf("after signing out: %w", err)
	}
	return got, nil
}

// leave ends the account.
func (p *person) leave(ctx context.Context) (string, error) {
	text, err := json.Marshal(fields{"current_password": password})
	if err != nil {
		return "", err
	}
	r, err := call(ctx, p.client, http.MethodDelete, p.st.gateway.url("/auth/profile"), text,
		"Content-Type", "application/json", "Authorization", "Bearer "+p.access)
	return want(r, err, "204")
}

// errMixedUp is the worst that can happen: the application was told of another.
var errMixedUp = errors.New("the application was told the request is from somebody else")

// page asks for a page and holds the answer to who asked.
func page(ctx context.Context, client *http.Client, url, told string, header ...string) (string, error) {
	r, err := call(ctx, client, http.MethodGet, url, nil, header...)
	got, err := want(r, err, "200")
	if err != nil {
		return got, err
	}
	if by := r.header.Get("X-Told"); by != told {
		return got, fmt.Errorf("%w: %q for %q", errMixedUp, by, told)
	}
	if len(r.body) != 1024 {
		return got, fmt.Errorf("got %d bytes of 1024", len(r.body))
	}
	return got, nil
}
