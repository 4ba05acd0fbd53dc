package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/doorward/doorward/gateway"
	"github.com/doorward/doorward/policy"
)

// document is what a piece of YAML says: the value of every key that is
// written, in the type of the key, and where. What cannot be understood is in
// problems and nowhere else, so that the rest can still be judged.
type document struct {
	values   map[string]any
	origins  origins
	problems []problem
	env      string // the variable the text is from; "" if it is the file
	unread   bool   // nothing of it could be understood
}

// readFile reads the text of a configuration file.
func readFile(data []byte, base Config) *document {
	d := &document{values: map[string]any{}, origins: origins{}}
	if node := d.parse(data); node != nil {
		d.section(node, reflect.ValueOf(&base).Elem(), "", d.values)
	}
	return d
}

// parse reads the one YAML document in data; nil if it is empty or not YAML.
func (d *document) parse(data []byte) *yaml.Node {
	in := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := in.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) {
			d.syntax(data, err)
		}
		return nil
	}
	switch err := in.Decode(&more); {
	case err == nil:
		d.add("", more.Line, "holds more than one YAML document: keep one and remove the line ---")
	case !errors.Is(err, io.EOF): // what follows the document is no other document either
		d.syntax(data, err)
		return nil
	}
	return doc.Content[0]
}

func (d *document) add(path string, line int, message string) {
	d.problems = append(d.problems, problem{path, message, origin{line, d.env}})
}

// section reads a mapping whose keys are the fields of v and puts what it holds
// into v and, where out is given, into out under its dotted path.
func (d *document) section(n *yaml.Node, v reflect.Value, path string, out map[string]any) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // a section whose keys are all commented out
	}
	if !d.plain(n, path) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.add(path, n.Line, "holds a "+kindOf(n)+" where keys belong, such as "+example(v))
		d.unread = d.unread || path == ""
		return
	}
	known := fields(v)
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		if line, twice := first[key.Value]; twice {
			d.add(at, key.Line, fmt.Sprintf("is written twice, first on line %d: keep one", line))
			continue
		}
		first[key.Value] = key.Line
		f := find(known, key.Value)
		if f == nil || key.Kind != yaml.ScalarNode {
			d.add(at, key.Line, unknownKey(key, path, known))
			continue
		}
		d.origins[at] = origin{key.Line, d.env}
		d.value(value, f.value, at, out)
	}
}

// value reads what stands behind one key.
func (d *document) value(n *yaml.Node, v reflect.Value, path string, out map[string]any) {
	if isSection(v.Type()) {
		d.section(n, v, path, out)
		return
	}
	if !d.plain(n, path) {
		return
	}
	if v.Kind() == reflect.Slice && isSection(v.Type().Elem()) {
		d.sections(n, v, path)
	} else if got, err := parseNode(v.Type(), n); err != nil {
		d.add(path, n.Line, err.Error())
		return
	} else {
		v.Set(reflect.ValueOf(got))
	}
	if out != nil {
		out[path] = v.Interface()
	}
}

// sections reads a list of mappings, each over its own defaults.
func (d *document) sections(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.add(path, n.Line, "holds a "+kindOf(n)+" where a list belongs: begin each entry with a dash")
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.origins[at] = origin{item.Line, d.env}
		list.Index(i).Set(elementDefault(v.Type().Elem()))
		d.section(item, list.Index(i), at, nil)
	}
	v.Set(list)
}

// elementDefault is what an entry of a list holds where its YAML says nothing.
func elementDefault(t reflect.Type) reflect.Value {
	if t == reflect.TypeFor[gateway.Upstream]() {
		return reflect.ValueOf(gateway.DefaultUpstream())
	}
	return reflect.Zero(t)
}

// plain refuses what YAML can do beyond values: aliases, which let ten lines
// stand for a billion, and tags, which change what a value is.
func (d *document) plain(n *yaml.Node, path string) bool {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.add(path, n.Line, "uses a YAML anchor or alias: write the value out")
		return false
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		d.add(path, n.Line, "has no value: write one, or remove the key for its default")
		return false
	case n.Style&yaml.TaggedStyle != 0:
		d.add(path, n.Line, "uses the YAML tag "+n.Tag+": write the plain value")
		return false
	}
	return true
}

// parseNode reads a value by the type of its key, from the characters that are
// written: what YAML would make of them (`no` false, 010 eight, 1.10 1.1) does
// not come into it.
func parseNode(t reflect.Type, n *yaml.Node) (any, error) {
	if t == reflect.TypeFor[policy.Allow]() {
		return parseAllow(n)
	}
	if t.Kind() == reflect.Slice {
		return parseStrings(n)
	}
	if n.Kind != yaml.ScalarNode {
		return nil, fmt.Errorf("holds a %s where a single value belongs", kindOf(n))
	}
	if k := t.Kind(); (k == reflect.Bool || k == reflect.Int) && n.Style != 0 {
		return nil, fmt.Errorf("%q is text for YAML: write it without quotes", n.Value)
	}
	return parseText(t, n.Value)
}

// parseStrings reads a list of texts.
func parseStrings(n *yaml.Node) (any, error) {
	if n.Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("holds a %s where a list belongs: write [%s]", kindOf(n), n.Value)
	}
	list := []string{}
	for _, item := range n.Content {
		if item.Kind != yaml.ScalarNode || item.Tag == "!!null" || item.Anchor != "" || item.Style&yaml.TaggedStyle != 0 {
			return nil, fmt.Errorf("entry %d of the list is not plain text", len(list)+1)
		}
		list = append(list, item.Value)
	}
	return list, nil
}

// parseAllow reads who a route admits: a word or a list of roles.
func parseAllow(n *yaml.Node) (any, error) {
	var written any = n.Value
	if n.Kind != yaml.ScalarNode {
		list, err := parseStrings(n)
		if err != nil {
			return nil, err
		}
		written = list
	}
	allow, err := policy.ParseAllow(written)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "allow: "))
	}
	return allow, nil
}

func find(known []field, key string) *field {
	for i := range known {
		if known[i].key == key {
			return &known[i]
		}
	}
	return nil
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "mapping"
	case yaml.SequenceNode:
		return "list"
	default:
		return "single value"
	}
}

// example is one key a section can hold.
func example(v reflect.Value) string { return fields(v)[0].key + ":" }
