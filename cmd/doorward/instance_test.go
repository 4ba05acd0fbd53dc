package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/doorward/doorward/authn"
)

// openInstance opens an instance on a store and a file of its own, and returns
// the file.
func openInstance(t *testing.T, text string) (*instance, string) {
	t.Helper()
	file := writeConfig(t, text)
	env := []string{"DOORWARD_STORE_URL=bolt:" + filepath.Join(t.TempDir(), "doorward.db"), "DOORWARD_ACCOUNTS_PASSWORD_BCRYPT_COST=10"}
	cfg, err := load(file, env)
	if err != nil {
		t.Fatal(err)
	}
	log := openLog(io.Discard, cfg.Log)
	t.Cleanup(log.Close)
	in, err := open(t.Context(), cfg, env, log.Logger, log.lines)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.close(); err != nil {
			t.Error(err)
		}
	})
	return in, file
}

// kinds is the security log, oldest first.
func kinds(t *testing.T, in *instance) (all []string, last authn.Event) {
	t.Helper()
	events, err := in.authn.Events(context.Background(), authn.EventQuery{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range slices.Backward(events) {
		if strings.HasPrefix(string(e.Kind), "config.") {
			all, last = append(all, string(e.Kind)), e
		}
	}
	return all, last
}

// Every attempt to change the configuration is in the security log, with who
// asked for it.
func TestReloadIsRecorded(t *testing.T) {
	in, file := openInstance(t, minimal)
	if err := in.reload(t.Context(), authn.Actor{}); err != nil {
		t.Fatal(err)
	}
	before := in.cfg
	for _, broken := range []string{"accounts: {registration: ajar}", "server: {listen: ':1'}", "routes: {"} {
		if err := os.WriteFile(file, []byte(minimal+broken+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := in.reload(t.Context(), authn.Actor{ID: authn.ActorCLI}); err == nil {
			t.Errorf("%s: loaded", broken)
		}
		if in.cfg != before {
			t.Fatalf("%s: took the place of the one in use", broken)
		}
	}
	got, last := kinds(t, in)
	want := []string{"config.loaded", "config.rejected", "config.rejected", "config.rejected"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if last.Actor != authn.ActorCLI || last.Detail["problems"] != "1" || !strings.Contains(last.Detail["first"], "not YAML") {
		t.Errorf("the last event is %+v", last)
	}
}

// The level of the log follows a reload, and only one that succeeds.
func TestReloadChangesTheLogLevel(t *testing.T) {
	in, file := openInstance(t, minimal)
	level := "info"
	in.setLevel = func(word string) { level = word }
	for _, c := range []struct{ add, want string }{
		{"log: {level: debug}", "debug"},
		{"log: {level: error}\nserver: {listen: ':1'}", "debug"},
		{"log: {level: warn}", "warn"},
	} {
		if err := os.WriteFile(file, []byte(minimal+c.add+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		in.reload(t.Context(), authn.Actor{})
		if level != c.want {
			t.Errorf("%q: got %q, want %q", c.add, level, c.want)
		}
	}
}
