package gateway

import (
	"testing"
	"time"
)

// A name found to be somebody's username costs a hash, so it counts; else one
// client could keep the hashing queue full for everybody.
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

// Every change of address mails somebody of the person's choosing.
func TestChangesOfAddressAreLimited(t *testing.T) {
	g := newGateway(t, func(c *Config) { c.Limits.PasswordReset = Rate{2, time.Hour} })
	ann := g.person(t, "ann", "user")
	ask := func() reply {
		return g.post("/auth/change-email", `{"current_password":"`+testPassword+`","email":"somebody@example.com"}`, "Authorization: Bearer "+ann.token)
	}
	for range 2 {
		if a := ask(); a.Status != 202 {
			t.Fatalf("got %d %s, want 202", a.Status, a.Body)
		}
	}
	wantProblem(t, ask(), 429, "RATE_LIMITED")
}
