package authn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds how deep a document may nest. Nothing of ours is deeper than
// three; a hundred thousand brackets cost one pass over the bytes.
const maxDepth = 16

// What one answer about a bad document may hold.
const (
	maxProblems  = 32
	maxShownName = 64
)

// DecodeJSON is the one strict JSON decoder, for token parts and for request
// bodies. encoding/json alone takes the last of two equal keys, matches keys
// ignoring case, keeps a field as it was on null, and mends invalid UTF-8: each
// is a way for two readers of one document to see two documents.
//
// v points to a struct. Every member must be a field of it, spelled exactly as
// its tag, once, and of its type; null is of no type: a pointer only tells what
// was left out, and taken for that null would be a change that is not made. All
// that is wrong comes back at once as an *InputError: "unknown", "duplicate" and
// "type" by field, or "format" with no field for what is not one JSON value.
func DecodeJSON(data []byte, v any) error { return decodeJSON(data, v, nil) }

// DecodeNullable is DecodeJSON for records that others wrote, where null for a
// pointer is as good as nothing.
func DecodeNullable(data []byte, v any) error {
	d := decoder{nullable: true}
	return d.decode(data, v)
}

// decodeJSON also passes over members that ignore accepts.
func decodeJSON(data []byte, v any, ignore func(name string) bool) error {
	d := decoder{ignore: ignore}
	return d.decode(data, v)
}

func (d *decoder) decode(data []byte, v any) error {
	if why := malformed(data); why != "" {
		d.bad.Add("", "format", why)
	} else {
		d.value(data, reflect.ValueOf(v).Elem(), "")
	}
	return d.bad.OrNil()
}

// malformed says why data is not one well-formed JSON value of bounded depth in
// valid Unicode; "" if it is.
func malformed(data []byte) string {
	switch {
	case !utf8.Valid(data):
		return "not valid UTF-8"
	case tooDeep(data):
		return fmt.Sprintf("nested deeper than %d", maxDepth)
	case !json.Valid(data):
		return "not a single JSON value"
	case loneSurrogate(data):
		return "half of a surrogate pair"
	}
	return ""
}

// tooDeep counts brackets outside strings; it comes before any parsing.
func tooDeep(data []byte) bool {
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// loneSurrogate finds a \u escape that stands for half a character, which
// encoding/json would replace. data is valid JSON, so a backslash is always in
// a string and \u has four hexadecimal digits.
func loneSurrogate(data []byte) bool {
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		if i++; data[i] != 'u' {
			continue
		}
		switch surrogate(data[i+1 : i+5]) {
		case lowHalf:
			return true
		case highHalf:
			next := data[i+5:]
			if len(next) < 6 || next[0] != '\\' || next[1] != 'u' || surrogate(next[2:6]) != lowHalf {
				return true
			}
			i += 6
		}
		i += 4
	}
	return false
}

const (
	highHalf = iota + 1 // D800-DBFF
	lowHalf             // DC00-DFFF
)

// surrogate tells which half four hexadecimal digits are, or 0.
func surrogate(hex []byte) int {
	switch {
	case hex[0]|0x20 != 'd':
		return 0
	case strings.IndexByte("89abAB", hex[1]) >= 0:
		return highHalf
	case strings.IndexByte("cdefCDEF", hex[1]) >= 0:
		return lowHalf
	}
	return 0
}

// decoder fills a value from JSON already known to be well formed.
type decoder struct {
	ignore   func(string) bool
	nullable bool // null for a pointer is nil
	bad      InputError
}

var unmarshalerType = reflect.TypeFor[json.Unmarshaler]()

