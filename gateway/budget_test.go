package gateway

import (
	"strconv"
	"testing"
	"time"
)

// A name found to be somebody's username counts like a username found taken;
// else one client could ask for every name there is.
func TestRefusedNamesCountAsRegistrations(t *testing.T) {
	g := newGateway(t, func(c *Config) { c.Limits.Register = Rate{2, time.Hour} })
	g.addUser("victim")
	body := `{"username":"mallory","name":"victim","password":"` + testPassword + `"}`
	for range 2 {
		wantProblem(t, g.post("/auth/register", body), 400, "INVALID_INPUT")
	}
	wantProblem(t, g.post("/auth/register", body), 429, "RATE_LIMITED")
	wantProblem(t, g.post("/auth/register", `{"username":"a b","password":"x"}`), 429, "RATE_LIMITED")
}

// An address found taken tells who is here, and counts as well.
func TestTakenAddressesCountAsRegistrations(t *testing.T) {
	g := newGateway(t, func(c *Config) { c.Limits.Register = Rate{2, time.Hour} })
	body := `{"email":"ann@example.com","password":"` + testPassword + `"}`
	if a := g.post("/auth/register", body); a.Status != 201 {
		t.Fatalf("got %d %s, want 201", a.Status, a.Body)
	}
	wantProblem(t, g.post("/auth/register", body), 409, "EMAIL_TAKEN")
	wantProblem(t, g.post("/auth/register", body), 429, "RATE_LIMITED")
}

// Every change of address mails somebody of the person's choosing.
func TestChangesOfAddressAreLimited(t *testing.T) {
	g := newGateway(t, func(c *Config) { c.Limits.PasswordReset = Rate{2, time.Hour} })
	ann := g.person(t, "ann", "user")
	asked := 0
	ask := func() reply {
		asked++
		email := "somebody" + strconv.Itoa(asked) + "@example.com"
		return g.post("/auth/change-email", `{"current_password":"`+testPassword+`","email":"`+email+`"}`, "Authorization: Bearer "+ann.token)
	}
	for range 2 {
		if a := ask(); a.Status != 202 {
			t.Fatalf("got %d %s, want 202", a.Status, a.Body)
		}
	}
	wantProblem(t, ask(), 429, "RATE_LIMITED")
}

// Whoever has many addresses to come from has one account, and that has a budget
// too.
func TestChangesOfAddressAreLimitedByUser(t *testing.T) {
	g := newGateway(t, func(c *Config) {
		c.Limits.PasswordReset = Rate{2, time.Hour}
		c.Server.TrustedProxies = []string{"127.0.0.0/8"}
	})
	ann := g.person(t, "ann", "user")
	ask := func(n int) reply {
		email := "somebody" + strconv.Itoa(n) + "@example.com"
		return g.post("/auth/change-email", `{"current_password":"`+testPassword+`","email":"`+email+`"}`, ann.bearer, "X-Forwarded-For: 203.0.113."+strconv.Itoa(n))
	}
	for n := range 2 {
		if a := ask(n); a.Status != 202 {
			t.Fatalf("got %d %s, want 202", a.Status, a.Body)
		}
	}
	wantProblem(t, ask(2), 429, "RATE_LIMITED")
}
