package gateway

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// document is openapi.yaml as a tree, to hold real answers against.
type document map[string]any

func readDocument(t testing.TB) document {
	t.Helper()
	var d map[string]any
	if err := yaml.Unmarshal([]byte(openAPIDocument), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// at follows keys into the tree, through references.
func (d document) at(keys ...string) map[string]any {
	node := map[string]any(d)
	for _, k := range keys {
		next, _ := node[k].(map[string]any)
		node = d.deref(next)
	}
	return node
}

func (d document) deref(node map[string]any) map[string]any {
	ref, ok := node["$ref"].(string)
	if !ok {
		return node
	}
	return d.at(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
}

// documented fails the test unless the document describes the answer: its
// status, its type, and what is in it.
func documented(t testing.TB, method, path string, a reply) {
	t.Helper()
	d := readDocument(t)
	operation := d.at("paths", path, strings.ToLower(method), "responses")
	status := fmt.Sprint(a.Status)
	if a.Status >= 400 {
		status = "default"
	}
	answer, ok := operation[status].(map[string]any)
	if !ok {
		t.Errorf("%s %s: status %d is not documented", method, path, a.Status)
		return
	}
	kind, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	content, _ := d.deref(answer)["content"].(map[string]any)
	if content == nil && a.Body == "" {
		return
	}
	media, ok := content[kind].(map[string]any)
	if !ok {
		t.Errorf("%s %s %d: type %q is not documented", method, path, a.Status, kind)
		return
	}
	schema, ok := media["schema"].(map[string]any)
	if !ok {
		return
	}
	var body any
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil {
		t.Errorf("%s %s %d: %v", method, path, a.Status, err)
		return
	}
	for _, wrong := range d.mismatch(schema, body, "body") {
		t.Errorf("%s %s %d: %s", method, path, a.Status, wrong)
	}
}

// mismatch is where v is not what schema says. It knows the keywords the
// document uses; any other in it is a mistake here.
func (d document) mismatch(schema map[string]any, v any, at string) (wrong []string) {
	schema = d.deref(schema)
	for keyword, want := range schema {
		switch keyword {
		case "type":
			if !isType(want, v) {
				return []string{fmt.Sprintf("%s: got %T, want %v", at, v, want)}
			}
		case "const":
			if v != want {
				wrong = append(wrong, fmt.Sprintf("%s: got %v, want %v", at, v, want))
			}
		case "enum":
			if !slices.Contains(want.([]any), v) {
				wrong = append(wrong, fmt.Sprintf("%s: got %v, want one of %v", at, v, want))
			}
		case "pattern":
			if text, ok := v.(string); ok && !regexp.MustCompile(want.(string)).MatchString(text) {
				wrong = append(wrong, fmt.Sprintf("%s: got %q, want %v", at, text, want))
			}
		case "format":
			if text, ok := v.(string); ok && want == "date-time" {
				if _, err := time.Parse(time.RFC3339, text); err != nil || !strings.HasSuffix(text, "Z") {
					wrong = append(wrong, fmt.Sprintf("%s: got %q, want RFC 3339 in UTC", at, text))
				}
			}
		case "items":
			elements, _ := v.([]any)
			for i, e := range elements {
				wrong = append(wrong, d.mismatch(want.(map[string]any), e, fmt.Sprintf("%s[%d]", at, i))...)
			}
		case "required":
			object, _ := v.(map[string]any)
			for _, name := range want.([]any) {
				if _, ok := object[name.(string)]; !ok {
					wrong = append(wrong, fmt.Sprintf("%s: got no %v", at, name))
				}
			}
		case "additionalProperties":
			wrong = append(wrong, d.additional(schema, v, at)...)
		case "properties", "description", "minimum", "minLength", "maxLength", "default":
		default:
			wrong = append(wrong, fmt.Sprintf("%s: the keyword %s is not understood here", at, keyword))
		}
	}
	object, _ := v.(map[string]any)
	properties, _ := schema["properties"].(map[string]any)
	for name, member := range object {
		if s, ok := properties[name].(map[string]any); ok {
			wrong = append(wrong, d.mismatch(s, member, at+"."+name)...)
		}
	}
	return wrong
}

// additional checks the members no property describes.
func (d document) additional(schema map[string]any, v any, at string) (wrong []string) {
	object, _ := v.(map[string]any)
	properties, _ := schema["properties"].(map[string]any)
	for name, member := range object {
		if _, ok := properties[name]; ok {
			continue
		}
		if s, ok := schema["additionalProperties"].(map[string]any); ok {
			wrong = append(wrong, d.mismatch(s, member, at+"."+name)...)
		} else {
			wrong = append(wrong, fmt.Sprintf("%s: got %s, which is not documented", at, name))
		}
	}
	return wrong
}

// isType reports whether v is of a type, or of one of several.
func isType(want, v any) bool {
	if several, ok := want.([]any); ok {
		return slices.ContainsFunc(several, func(one any) bool { return isType(one, v) })
	}
	switch v := v.(type) {
	case nil:
		return want == "null"
	case bool:
		return want == "boolean"
	case string:
		return want == "string"
	case float64:
		return want == "number" || want == "integer" && v == float64(int64(v))
	case []any:
		return want == "array"
	case map[string]any:
		return want == "object"
	}
	return false
}
