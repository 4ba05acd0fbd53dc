package main

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/spf13/viper"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/gateway"
	"github.com/doorward/doorward/policy"
)

// Config is config.yaml whole. Each section's type stands in the package that
// uses it.
type Config struct {
	Server    gateway.ServerConfig   `yaml:"server"`
	Store     StoreConfig            `yaml:"store"`
	Tokens    authn.TokenConfig      `yaml:"tokens"`
	Sessions  authn.SessionConfig    `yaml:"sessions"`
	Accounts  authn.AccountConfig    `yaml:"accounts"`
	Limits    gateway.LimitConfig    `yaml:"limits"`
	Mail      MailConfig             `yaml:"mail"`
	CORS      gateway.CORSConfig     `yaml:"cors"`
	Identity  gateway.IdentityConfig `yaml:"identity"`
	Events    authn.EventConfig      `yaml:"events"`
	Log       gateway.LogConfig      `yaml:"log"`
	Upstreams []gateway.Upstream     `yaml:"upstreams"`
	Routes    []gateway.Route        `yaml:"routes"`
}

// StoreConfig is the section store.
type StoreConfig struct {
	URL string `yaml:"url"`
}

// MailConfig is the section mail.
type MailConfig struct {
	URL       string    `yaml:"url"` // smtp:// smtps:// "log:" or ""
	From      string    `yaml:"from"`
	Templates string    `yaml:"templates"`
	Links     MailLinks `yaml:"links"`
}

// MailLinks is the section mail.links: where the links in mails lead instead of
// our own pages.
type MailLinks struct {
	VerifyEmail   string `yaml:"verify_email"`
	ResetPassword string `yaml:"reset_password"`
}

// defaultConfig returns the documented defaults of every section.
func defaultConfig() Config {
	a, g := authn.Default(), gateway.Default()
	return Config{
		Server: g.Server, Limits: g.Limits, CORS: g.CORS, Identity: g.Identity, Log: g.Log,
		Tokens: a.Tokens, Sessions: a.Sessions, Accounts: a.Accounts, Events: a.Events,
		Store: StoreConfig{URL: "bolt:doorward.db"},
		Mail:  MailConfig{From: "Doorward <no-reply@localhost>"},
	}
}

// authn is the part of the configuration that package authn takes.
func (c Config) authn() authn.Config {
	if c.Tokens.Issuer == "" {
		c.Tokens.Issuer = c.Server.PublicURL
	}
	return authn.Config{
		Tokens: c.Tokens, Sessions: c.Sessions, Accounts: c.Accounts, Events: c.Events,
		Mail: authn.MailConfig{Configured: c.Mail.URL != "", Limit: authn.MailLimit(c.Limits.Mail)},
	}
}

// gateway is the part of the configuration that package gateway takes.
func (c Config) gateway() gateway.Config {
	return gateway.Config{
		Server: c.Server, Limits: c.Limits, CORS: c.CORS, Identity: c.Identity, Log: c.Log,
		Upstreams: c.Upstreams, Routes: c.Routes,
		EmailVerification: c.Accounts.EmailVerification,
		AdminRole:         c.Accounts.AdminRole,
		Registration:      c.Accounts.Registration,
	}
}

// loaded is a configuration that may be used, and where it came from.
type loaded struct {
	Config
	file     string
	origins  origins
	warnings []string
}

// load reads defaults, then the file, then the environment, each over the one
// before. The error is a *configError that lists everything wrong at once.
func load(file string, env []string) (*loaded, error) {
	l, problems, err := assemble(file, env)
	if err != nil {
		return nil, err
	}
	if len(problems) > 0 {
		return nil, &configError{file: file, problems: problems}
	}
	return l, nil
}

