package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"
)

// stranger is an address nobody else uses for long.
func stranger(r *mathrand.Rand) net.IP { return loopback(1000 + r.IntN(1<<20)) }

func wrongPassword(ctx context.Context, k *soaking, r *mathrand.Rand) (string, error) {
	return k.guess(ctx, stranger(r), fmt.Sprintf("user%d", r.IntN(people)))
}

// wrongAgain is somebody whom lockout and limit have to stop.
func wrongAgain(ctx context.Context, k *soaking, _ *mathrand.Rand) (string, error) {
	return k.guess(ctx, loopback(99), "user1")
}

func (k *soaking) guess(ctx context.Context, from net.IP, name string) (string, error) {
	p := &person{st: k.stand, client: clientFrom(from)}
	defer p.client.CloseIdleConnections()
	a, err := p.post(ctx, "/auth/login", fields{"login": name, "password": "not the one of " + name})
	return want(a, err, "401 INVALID_CREDENTIALS", "429 TOO_MANY_ATTEMPTS")
}

// randomText is n bytes of chance in URL-safe base64.
func randomText(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func noGoodCredential(ctx context.Context, k *soaking, r *mathrand.Rand) (string, error) {
	t := k.callers.Load()
	token, _ := k.caller(r)
	for _, c := range []struct{ name, value, want string }{
		{"Authorization", "Bearer " + forge(token), "401 TOKEN_INVALID"},
		{"Authorization", "Bearer " + randomText(200), "401 TOKEN_INVALID"},
		{"Authorization", "Bearer " + t.expired, "401 TOKEN_EXPIRED"},
		{"Authorization", "Bearer " + t.left, "401 TOKEN_REVOKED"},
		{"Cookie", "doorward_session_8080=" + randomText(48), "401 AUTHENTICATION_REQUIRED"},
		{"Accept", "application/json", "401 AUTHENTICATION_REQUIRED"},
	}[r.IntN(6):] {
		a, err := call(ctx, k.hot, http.MethodGet, k.gateway.url("/app/page"), nil, c.name, c.value)
		return want(a, err, c.want)
	}
	return "", nil
}

func notAllowed(ctx context.Context, k *soaking, r *mathrand.Rand) (string, error) {
	token, _ := k.caller(r)
	path := "/app/admin/users"
	if r.IntN(2) == 0 {
		path, token = "/app/page", k.callers.Load().guest
	}
	a, err := call(ctx, k.hot, http.MethodGet, k.gateway.url(path), nil, "Authorization", "Bearer "+token)
	return want(a, err, "403 INSUFFICIENT_ROLE")
}

// badRequests are sent as they stand, each on a connection of its own.
var badRequests = []struct{ text, want string }{
	{"GET /app/%2e%2e/app/admin HTTP/1.1\r\nHost: localhost:8080\r\n\r\n", "401 AUTHENTICATION_REQUIRED"},
	{"GET /app/page HTTP/1.1\r\nHost: localhost:8080\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n", "400 INVALID_INPUT"},
	{"GET /app/page HTTP/1.1\r\nHost: one\r\nHost: two\r\n\r\n", "400"},
	{"GET /app/page HTTP/1.1\r\n\r\n", "400"},
	{"nonsense\r\n\r\n", "400"},
	{"GET /app/page HTTP/1.1\r\nHost: localhost:8080\r\nX-Long: " + strings.Repeat("x", 80<<10) + "\r\n\r\n", "431"},
	{"POST /app/upload HTTP/1.1\r\nHost: localhost:8080\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "501"},
	{"POST /auth/login HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{\"login\":", "400 INVALID_INPUT"},
	{"POST /auth/login HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", "415 UNSUPPORTED_MEDIA_TYPE"},
	{"POST /auth/login HTTP/1.1\r\nHost: localhost:8080\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat(" ", 100_000), "413 BODY_TOO_LARGE"},
	{"TRACE /app/page HTTP/1.1\r\nHost: localhost:8080\r\n\r\n", "405 METHOD_NOT_ALLOWED"},
	{"GET /auth/nothing HTTP/1.1\r\nHost: localhost:8080\r\n\r\n", "404 NOT_FOUND"},
}

func badRequest(ctx context.Context, k *soaking, r *mathrand.Rand) (string, error) {
	bad := badRequests[r.IntN(len(badRequests))]
	conn, err := k.dialFrom(ctx, stranger(r))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	got, err := ask(conn, bad.text)
	if err != nil {
		return got, fmt.Errorf("%.60q: %w", bad.text, err)
	}
	if got != bad.want {
		return got, fmt.Errorf("%.60q: %w", bad.text, &errWant{got, bad.want})
	}
	return got, nil
}

// leaves goes away in the middle of something, sometimes without a goodbye.
func leaves(ctx context.Context, k *soaking, r *mathrand.Rand) (string, error) {
	token, _ := k.caller(r)
	head := "Host: localhost:8080\r\nAuthorization: Bearer " + token + "\r\n"
	ways := []struct {
		name, text string
		read       int // bytes, before leaving
	}{
		{"a header", "GET /app/page HTTP/1.1\r\nHost: local", 0},
		{"an upload", "POST /app/upload HTTP/1.1\r\n" + head + "Content-Length: 5000000\r\n\r\n" + string(zeros[:100_000]), 0},
		{"a chunked upload", "POST /app/upload HTTP/1.1\r\n" + head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 0},
		{"an answer", "GET /app/big?n=4000 HTTP/1.1\r\n" + head + "\r\n", 2000},
		{"an answer without an end", "GET /app/endless HTTP/1.1\r\n" + head + "\r\n", 200_000},
		{"an event stream", "GET /app/events HTTP/1.1\r\n" + head + "\r\n", 200},
		{"a slow answer", "GET /slow/hang HTTP/1.1\r\n" + head + "\r\n", 0},
		{"a WebSocket", "GET /app/ws HTTP/1.1\r\n" + head + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 100},
	}
	way := ways[r.IntN(len(ways))]
	conn, err := k.dialFrom(ctx, stranger(r))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if r.IntN(2) == 0 {
		_ = conn.(*net.TCPConn).SetLinger(0) // a reset
	}
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(conn, way.text); err != nil {
		return "", err
	}
	if _, err := io.CopyN(io.Discard, conn, int64(way.read)); err != nil && !k.outage.overlaps(time.Now().Add(-30*time.Second), time.Now()) {
		return "", fmt.Errorf("%s: %w", way.name, err)
	}
	return way.name, nil
}
