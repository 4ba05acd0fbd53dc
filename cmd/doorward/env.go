package main

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/doorward/doorward/authn"
)

const (
	envPrefix = "DOORWARD_"
	envConfig = envPrefix + "CONFIG" // names the file; no key of it
	envFile   = "_FILE"              // behind a name: the value is in that file
)

// kubernetes matches what Kubernetes puts into every container for a Service
// that is called doorward, or doorward-something. Its _PORT is an address
// (tcp://10.0.0.1:80), and so never a port someone meant to set.
var kubernetes = regexp.MustCompile(`^DOORWARD(_[A-Z0-9_]+)?_((SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)_(PROTO|PORT|ADDR))=|PORT(_[0-9]+_(TCP|UDP|SCTP))?=(tcp|udp|sctp)://)`)

// environment is what the environment variables say.
type environment struct {
	document
	warnings []string
}

// readEnv reads every variable that stands for a key.
func readEnv(env []string, base Config) *environment {
	e := &environment{document: document{values: map[string]any{}, origins: origins{}}}
	given := variables(env)
	known := map[string]leaf{}
	for _, k := range leaves(reflect.ValueOf(&base).Elem(), "") {
		known[envName(k.path)] = k
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		key, direct := known[name]
		fileKey, inFile := known[strings.TrimSuffix(name, envFile)]
		switch {
		case direct:
			e.set(name, key, given[name])
		case inFile:
			e.setFromFile(name, fileKey, given)
		case name != envConfig && !kubernetes.MatchString(name+"="+given[name]):
			e.warn(name, known)
		}
	}
	return e
}

// variables picks ours out of an environment.
func variables(env []string) map[string]string {
	ours := map[string]string{}
	for _, entry := range env {
		if name, value, ok := strings.Cut(entry, "="); ok && strings.HasPrefix(name, envPrefix) {
			ours[name] = value
		}
	}
	return ours
}

// envName is the variable of a key: server.tls.cert is DOORWARD_SERVER_TLS_CERT.
func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// set takes the value of a key from a variable. Lists of sections are YAML.
func (e *environment) set(name string, k leaf, text string) {
	e.origins[k.path] = origin{env: name}
	if t := k.value.Type(); t.Kind() == reflect.Slice && isSection(t.Elem()) {
		e.setYAML(name, k, text)
		return
	}
	if text == "" && k.value.Type() == reflect.TypeFor[authn.Secret]() {
		e.refuse(name, k.path, "is empty: a secret that did not arrive is none, so write it or unset the variable")
		return
	}
	value, err := parseText(k.value.Type(), text)
	if err != nil {
		e.refuse(name, k.path, err.Error())
		return
	}
	e.values[k.path] = value
}

func (e *environment) setYAML(name string, k leaf, text string) {
	e.env = name
	defer func() { e.env = "" }()
	before := len(e.problems)
	if node := e.parse([]byte(text)); node != nil {
		e.value(node, k.value, k.path, e.values)
	} else if len(e.problems) == before {
		e.refuse(name, k.path, "is empty: write [] for none, or unset the variable")
	}
}

// setFromFile takes the value from the file the variable names, the way secrets
// are handed to containers. One newline at its end is the editor's, not the
// secret's. Nobody names a file to say nothing: one that is empty has not been
// filled yet, and a pepper from it would be none.
func (e *environment) setFromFile(name string, k leaf, given map[string]string) {
	direct := strings.TrimSuffix(name, envFile)
	if _, both := given[direct]; both {
		e.refuse(name, k.path, direct+" is set too: keep one of the two")
		return
	}
	data, err := os.ReadFile(given[name])
	if err != nil {
		e.refuse(name, k.path, fmt.Sprintf("the file %q cannot be read: %v", given[name], cause(err)))
		return
	}
	text := strings.TrimSuffix(string(data), "\n")
	if text == "" {
		e.refuse(name, k.path, fmt.Sprintf("the file %q is empty: write the value into it, or unset the variable", given[name]))
		return
	}
	e.set(name, k, text)
}

func (e *environment) refuse(name, path, message string) {
	e.problems = append(e.problems, problem{path, message, origin{env: name}})
}

// warn speaks of a variable that sets nothing. It is no error: the environment
// is shared with whatever else runs here.
func (e *environment) warn(name string, known map[string]leaf) {
	message := name + " sets no key of ours and is ignored"
	lower := map[string]string{}
	for k := range known {
		lower[strings.ToLower(k)] = k
	}
	if meant, ok := nearest(name, slices.Sorted(maps.Keys(lower))); ok {
		message += ": did you mean " + lower[meant] + "?"
	}
	e.warnings = append(e.warnings, message)
}
