package gateway

import (
	"strings"
	"testing"
	"time"
)

// TestPagesSpeakToPeople: a page does not tell a person to look at headers or
// at members of JSON.
func TestPagesSpeakToPeople(t *testing.T) {
	g := newGateway(t, func(c *Config) { c.Limits.Register = Rate{1, 5 * time.Minute} })
	form := func(body string) string {
		return g.do("POST", "/auth/register", body, "Content-Type: application/x-www-form-urlencoded", "Accept: text/html").Body
	}
	if page := form("username=a+b&password=x"); !strings.Contains(page, "Please correct") || strings.Contains(page, "Mend what") {
		t.Errorf("a wrong form: %s", page)
	}
	form("username=ann&password=" + testPassword)
	if page := form("username=bob&password=" + testPassword); !strings.Contains(page, "Try again in 5 minutes.") || strings.Contains(page, "Retry-After") {
		t.Errorf("too many: %s", page)
	}
	if a := g.post("/auth/register", `{"username":"bob","password":"`+testPassword+`"}`); !strings.Contains(a.Body, "Retry-After") {
		t.Errorf("a program is told otherwise: %s", a.Body)
	}
	for _, p := range problems {
		f := failure{problem: p}.spoken()
		for _, word := range []string{"Retry-After", "errors lists", "Allow.", "Content-Type"} {
			if strings.Contains(f.detail, word) {
				t.Errorf("%s: a page says %q", p.code, f.detail)
			}
		}
	}
}

func TestWaitsInWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Millisecond: "1 second", 89 * time.Second: "89 seconds", 90 * time.Second: "2 minutes", time.Hour: "60 minutes",
	} {
		if got := inWords(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}