// assemble is load without a verdict: the configuration as far as it could be
// understood, and everything that is wrong with it.
func assemble(file string, env []string) (*loaded, []problem, error) {
	base := defaultConfig()
	over := readEnv(env, base)
	doc := &document{unread: true, origins: origins{}}
	if data, err := os.ReadFile(file); err != nil {
		doc.problems = []problem{missingFile(file, err)}
	} else {
		doc = readFile(data, base)
	}
	cfg, err := layer(base, doc.values, over.values)
	if err != nil {
		return nil, nil, err
	}
	l := &loaded{Config: cfg, file: file, origins: doc.origins.under(over.origins), warnings: over.warnings}
	problems := append(doc.problems, over.problems...)
	if !doc.unread { // else all that is missing would be reported as missing
		problems = append(problems, l.validate(problems)...)
	}
	return l, problems, nil
}

// layer puts file and environment over the defaults. The values have the types
// of their keys already: readFile and readEnv see to that, and viper, left to
// itself, would guess at types, fold the case of keys and overlook every
// environment variable whose key has no default.
func layer(base Config, file, env map[string]any) (Config, error) {
	v := viper.New()
	for _, k := range leaves(reflect.ValueOf(&base).Elem(), "") {
		v.SetDefault(k.path, k.value.Interface())
	}
	if err := v.MergeConfigMap(nest(file)); err != nil {
		return Config{}, fmt.Errorf("merge the configuration: %w", err)
	}
	for path, value := range env {
		v.Set(path, value)
	}
	var cfg Config
	err := v.UnmarshalExact(&cfg, func(c *mapstructure.DecoderConfig) {
		c.TagName, c.WeaklyTypedInput, c.DecodeHook = "yaml", false, nil
	})
	if err != nil {
		return Config{}, fmt.Errorf("put the configuration together: %w", err)
	}
	return cfg, nil
}

// nest turns dotted paths into maps of maps.
func nest(flat map[string]any) map[string]any {
	root := map[string]any{}
	for path, value := range flat {
		parts := strings.Split(path, ".")
		m := root
		for _, p := range parts[:len(parts)-1] {
			next, ok := m[p].(map[string]any)
			if !ok {
				next = map[string]any{}
				m[p] = next
			}
			m = next
		}
		m[parts[len(parts)-1]] = value
	}
	return root
}

// leaf is one key of the configuration that holds a value rather than keys.
type leaf struct {
	path  string
	value reflect.Value
}

// leaves lists every key under v, in the order of the structs. A list counts as
// one value.
func leaves(v reflect.Value, path string) []leaf {
	if !isSection(v.Type()) {
		return []leaf{{path, v}}
	}
	var all []leaf
	for _, f := range fields(v) {
		all = append(all, leaves(f.value, join(path, f.key))...)
	}
	return all
}

// field is one key of a section.
type field struct {
	key   string
	value reflect.Value
}

// fields lists the keys of a section; an embedded struct's count as its own.
func fields(v reflect.Value) []field {
	var all []field
	for i := range v.NumField() {
		t := v.Type().Field(i)
		key, options, _ := strings.Cut(t.Tag.Get("yaml"), ",")
		switch {
		case options == "inline":
			all = append(all, fields(v.Field(i))...)
		case key != "" && key != "-":
			all = append(all, field{key, v.Field(i)})
		}
	}
	return all
}

// isSection reports whether t is a struct of keys, and not a value of its own.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && parsers[t] == nil && t != reflect.TypeFor[policy.Allow]()
}

// join puts a key behind the path of its section.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// needRestart names every key in which next differs and that a running server
// cannot change.
func (l *loaded) needRestart(next *loaded) []problem {
	var problems []problem
	was, is := leaves(reflect.ValueOf(l.Config), ""), leaves(reflect.ValueOf(next.Config), "")
	for i, k := range was {
		fixed := !slices.ContainsFunc(live, func(outer string) bool { return covers(outer, k.path) })
		if fixed && !same(k.value, is[i].value) {
			problems = append(problems, problem{k.path, "a running server cannot change this: restart it, or undo the change", next.origins.of(k.path)})
		}
	}
	return problems
}

// same compares two values of a key; no list and an empty one are the same.
func same(a, b reflect.Value) bool {
	if a.Kind() == reflect.Slice && a.Len() == 0 && b.Len() == 0 {
		return true
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}
