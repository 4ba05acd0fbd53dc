package main

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

// standIn is a proxy that does only part of its work.
func standIn(t *testing.T, answer func(token string) (status int, told string)) *contender {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, told := answer(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		w.Header().Set("X-Told", told)
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(at.Port())
	if err != nil {
		t.Fatal(err)
	}
	return &contender{name: "it", algorithm: "HS256", port: port}
}

// Whoever leaves out a check would be measured doing less work.
func TestWhoDoesLessIsFoundOut(t *testing.T) {
	now := time.Now()
	s := &site{began: now, ttl: ttl, tokens: map[string]*tokens{}, dir: t.TempDir()}
	member := newUser("someone", "member", now)
	s.crowd.members = []signedIn{{member, newID(now)}}
	s.crowd.guest, s.crowd.left = signedIn{newUser("guest", "guest", now), newID(now)}, signedIn{member, newID(now)}
	issued, err := s.issue("HS256")
	if err != nil {
		t.Fatal(err)
	}
	s.tokens["HS256"] = issued
	right := map[string]int{issued.hot: 200, issued.left: 200, issued.guest: 403}
	for _, c := range []struct {
		name, want string
		answer     func(token string) (int, string)
	}{
		{"all is well", "", nil},
		{"anyone passes", "no token: got status 200", func(string) (int, string) { return 200, "someone" }},
		{"a forged token passes", "a forged token: got status 200", func(token string) (int, string) {
			if token == forge(issued.hot) {
				return 200, "someone"
			}
			return 0, ""
		}},
		{"an expired token passes", "an expired token: got status 200", func(token string) (int, string) {
			if token == issued.expired {
				return 200, "someone"
			}
			return 0, ""
		}},
		{"the role does not matter", "without the role: got status 200", func(token string) (int, string) {
			if token == issued.guest {
				return 200, "guest"
			}
			return 0, ""
		}},
		{"a client says who it is", `was told "someone-else"`, func(token string) (int, string) { return 200, "someone-else" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			it := standIn(t, func(token string) (int, string) {
				if c.answer != nil {
					if status, told := c.answer(token); status != 0 {
						return status, told
					}
				}
				if status := right[token]; status == 200 {
					return 200, "someone"
				} else if status != 0 {
					return status, ""
				}
				return 401, ""
			})
			err := s.holds(t.Context(), it)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	it := standIn(t, func(token string) (int, string) {
		if right[token] == 200 {
			return 200, "someone"
		}
		return max(right[token], 401), ""
	})
	it.revokes = true
	if err := s.holds(t.Context(), it); err == nil || !strings.Contains(err.Error(), "signing out") {
		t.Errorf("of one that knows no signing out: got %v", err)
	}
}
