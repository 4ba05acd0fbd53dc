package main

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/gateway"
)

// parsers reads the values that have a notation of their own.
var parsers = map[reflect.Type]func(string) (any, error){
	reflect.TypeFor[time.Duration](): func(s string) (any, error) { return parseDuration(s) },
	reflect.TypeFor[gateway.Rate]():  func(s string) (any, error) { return parseRate(s) },
	reflect.TypeFor[authn.Secret]():  func(s string) (any, error) { return authn.Secret(s), nil },
}

// days is the part of a duration that Go does not read.
var days = regexp.MustCompile(`^([0-9]+)d(.*)$`)

// parseDuration reads Go's durations, with d for days in front: 90d, 1d12h.
func parseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration: write a number with its unit, such as 30s, 15m, 12h or 90d", s)
	var whole time.Duration
	rest := s
	if m := days.FindStringSubmatch(s); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil || n > 36500 {
			return 0, bad
		}
		whole, rest = time.Duration(n)*24*time.Hour, m[2]
		if rest == "" {
			return whole, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || (rest != s && d < 0) {
		return 0, bad
	}
	return whole + d, nil
}

// parseRate reads N/duration, with days as everywhere.
func parseRate(s string) (gateway.Rate, error) {
	if count, per, ok := strings.Cut(s, "/"); ok {
		if d, err := parseDuration(per); err == nil {
			s = count + "/" + d.String()
		}
	}
	return gateway.ParseRate(s)
}

// parseText reads the value of a key from text that carries no type of its
// own: an environment variable. Lists of strings are separated by commas.
func parseText(t reflect.Type, s string) (any, error) {
	if parse := parsers[t]; parse != nil {
		return parse(s)
	}
	switch t.Kind() {
	case reflect.String:
		return reflect.ValueOf(s).Convert(t).Interface(), nil
	case reflect.Bool:
		return parseBool(s)
	case reflect.Int:
		return parseInt(s)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.String {
			return splitList(s), nil
		}
	}
	return nil, errors.New("this key cannot be set by the environment; write it in the file")
}

// splitList reads "a, b"; nothing at all is the empty list.
func splitList(s string) []string {
	list := []string{}
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

func parseBool(s string) (bool, error) {
	switch s {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false: write one of them", s)
}

func parseInt(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || strings.HasPrefix(s, "+") {
		return 0, fmt.Errorf("%q is not a whole number: write digits only", s)
	}
	return n, nil
}
