package authn_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/doorward/doorward/authn"
)

type body struct {
	Name   string          `json:"name"`
	Nick   *string         `json:"nick"`
	Age    int             `json:"age"`
	On     bool            `json:"on"`
	Roles  []string        `json:"roles"`
	Inner  inner           `json:"inner"`
	List   []inner         `json:"list"`
	Map    map[string]int  `json:"map"`
	When   time.Time       `json:"when"`
	Any    any             `json:"any"`
	Option *bool           `json:"option,omitempty"`
	Raw    json.RawMessage `json:"raw"`
	Hidden string          `json:"-"`
	Plain  string
}

type inner struct {
	A string `json:"a"`
	B string `json:"b"`
}

func TestDecodeJSON(t *testing.T) {
	deep := func(n int) string { return `{"any":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	for _, c := range []struct {
		name, data string
		want       []string // "field code", in order
	}{
		{"all right", `{"name":"a","nick":"b","age":3,"on":true,"roles":["x"],"inner":{"a":"1"},"list":[{"b":"2"}],"map":{"k":1},"when":"2026-01-02T03:04:05Z"}`, nil},
		{"empty object", `{}`, nil},
		{"white space around", " \n{ \"name\" : \"a\" }\t\r\n", nil},
		{"null for a pointer", `{"nick":null,"option":null}`, []string{"nick type", "option type"}},
		{"escapes", `{"name":"\u0041\ud83d\ude00\n\"\\"}`, nil},
		{"brackets in a string", `{"name":"` + strings.Repeat("[{", 50) + `\""}`, nil},
		{"16 deep", deep(15), nil},

		{"17 deep", deep(16), []string{" format"}},
		{"100,000 deep", strings.Repeat("[", 100_000), []string{" format"}},
		{"100,000 deep objects", strings.Repeat(`{"a":`, 100_000), []string{" format"}},
		{"empty", ``, []string{" format"}},
		{"blank", "  \n", []string{" format"}},
		{"trailing data", `{} x`, []string{" format"}},
		{"a second value", `{}{}`, []string{" format"}},
		{"trailing comma", `{"name":"a",}`, []string{" format"}},
		{"no quotes", `{name:"a"}`, []string{" format"}},
		{"NaN", `{"age":NaN}`, []string{" format"}},
		{"Infinity", `{"age":-Infinity}`, []string{" format"}},
		{"leading zero", `{"age":01}`, []string{" format"}},
		{"BOM", "\ufeff{}", []string{" format"}},
		{"UTF-16", "{\x00}\x00", []string{" format"}},
		{"invalid UTF-8", "{\"name\":\"\xff\"}", []string{" format"}},
		{"overlong UTF-8", "{\"name\":\"\xc0\xaf\"}", []string{" format"}},
		{"a surrogate in UTF-8", "{\"name\":\"\xed\xa0\x80\"}", []string{" format"}},
		{"high half alone", `{"name":"\ud800"}`, []string{" format"}},
		{"high half twice", `{"name":"\ud800\ud800"}`, []string{" format"}},
		{"low half alone", `{"name":"\uDC00x"}`, []string{" format"}},
		{"high half before another escape", `{"name":"\ud800\n\udc00"}`, []string{" format"}},
		{"half a pair in a name", `{"\ud800":1}`, []string{" format"}},
		{"raw control byte", "{\"name\":\"a\nb\"}", []string{" format"}},

		{"array", `[]`, []string{" type"}},
		{"string", `"name"`, []string{" type"}},
		{"null", `null`, []string{" type"}},
		{"number", `7`, []string{" type"}},
		{"unknown", `{"x":1}`, []string{"x unknown"}},
		{"other case", `{"Name":"a"}`, []string{"Name unknown"}},
		{"other case beside it", `{"name":"a","NAME":"b"}`, []string{"NAME unknown"}},
		{"a long s", `{"role\u017f":[]}`, []string{"role\u017f unknown"}},
		{"a field without a tag", `{"Plain":"a"}`, []string{"Plain unknown"}},
		{"a hidden field", `{"-":"a","Hidden":"a"}`, []string{"- unknown", "Hidden unknown"}},
		{"the empty name", `{"":1}`, []string{" unknown"}},
		{"twice", `{"name":"a","name":"a"}`, []string{"name duplicate"}},
		{"twice by escape", `{"name":"a","n\u0061me":"b"}`, []string{"name duplicate"}},
		{"twice within", `{"inner":{"a":"1","a":"2"}}`, []string{"inner.a duplicate"}},
		{"twice in a list", `{"list":[{},{"b":"1","b":"2"}]}`, []string{"list[1].b duplicate"}},
		{"twice in a map", `{"map":{"k":1,"k":2}}`, []string{"map.k duplicate"}},
		{"twice where anything goes", `{"any":{"deep":[{"k":1,"k":2}]}}`, []string{"any.deep[0].k duplicate"}},
		{"twice in what is kept raw", `{"raw":{"k":1,"k":2}}`, []string{"raw.k duplicate"}},
		{"null", `{"name":null}`, []string{"name type"}},
		{"null in a list", `{"roles":["a",null]}`, []string{"roles[1] type"}},
		{"null list", `{"roles":null}`, []string{"roles type"}},
		{"number for a string", `{"name":1}`, []string{"name type"}},
		{"string for a number", `{"age":"1"}`, []string{"age type"}},
		{"fraction", `{"age":1.5}`, []string{"age type"}},
		{"exponent", `{"age":1e2}`, []string{"age type"}},
		{"too large", `{"age":9223372036854775808}`, []string{"age type"}},
		{"string for a list", `{"roles":"admin"}`, []string{"roles type"}},
		{"object for a list", `{"roles":{"0":"admin"}}`, []string{"roles type"}},
		{"number in a list", `{"roles":["a",1]}`, []string{"roles[1] type"}},
		{"list for an object", `{"inner":[]}`, []string{"inner type"}},
		{"string for a boolean", `{"on":"true"}`, []string{"on type"}},
		{"no time", `{"when":"yesterday"}`, []string{"when type"}},
		{"all at once", `{"name":1,"x":2,"age":"3","age":4,"roles":"r"}`,
			[]string{"name type", "x unknown", "age type", "age duplicate", "roles type"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b body
			err := authn.DecodeJSON([]byte(c.data), &b)
			var got []string
			var input *authn.InputError
			if errors.As(err, &input) {
				for _, f := range input.Fields {
					got = append(got, f.Field+" "+f.Code)
				}
			}
			if !reflect.DeepEqual(got, c.want) || (err != nil) != (c.want != nil) {
				t.Errorf("got %q (%v), want %q", got, err, c.want)
			}
		})
	}
}

func TestDecodeJSONValues(t *testing.T) {
	var b body
	err := authn.DecodeJSON([]byte(`{"name":"\u0041\ud83d\ude00","nick":"n","age":-3,"on":true,"roles":["x","y"],
		"inner":{"b":"2"},"list":[{"a":"1"},{}],"map":{"k":1},"any":{"x":[1]},"raw":{"y":2},"when":"2026-01-02T03:04:05Z"}`), &b)
	if err != nil {
		t.Fatal(err)
	}
	nick := "n"
	want := body{
		Name: "A\U0001F600", Nick: &nick, Age: -3, On: true, Roles: []string{"x", "y"},
		Inner: inner{B: "2"}, List: []inner{{A: "1"}, {}}, Map: map[string]int{"k": 1},
		Any: map[string]any{"x": []any{1.0}}, Raw: json.RawMessage(`{"y":2}`),
		When: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	if !reflect.DeepEqual(b, want) {
		t.Errorf("got %+v, want %+v", b, want)
	}
}

// Records that others wrote may have null for what there is not; what has to be
// there, and all the rest, is as strict.
func TestDecodeNullable(t *testing.T) {
	nick := "before"
	b := body{Nick: &nick}
	if err := authn.DecodeNullable([]byte(`{"nick":null,"option":null,"name":"a"}`), &b); err != nil || b.Nick != nil || b.Option != nil || b.Name != "a" {
		t.Errorf("got %+v, %v", b, err)
	}
	for _, wrong := range []string{`{"name":null}`, `{"nick":1}`, `{"x":null}`, `{"nick":null,"nick":null}`} {
		if authn.DecodeNullable([]byte(wrong), &b) == nil {
			t.Errorf("accepted %s", wrong)
		}
	}
}

// TestDecodeJSONBounds: a bad document gets a bounded answer that never quotes
// its values.
func TestDecodeJSONBounds(t *testing.T) {
	var many strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&many, `,"%d-%s":1`, i, strings.Repeat("n", 200))
	}
	var b body
	err := authn.DecodeJSON([]byte(`{"age":"hunter2"`+many.String()+`}`), &b)
	var input *authn.InputError
	if !errors.As(err, &input) {
		t.Fatalf("got %v, want an InputError", err)
	}
	if n := len(input.Fields); n > 32 {
		t.Errorf("%d problems named", n)
	}
	if text := err.Error(); len(text) > 4096 || strings.Contains(text, "hunter2") {
		t.Errorf("the answer has %d bytes: %.200s", len(text), text)
	}
}

func FuzzDecodeJSON(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"name":"a","nick":null}`, `{"name":"\ud83d\ude00"}`, `{"list":[{"a":"1","b":"2"}]}`,
		`{"any":{"x":[1,2,{"y":null}]}}`, `{"name":"a","name":"b"}`, `[[[[]]]]`, "\ufeff{}", `{"age":1e400}`, `{"a\`, `"\ud800`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got body
		if authn.DecodeJSON(data, &got) != nil {
			return
		}
		// What is accepted, a lenient reader understands in the same way.
		if !json.Valid(data) || !utf8.Valid(data) {
			t.Fatalf("accepted %q", data)
		}
		var want body
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatalf("accepted %q, which encoding/json refuses: %v", data, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q: got %+v, encoding/json reads %+v", data, got, want)
		}
	})
}
