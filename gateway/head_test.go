package gateway

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// What is written without net/http is what net/http would have written.
func TestAppendRequest(t *testing.T) {
	plain := func(r *http.Request) {}
	with := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[name] = values }
	}
	tests := []struct {
		name   string
		change func(*http.Request)
		usual  bool // written here
	}{
		{"as it is", plain, true},
		{"HEAD", func(r *http.Request) { r.Method = "HEAD" }, true},
		{"OPTIONS", func(r *http.Request) { r.Method = "OPTIONS" }, true},
		{"two lines", with("X-A", "1", "2"), true},
		{"an empty value", with("X-A", ""), true},
		{"a value with a tab and more than ASCII", with("X-A", "a\tb \u00e9\xff"), true},
		{"a name as no browser writes it", with("x_a", "1"), true},
		{"what net/http writes itself", with("Content-Length", "7"), true},
		{"a transfer coding", with("Transfer-Encoding", "chunked"), true},
		{"a trailer", with("Trailer", "X-A"), true},
		{"another host", with("Host", "evil.example"), true},
		{"no agent", with("User-Agent", ""), true},
		{"two agents", with("User-Agent", "a", "b"), true},
		{"agents unsaid", func(r *http.Request) { delete(r.Header, "User-Agent") }, false},
		{"the upstream's host", func(r *http.Request) { r.Host = "" }, true},
		{"IPv6", func(r *http.Request) { r.Host = "[2001:db8::1]:80" }, true},
		{"a zone", func(r *http.Request) { r.Host = "[fe80::1%25eth0]" }, false},
		{"a host that is none", func(r *http.Request) { r.Host = "a b" }, false},
		{"a host beyond ASCII", func(r *http.Request) { r.Host = "b\u00fccher.example" }, false},
		{"a query", func(r *http.Request) { r.URL.RawQuery = "a=1;b=%zz&c" }, true},
		{"an empty query", func(r *http.Request) { r.URL.ForceQuery = true }, true},
		{"escapes", func(r *http.Request) { r.URL.Opaque = "/a%2Fb/..;/[c]|" }, true},
		{"two slashes", func(r *http.Request) { r.URL.Opaque, r.URL.Path, r.URL.RawPath = "", "//a/b", "//a%2Fb" }, true},
		{"a control byte", func(r *http.Request) { r.URL.Opaque = "/a\x01" }, false},
		{"a line break in a value", with("X-A", "1\r\nX-Forwarded-User: root"), false},
		{"space around a value", with("X-A", " 1 "), false},
		{"a name that is none", with("X A", "1"), false},
		{"closing", func(r *http.Request) { r.Close = true }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &http.Request{Method: "GET", Host: "app.example:8080", Body: http.NoBody, URL: &url.URL{Scheme: "http", Host: "127.0.0.1:3000", Opaque: "/x"},
				Header: http.Header{"User-Agent": {"curl/8"}, "Accept": {"*/*"}, "X-Forwarded-User": {"ann"}}}
			tt.change(r)
			if _, ok := appendUsual(nil, r, nil); ok != tt.usual {
				t.Errorf("written here: %v, want %v", ok, tt.usual)
			}
			var want bytes.Buffer
			wantErr := r.Write(&want)
			got, err := appendRequest([]byte(nil), r, nil)
			if (err == nil) != (wantErr == nil) || err == nil && !slices.Equal(sortedLines(got), sortedLines(want.Bytes())) {
				t.Errorf("got %q, %v; want, in any order, %q, %v", got, err, want.Bytes(), wantErr)
			}
			ours := said{{"X-Forwarded-User", "ben"}, {"X-Forwarded-Email", ""}}
			got, err = appendRequest([]byte(nil), r, ours)
			ours.put(r.Header)
			want.Reset()
			wantErr = r.Write(&want)
			if (err == nil) != (wantErr == nil) || err == nil && !slices.Equal(sortedLines(got), sortedLines(want.Bytes())) {
				t.Errorf("with what we say: got %q, %v; want, in any order, %q, %v", got, err, want.Bytes(), wantErr)
			}
		})
	}
}

// sortedLines is a header with its request line first and its fields in order.
func sortedLines(head []byte) []string {
	lines := strings.Split(string(head), "\r\n")
	slices.Sort(lines[1:])
	return lines
}
