package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// yamlLine finds the line in an error of the YAML library.
var yamlLine = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?(.*)$`)

// syntax reports text that is not YAML. The library says where it gave up, which
// is often the line before or after the slip, and in terms of its own.
func (d *document) syntax(data []byte, err error) {
	d.unread = true
	line, message := 0, err.Error()
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = m[2]
	}
	if strings.HasPrefix(message, "found a tab") || message == "found character that cannot start any token" {
		if tab := tabIndent(data); tab > 0 {
			d.add("", tab, "is not YAML: the line is indented with a tab: write spaces")
			return
		}
	}
	near := ""
	if line > 0 {
		near = fmt.Sprintf(" near line %d", line)
	}
	d.add("", line, "is not YAML"+near+": "+message+lookFor(message))
}

// tabIndent is the first line that begins with white space with a tab in it, 0
// if there is none.
func tabIndent(data []byte) int {
	number := 0
	for line := range bytes.Lines(data) {
		number++
		text := bytes.TrimLeft(line, " \t")
		if indent := line[:len(line)-len(text)]; len(bytes.TrimSpace(text)) > 0 && bytes.ContainsRune(indent, '\t') {
			return number
		}
	}
	return 0
}

// slips are the usual reasons for what the library says.
var slips = []struct{ message, look string }{
	{"found unexpected end of stream", "a quote that opens there is not closed"},
	{"did not find expected ',' or ']'", "a list that opens there is not closed with ]"},
	{"did not find expected ',' or '}'", "a mapping that opens there is not closed with }"},
	{"did not find expected node content", "a list or mapping that opens there is not finished"},
	{"did not find expected key", "look at the indentation there, and for a quote that is not closed"},
	{"did not find expected '-' indicator", "look at the indentation there"},
	{"mapping values are not allowed in this context", "a value with a colon in it needs quotes, or the line is indented too far"},
	{"could not find expected ':'", "a key there has no colon behind it"},
	{"found character that cannot start any token", "a value that begins with @, ` or % needs quotes"},
	{"found unknown escape character", "a backslash belongs in single quotes"},
}

func lookFor(message string) string {
	for _, s := range slips {
		if s.message == message {
			return ": " + s.look
		}
	}
	return ""
}
