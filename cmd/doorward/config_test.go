package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/doorward/doorward/gateway"
	"github.com/doorward/doorward/policy"
)

// minimal is the least a configuration must say.
const minimal = `
upstreams: [{name: app, url: "whoami:"}]
routes: [{path: "/**", upstream: app, allow: authenticated}]
`

// writeConfig writes a file and returns its path.
func writeConfig(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func mustLoad(t testing.TB, text string, env ...string) *loaded {
	t.Helper()
	cfg, err := load(writeConfig(t, text), env)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestDefaults(t *testing.T) {
	got := mustLoad(t, minimal).Config
	want := defaultConfig()
	want.Upstreams = []gateway.Upstream{gateway.DefaultUpstream()}
	want.Upstreams[0].Name, want.Upstreams[0].URL = "app", "whoami:"
	want.Routes = []gateway.Route{{Rule: policy.Rule{Path: "/**", Upstream: "app", Allow: policy.Allow{Audience: policy.Authenticated}}}}
	for i, k := range leaves(reflect.ValueOf(got), "") {
		if w := leaves(reflect.ValueOf(want), "")[i]; !same(k.value, w.value) {
			t.Errorf("%s: got %#v, want %#v", k.path, k.value, w.value)
		}
	}
}

// The shipped file is the reference: it must name every key, with the value the
// key has anyway, but for what makes it something to try out.
func TestShippedFileNamesEveryKey(t *testing.T) {
	cfg, err := load(filepath.Join("..", "..", "config.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	differs := map[string]bool{"upstreams": true, "routes": true, "accounts.registration": true, "mail.url": true}
	want := leaves(reflect.ValueOf(defaultConfig()), "")
	for i, k := range leaves(reflect.ValueOf(cfg.Config), "") {
		if _, named := cfg.origins[k.path]; !named {
			t.Errorf("%s is not in the shipped file", k.path)
		}
		if isDefault := same(k.value, want[i].value); isDefault == differs[k.path] {
			t.Errorf("%s: got %#v, the default is %#v", k.path, k.value, want[i].value)
		}
	}
	for _, f := range fields(reflect.ValueOf(gateway.Upstream{})) {
		if _, named := cfg.origins["upstreams[0]."+f.key]; !named {
			t.Errorf("upstreams[0].%s is not in the shipped file", f.key)
		}
	}
	text, err := os.ReadFile(cfg.file)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields(reflect.ValueOf(gateway.Route{})) {
		if !bytes.Contains(text, []byte(f.key+": ")) {
			t.Errorf("a route's %s is not in the shipped file", f.key)
		}
	}
}

func TestEnvironment(t *testing.T) {
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte("0123456789012345678901234567890 \n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		env  []string
		got  func(Config) any
		want any
	}{
		{"text", []string{"DOORWARD_SERVER_LISTEN=:9"}, func(c Config) any { return c.Server.Listen }, ":9"},
		{"text that looks like a number", []string{"DOORWARD_TOKENS_AUDIENCE=12"}, func(c Config) any { return c.Tokens.Audience }, "12"},
		{"empty text", []string{"DOORWARD_SERVER_OPS_LISTEN="}, func(c Config) any { return c.Server.OpsListen }, ""},
		{"number", []string{"DOORWARD_SESSIONS_PER_USER=9"}, func(c Config) any { return c.Sessions.PerUser }, 9},
		{"true", []string{"DOORWARD_SERVER_H2C=true"}, func(c Config) any { return c.Server.H2C }, true},
		{"false over true", []string{"DOORWARD_LOG_ACCESS=false"}, func(c Config) any { return c.Log.Access }, false},
		{"duration", []string{"DOORWARD_SERVER_TIMEOUTS_READ_HEADER=3s"}, func(c Config) any { return c.Server.Timeouts.ReadHeader }, 3 * time.Second},
		{"days", []string{"DOORWARD_EVENTS_RETENTION=90d"}, func(c Config) any { return c.Events.Retention }, 90 * 24 * time.Hour},
		{"limit", []string{"DOORWARD_LIMITS_REGISTER=7/1d"}, func(c Config) any { return c.Limits.Register }, gateway.Rate{N: 7, Per: 24 * time.Hour}},
		{"limit off", []string{"DOORWARD_LIMITS_REGISTER="}, func(c Config) any { return c.Limits.Register }, gateway.Rate{}},
		{"list", []string{"DOORWARD_ACCOUNTS_DEFAULT_ROLES=user, reader"}, func(c Config) any { return c.Accounts.DefaultRoles }, []string{"user", "reader"}},
		{"empty list", []string{"DOORWARD_ACCOUNTS_DEFAULT_ROLES="}, func(c Config) any { return c.Accounts.DefaultRoles }, []string{}},
		{"list in a section that the file has", []string{"DOORWARD_ACCOUNTS_USERNAME_RESERVED=boss"}, func(c Config) any { return c.Accounts.Username.Reserved }, []string{"boss"}},
		{"secret from a file", []string{"DOORWARD_TOKENS_SECRET_FILE=" + secretFile}, func(c Config) any { return c.Tokens.Secret.Reveal() }, "0123456789012345678901234567890 \n"},
		{"the last of two", []string{"DOORWARD_SERVER_LISTEN=:8", "DOORWARD_SERVER_LISTEN=:9"}, func(c Config) any { return c.Server.Listen }, ":9"},
		{"routes", []string{"DOORWARD_ROUTES=[{path: /x, upstream: app, allow: [admin]}]"}, func(c Config) any { return c.Routes[0].Path + c.Routes[0].Allow.String() }, "/x[admin]"},
		{"upstreams keep their defaults", []string{`DOORWARD_UPSTREAMS=[{name: app, url: "http://127.0.0.1:1"}]`}, func(c Config) any { return c.Upstreams[0].Host + c.Upstreams[0].URL }, "preservehttp://127.0.0.1:1"},
		{"not ours", []string{"SERVER_LISTEN=:9", "doorward_server_listen=:9", "DOORWARD_CONFIG=x"}, func(c Config) any { return c.Server.Listen }, ":1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := mustLoad(t, minimal+`
server: {listen: ":1", ops_listen: "127.0.0.1:2"}
accounts: {registration: open, username: {min: 4}}
tokens: {audience: file}
`, c.env...)
			if got := c.got(cfg.Config); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %#v, want %#v", got, c.want)
			}
			if len(cfg.warnings) > 0 {
				t.Errorf("warnings: %q", cfg.warnings)
			}
			if cfg.Accounts.Registration != "open" || cfg.Accounts.Username.Min != 4 {
				t.Error("what the file says beside it is lost")
			}
		})
	}
}

func TestEnvironmentProblems(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "pepper")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		env  []string
		want string
	}{
		{"number", []string{"DOORWARD_SESSIONS_PER_USER=many"}, `DOORWARD_SESSIONS_PER_USER: sessions.per_user: "many" is not a whole number: write digits only`},
		{"empty number", []string{"DOORWARD_SESSIONS_PER_USER="}, `DOORWARD_SESSIONS_PER_USER: sessions.per_user: "" is not a whole number: write digits only`},
		{"boolean", []string{"DOORWARD_SERVER_H2C=1"}, `DOORWARD_SERVER_H2C: server.h2c: "1" is neither true nor false: write one of them`},
		{"both", []string{"DOORWARD_TOKENS_SECRET=do-not-print-me", "DOORWARD_TOKENS_SECRET_FILE=/x"}, `DOORWARD_TOKENS_SECRET_FILE: tokens.secret: DOORWARD_TOKENS_SECRET is set too: keep one of the two`},
		{"no file", []string{"DOORWARD_TOKENS_SECRET_FILE=/nowhere/secret"}, `DOORWARD_TOKENS_SECRET_FILE: tokens.secret: the file "/nowhere/secret" cannot be read: no such file or directory`},
		{"empty file", []string{"DOORWARD_ACCOUNTS_PASSWORD_PEPPER_FILE=" + empty}, `DOORWARD_ACCOUNTS_PASSWORD_PEPPER_FILE: accounts.password.pepper: the file "` + empty + `" is empty: write the value into it, or unset the variable`},
		{"empty secret", []string{"DOORWARD_ACCOUNTS_PASSWORD_PEPPER="}, `DOORWARD_ACCOUNTS_PASSWORD_PEPPER: accounts.password.pepper: is empty: a secret that did not arrive is none, so write it or unset the variable`},
		{"not YAML", []string{"DOORWARD_ROUTES=[{"}, `DOORWARD_ROUTES: is not YAML near line 1: did not find expected node content: a list or mapping that opens there is not finished`},
		{"no routes", []string{"DOORWARD_ROUTES="}, `DOORWARD_ROUTES: routes: is empty: write [] for none, or unset the variable`},
		{"unknown key in YAML", []string{"DOORWARD_ROUTES=[{path: /x, upstream: app, allow: anyone, metods: [GET]}]"}, `DOORWARD_ROUTES: routes[0].metods: is not a key of ours: did you mean routes[0].methods?`},
		{"judged by its section", []string{"DOORWARD_ACCOUNTS_REGISTRATION=ajar"}, `DOORWARD_ACCOUNTS_REGISTRATION: accounts.registration: "ajar" is unknown: write open or closed`},
		{"judged in a list", []string{"DOORWARD_SERVER_TRUSTED_PROXIES=10.0.0.0/8,0.0.0.0/0"}, `DOORWARD_SERVER_TRUSTED_PROXIES: server.trusted_proxies[1]: "0.0.0.0/0" would let every client say where it comes from: name the networks your proxies are in`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := load(writeConfig(t, minimal), c.env)
			var wrong *configError
			if !errors.As(err, &wrong) {
				t.Fatalf("got %v, want a configError", err)
			}
			if got := err.Error(); got != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}

func TestUnknownVariables(t *testing.T) {
	for _, c := range []struct{ variable, want string }{
		{"DOORWARD_SERVER_LISTN=:1", "DOORWARD_SERVER_LISTN sets no key of ours and is ignored: did you mean DOORWARD_SERVER_LISTEN?"},
		{"DOORWARD_ELEPHANT=1", "DOORWARD_ELEPHANT sets no key of ours and is ignored"},
		{"DOORWARD_SERVER_PORT=9000", "DOORWARD_SERVER_PORT sets no key of ours and is ignored"},
		// What Kubernetes makes for Services called doorward and doorward-ops.
		{"DOORWARD_PORT=tcp://10.96.0.1:80", ""},
		{"DOORWARD_SERVICE_HOST=10.96.0.1", ""},
		{"DOORWARD_SERVICE_PORT=80", ""},
		{"DOORWARD_SERVICE_PORT_HTTP=80", ""},
		{"DOORWARD_PORT_8080_TCP=tcp://10.96.0.1:8080", ""},
		{"DOORWARD_PORT_8080_TCP_PROTO=tcp", ""},
		{"DOORWARD_PORT_8080_TCP_PORT=8080", ""},
		{"DOORWARD_PORT_8080_TCP_ADDR=10.96.0.1", ""},
		{"DOORWARD_OPS_SERVICE_HOST=10.96.0.1", ""},
		{"DOORWARD_OPS_PORT_53_UDP=udp://10.96.0.1:53", ""},
		{"DOORWARD_CONFIG=/etc/doorward/config.yaml", ""},
	} {
		t.Run(c.variable, func(t *testing.T) {
			got := strings.Join(mustLoad(t, minimal, c.variable).warnings, "\n")
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// No two keys share a variable, and none is one that means something else.
func TestVariablesAreDistinct(t *testing.T) {
	seen := map[string]string{}
	for _, k := range leaves(reflect.ValueOf(defaultConfig()), "") {
		name := envName(k.path)
		if other, twice := seen[name]; twice || strings.HasSuffix(name, envFile) || name == envConfig || kubernetes.MatchString(name+"=tcp://x") {
			t.Errorf("%s of %s is taken (%s)", name, k.path, other)
		}
		seen[name] = k.path
	}
	if len(seen) < 50 {
		t.Errorf("%d keys: %v", len(seen), slices.Sorted(maps.Values(seen)))
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "30s": 30 * time.Second, "90d": 2160 * time.Hour, "1d12h": 36 * time.Hour, "1.5h": 90 * time.Minute, "-1s": -time.Second,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "1", "1w", "1 d", "d1", "1.5d", "1d-1h", "99999999999d", "1d1d"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, got)
		}
	}
}

// A change that a running server cannot make is named; the rest is not.
func TestNeedRestart(t *testing.T) {
	was := mustLoad(t, minimal)
	next := mustLoad(t, `
upstreams: [{name: app, url: "http://127.0.0.1:1"}]
routes: [{path: "/**", upstream: app, allow: anyone}]
limits: {requests: 1/1s}
cors: {origins: ["https://a.example"]}
identity: {preset: remote}
log: {level: debug, access: false, format: text}
server: {listen: ":1", timeouts: {body: 1s}}
tokens: {secret: 0123456789-0123456789-0123456789-012}
accounts: {default_roles: [reader], password: {pepper: salt}}
`)
	got := []string{}
	for _, p := range was.needRestart(next) {
		got = append(got, p.path)
	}
	want := []string{"server.listen", "server.timeouts.body", "tokens.secret", "accounts.default_roles", "accounts.password.pepper", "log.format"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := next.authn().Tokens.Issuer, "http://localhost:8080"; got != want {
		t.Errorf("issuer: got %q, want %q", got, want)
	}
	if again := was.needRestart(mustLoad(t, minimal)); len(again) > 0 {
		t.Errorf("the same file again: got %v, want nothing", again)
	}
}

// However a configuration is printed, what is secret in it is not.
func TestSecretsAreNotPrinted(t *testing.T) {
	cfg := mustLoad(t, minimal+"tokens: {algorithm: HS256, secret: do-not-print-me-do-not-print-me-do}\n")
	if cfg.Tokens.Secret.Reveal() != "do-not-print-me-do-not-print-me-do" {
		t.Fatal("the secret was lost on the way")
	}
	for _, format := range []string{"%v", "%+v", "%#v"} {
		if got := fmt.Sprintf(format, cfg.Config); strings.Contains(got, "do-not") {
			t.Errorf("%s: %s", format, got)
		}
	}
}

func TestMissingFile(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		name string
		args []string
		env  []string
		want string
	}{
		{"default", []string{"check"}, nil, "config.yaml: there is no such file; write one (the repository's config.yaml is a working start), or name another with --config FILE or DOORWARD_CONFIG\n"},
		{"flag", []string{"check", "--config", "here.yaml"}, []string{"DOORWARD_CONFIG=there.yaml"}, "here.yaml: there is no such file; check --config and DOORWARD_CONFIG\n"},
		{"variable", []string{"check"}, []string{"DOORWARD_CONFIG=there.yaml"}, "there.yaml: there is no such file; check --config and DOORWARD_CONFIG\n"},
		{"folder", []string{"check", "--config", "."}, nil, ".: cannot be read: is a directory\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, got, _ := runProgram(c.env, c.args...)
			if code != exitUsage || got != c.want {
				t.Errorf("got %d %q, want %d %q", code, got, exitUsage, c.want)
			}
		})
	}
}
