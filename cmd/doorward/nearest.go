package main

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
)

// unknownKey says what was probably meant: a key of the same section spelt
// like it, else one of the same name in another section.
func unknownKey(key *yaml.Node, section string, known []field) string {
	if key.Kind != yaml.ScalarNode {
		return "is not a key: write a plain name and a colon"
	}
	if key.Tag == "!!merge" {
		return "is a YAML merge key: write the values out"
	}
	names := make([]string, len(known))
	for i, f := range known {
		names[i] = f.key
	}
	if meant, ok := nearest(key.Value, names); ok {
		return fmt.Sprintf("is not a key of ours: did you mean %s?", join(section, meant))
	}
	for _, k := range leaves(reflect.ValueOf(Config{}), "") {
		if k.path == join(section, key.Value) {
			parts := strings.Split(key.Value, ".")
			return fmt.Sprintf("is a path and not a key: write %s", strings.Join(parts, ": {")+": ..."+strings.Repeat("}", len(parts)-1))
		}
		if k.path == key.Value || strings.HasSuffix(k.path, "."+key.Value) {
			return fmt.Sprintf("is not a key of this section: did you mean %s?", k.path)
		}
	}
	return "is not a key of ours: this section has " + strings.Join(names, ", ")
}

// nearest finds the name a typing error away from what was written.
func nearest(written string, names []string) (string, bool) {
	best, least := "", min(max(len(written)/3, 1), 3)
	for _, name := range names {
		if d := distance(strings.ToLower(written), name); d <= least {
			if d < least || best == "" {
				best, least = name, d
			}
		}
	}
	return best, best != ""
}

// distance counts the letters to insert, remove, replace or swap with their
// neighbour to get from one word to the other.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			rows[i][j] = min(change, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