// value decodes raw into v, which is at path.
func (d *decoder) value(raw []byte, v reflect.Value, path string) {
	own := v.CanAddr() && v.Addr().Type().Implements(unmarshalerType)
	switch {
	case isNull(raw) && v.Kind() == reflect.Pointer && d.nullable:
		v.SetZero()
	case isNull(raw) && v.Kind() != reflect.Interface:
		d.bad.Add(path, "type", "null is not allowed")
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(raw, v.Elem(), path)
	case own, v.Kind() == reflect.Interface:
		d.scalar(raw, v, path)
		d.duplicates(raw, path)
	case v.Kind() == reflect.Struct:
		d.object(raw, path, func(name string) (reflect.Value, bool) { return fieldNamed(v, name) }, nil)
	case v.Kind() == reflect.Map:
		d.mapping(raw, v, path)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		d.list(raw, v, path)
	default:
		d.scalar(raw, v, path)
	}
}

// scalar leaves to encoding/json what has no members. Its message may quote
// the value, so it is not passed on.
func (d *decoder) scalar(raw []byte, v reflect.Value, path string) {
	if err := json.Unmarshal(raw, v.Addr().Interface()); err != nil {
		d.bad.Add(path, "type", "should be "+kindName(v.Type()))
	}
}

// object decodes each member where field says; done sees each after it.
func (d *decoder) object(raw []byte, path string, field func(string) (reflect.Value, bool), done func(string, reflect.Value)) {
	members, ok := membersOf(raw)
	if !ok {
		d.bad.Add(path, "type", "should be an object")
		return
	}
	seen := make(map[string]bool, len(members))
	for _, m := range members {
		if len(d.bad.Fields) >= maxProblems {
			return
		}
		at := join(path, cut(m.name, maxShownName))
		v, known := field(m.name)
		switch {
		case seen[m.name]:
			d.bad.Add(at, "duplicate", "given more than once")
		case known:
			d.value(m.raw, v, at)
			if done != nil {
				done(m.name, v)
			}
		case d.ignore == nil || !d.ignore(m.name):
			d.bad.Add(at, "unknown", "no such field")
		}
		seen[m.name] = true
	}
}

func (d *decoder) mapping(raw []byte, v reflect.Value, path string) {
	v.Set(reflect.MakeMap(v.Type()))
	d.object(raw, path,
		func(string) (reflect.Value, bool) { return reflect.New(v.Type().Elem()).Elem(), true },
		func(name string, e reflect.Value) {
			v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), e)
		})
}

func (d *decoder) list(raw []byte, v reflect.Value, path string) {
	var elements []json.RawMessage
	if json.Unmarshal(raw, &elements) != nil {
		d.bad.Add(path, "type", "should be a list")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(elements), len(elements)))
	for i, e := range elements {
		if len(d.bad.Fields) >= maxProblems {
			return
		}
		d.value(e, v.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
}

// duplicates looks for keys given twice where nothing else would notice.
func (d *decoder) duplicates(raw []byte, path string) {
	switch bytes.TrimLeft(raw, " \t\r\n")[0] {
	case '{':
		anything := reflect.New(reflect.TypeFor[map[string]any]()).Elem()
		d.mapping(raw, anything, path)
	case '[':
		var elements []any
		d.list(raw, reflect.ValueOf(&elements).Elem(), path)
	}
}

// member is one name and value of an object, in the order of the document.
type member struct {
	name string
	raw  json.RawMessage
}

// membersOf takes an object apart; false if raw is something else.
func membersOf(raw []byte) ([]member, bool) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	var members []member
	for dec.More() {
		name, err := dec.Token()
		var m member
		if m.name, _ = name.(string); err != nil || dec.Decode(&m.raw) != nil {
			return nil, false
		}
		members = append(members, m)
	}
	_, err := dec.Token()
	return members, err == nil || errors.Is(err, io.EOF)
}

// fieldNamed finds the field whose tag is exactly name.
func fieldNamed(v reflect.Value, name string) (reflect.Value, bool) {
	for f := range v.Fields() {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == name && tag != "" && tag != "-" {
			return v.FieldByIndex(f.Index), true
		}
	}
	return reflect.Value{}, false
}

func isNull(raw []byte) bool { return string(bytes.TrimSpace(raw)) == "null" }

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// kindName is a type in the words of JSON.
func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number"
	}
	return "of another type"
}
