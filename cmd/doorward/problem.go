package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// problem is one thing wrong with the configuration: where, and what to write
// instead.
type problem struct {
	path    string // of the key, as in routes[3].allow; "" for the file as a whole
	message string
	origin  origin
}

// origin is where a value comes from.
type origin struct {
	line int    // in the file; 0 if it is not written there
	env  string // the environment variable; "" if it comes from the file
}

// origins maps the path of every key that was set to where.
type origins map[string]origin

// of is the origin of the key or, where it is not set, of the closest thing
// around it that is.
func (o origins) of(path string) origin {
	for path != "" {
		if found, ok := o[path]; ok {
			return found
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return origin{}
}

// under returns o with what is set in over taking its place.
func (o origins) under(over origins) origins {
	all := maps.Clone(o)
	for path, from := range over {
		for below := range o {
			if covers(path, below) {
				delete(all, below)
			}
		}
		all[path] = from
	}
	return all
}

// covers reports whether path is outer or a key within it.
func covers(outer, path string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// configError is everything wrong with one configuration.
type configError struct {
	file     string
	problems []problem
}

// Error is one line for each problem, in the order of the file; what the
// environment says comes last.
func (e *configError) Error() string { return strings.Join(e.lines(), "\n") }

func (e *configError) lines() []string {
	sorted := slices.Clone(e.problems)
	slices.SortStableFunc(sorted, func(a, b problem) int {
		if (a.origin.env == "") != (b.origin.env == "") {
			return strings.Compare(a.origin.env, b.origin.env)
		}
		return a.origin.line - b.origin.line
	})
	lines := make([]string, len(sorted))
	for i, p := range sorted {
		lines[i] = p.in(e.file)
	}
	return slices.Compact(lines)
}

// in is the problem as a line: place, key, message.
func (p problem) in(file string) string {
	place := file
	switch {
	case p.origin.env != "":
		place = p.origin.env
	case p.origin.line > 0:
		place = fmt.Sprintf("%s:%d", file, p.origin.line)
	}
	if p.path == "" {
		return visible(place + ": " + p.message)
	}
	return visible(place + ": " + p.path + ": " + p.message)
}

// visible is a line that stays one and moves no cursor: keys and values of a
// file are quoted in it, and YAML can write any character.
func visible(line string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, line)
}

// missingFile says why the file could not be read and what to do about it.
func missingFile(file string, err error) problem {
	switch {
	case !errors.Is(err, fs.ErrNotExist):
		return problem{message: fmt.Sprintf("cannot be read: %v", cause(err))}
	case filepath.Base(file) == defaultConfigFile:
		return problem{message: "there is no such file; write one (the repository's config.yaml is a working start), or name another with --config FILE or DOORWARD_CONFIG"}
	default:
		return problem{message: "there is no such file; check --config and DOORWARD_CONFIG"}
	}
}

// cause is a file error without the name of the file, which stands beside it.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
