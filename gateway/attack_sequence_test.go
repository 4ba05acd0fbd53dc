package gateway

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/doorward/doorward/authn"
)

// Frames that come where none may, that say what they are not, or that come by
// the thousand.

// adminFields is a request of nobody's for where only admins may go.
var adminFields = [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "app.test"}, {":path", "/admin/x"}, {"x-forwarded-user", "root"}, {"x-forwarded-groups", "admin"}}

// raw is a frame of any type, flags and length.
func (s *session2) raw(length int, kind, flags byte, id uint32, payload []byte) {
	head := make([]byte, 9)
	binary.BigEndian.PutUint32(head, uint32(length)<<8|uint32(kind))
	head[4] = flags
	binary.BigEndian.PutUint32(head[5:], id)
	s.Write(append(head, payload...))
}

// headers is a whole request without data.
func (s *session2) headers(id uint32, block []byte, flags http2.Flags) {
	s.raw(len(block), byte(http2.FrameHeaders), byte(flags), id, block)
}

const (
	endStream  = http2.FlagHeadersEndStream
	endHeaders = http2.FlagHeadersEndHeaders
	whole      = endStream | endHeaders
)

// sequences is what may be sent instead of a request; m is a usual one.
var sequences = map[string]func(s *session2, id uint32, m message){
	"data before a header":       func(s *session2, id uint32, m message) { s.WriteData(id, true, []byte("hello")) },
	"a header on no stream":      func(s *session2, id uint32, m message) { s.headers(0, s.pack(m.fields), whole) },
	"a header on an even stream": func(s *session2, id uint32, m message) { s.headers(id+1, s.pack(m.fields), whole) },
	"data on no stream":          func(s *session2, id uint32, m message) { s.WriteData(0, true, []byte("hello")) },
	"a stream that was": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), whole)
		s.headers(id, s.pack(adminFields), whole)
	},
	"a stream before it": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), whole)
		s.headers(id-2, s.pack(adminFields), whole)
	},
	"two headers on one stream": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), endHeaders)
		s.headers(id, s.pack(adminFields), whole)
	},
	"two headers, neither at end": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), endHeaders)
		s.headers(id, s.pack(adminFields), endHeaders)
	},
	"trailers, and more data": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), endHeaders)
		s.headers(id, s.pack([][2]string{{"x-forwarded-user", "root"}}), endHeaders)
		s.WriteData(id, true, []byte("hello"))
	},
	"data behind the end": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), whole)
		s.WriteData(id, true, []byte("GET /admin/x HTTP/1.1\r\n\r\n"))
	},
	"a continuation of nothing": func(s *session2, id uint32, m message) { s.WriteContinuation(id, true, s.pack(adminFields)) },
	"a continuation behind all": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), whole)
		s.WriteContinuation(id, true, s.pack(adminFields))
	},
	"a continuation of another": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), endStream)
		s.WriteContinuation(id+2, true, s.pack(adminFields[4:]))
	},
	"another header in between": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), endStream)
		s.headers(id+2, s.pack(adminFields), whole)
		s.WriteContinuation(id, true, nil)
	},
	"data in between": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), 0)
		s.WriteData(id, true, []byte("x"))
		s.WriteContinuation(id, true, nil)
	},
	"settings in between": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), endStream)
		s.WriteSettings()
		s.WriteContinuation(id, true, nil)
	},
	"a header that does not end": func(s *session2, id uint32, m message) { s.headers(id, s.pack(m.fields), endStream) },
	"fields in three frames":     func(s *session2, id uint32, m message) { inPieces(s, id, s.pack(m.fields)) },
	"empty continuations": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), endStream)
		s.WriteContinuation(id, false, nil)
		s.WriteContinuation(id, true, nil)
	},
	"a header of nothing": func(s *session2, id uint32, m message) { s.headers(id, nil, whole) },
	"half a header":       func(s *session2, id uint32, m message) { b := s.pack(m.fields); s.headers(id, b[:len(b)-3], whole) },
	"padding longer than itself": func(s *session2, id uint32, m message) {
		s.headers(id, append([]byte{255}, s.pack(m.fields[:4])...), whole|http2.FlagHeadersPadded)
	},
	"padding": func(s *session2, id uint32, m message) {
		s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: s.pack(m.fields), EndStream: true, EndHeaders: true, PadLength: 200})
	},
	"padded data": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), endHeaders)
		s.WriteDataPadded(id, true, []byte("hello"), make([]byte, 100))
	},
	"padding in place of data": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), endHeaders)
		s.raw(2, byte(http2.FrameData), byte(http2.FlagDataPadded|http2.FlagDataEndStream), id, []byte{9, 0})
	},
	"a stream that needs itself": func(s *session2, id uint32, m message) {
		s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: s.pack(m.fields), EndStream: true, EndHeaders: true, Priority: http2.PriorityParam{StreamDep: id}})
	},
	"a priority": func(s *session2, id uint32, m message) {
		s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: s.pack(m.fields), EndStream: true, EndHeaders: true, Priority: http2.PriorityParam{StreamDep: id + 100, Exclusive: true, Weight: 255}})
	},
	"priorities of nothing": func(s *session2, id uint32, m message) {
		for i := range uint32(500) {
			s.WritePriority(id+2*i, http2.PriorityParam{StreamDep: id + 2*i + 2, Weight: 1})
		}
	},
	"a priority of no stream": func(s *session2, id uint32, m message) { s.WritePriority(0, http2.PriorityParam{StreamDep: id}) },
	"a promise": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), whole)
		s.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: id + 1, BlockFragment: s.pack(adminFields), EndHeaders: true})
	},
	"a reset of nothing":   func(s *session2, id uint32, m message) { s.WriteRSTStream(id, http2.ErrCodeCancel) },
	"a reset of no stream": func(s *session2, id uint32, m message) { s.WriteRSTStream(0, http2.ErrCodeCancel) },
	"a request behind a farewell": func(s *session2, id uint32, m message) {
		s.WriteGoAway(id, http2.ErrCodeNo, []byte("bye"))
		s.headers(id, s.pack(m.fields), whole)
		s.gone = true // it takes its time to go
	},
	"a window of nothing": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), endHeaders)
		s.WriteWindowUpdate(id, 0)
	},
	"a window too wide": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), whole)
		s.WriteWindowUpdate(id, 1<<31-1)
		s.WriteWindowUpdate(id, 1<<31-1)
	},
	"a window too wide for all": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), whole)
		s.WriteWindowUpdate(0, 1<<31-1)
	},
	"settings on a stream":   func(s *session2, id uint32, m message) { s.raw(0, byte(http2.FrameSettings), 0, id, nil) },
	"settings of odd length": func(s *session2, id uint32, m message) { s.raw(5, byte(http2.FrameSettings), 0, 0, make([]byte, 5)) },
	"settings nobody asked for": func(s *session2, id uint32, m message) {
		for range 50 {
			s.WriteSettingsAck()
		}
	},
	"settings out of range": func(s *session2, id uint32, m message) {
		s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 31})
		s.headers(id, s.pack(m.fields), whole)
	},
	"settings of a tiny frame": func(s *session2, id uint32, m message) {
		s.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1})
		s.headers(id, s.pack(m.fields), whole)
	},
	"settings for a tunnel": func(s *session2, id uint32, m message) {
		s.WriteSettings(http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1})
		s.headers(id, s.pack([][2]string{{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":authority", "app.test"}, {":path", "/admin/x"}}), endHeaders)
	},
	"settings without a table": func(s *session2, id uint32, m message) {
		s.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
		s.headers(id, s.pack(m.fields), whole)
	},
	"frames of no known type": func(s *session2, id uint32, m message) {
		s.raw(9, 0xee, 0xff, id, make([]byte, 9))
		s.headers(id, s.pack(m.fields), whole)
		s.raw(3, 0x7f, 0, 0, []byte("abc"))
	},
	"a frame too long": func(s *session2, id uint32, m message) {
		s.raw(frameSize+1, byte(http2.FrameHeaders), byte(whole), id, append(s.pack(m.fields), make([]byte, frameSize)...)[:frameSize+1])
	},
	"a ping of odd length": func(s *session2, id uint32, m message) { s.raw(7, byte(http2.FramePing), 0, 0, make([]byte, 7)) },
	"a ping on a stream":   func(s *session2, id uint32, m message) { s.raw(8, byte(http2.FramePing), 0, id, make([]byte, 8)) },
	"a preface in the middle": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), whole)
		io.WriteString(s, http2.ClientPreface)
	},
	"HTTP/1 in the middle": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), whole)
		io.WriteString(s, "GET /admin/x HTTP/1.1\r\nHost: app.test\r\n\r\n")
	},
	"HTTP/1 in the data": func(s *session2, id uint32, m message) {
		s.headers(id, s.pack(m.fields), endHeaders)
		s.WriteData(id, true, []byte("0\r\n\r\nGET /admin/x HTTP/1.1\r\nHost: app.test\r\n\r\n"))
	},
	"a field of no index": func(s *session2, id uint32, m message) { s.headers(id, append(s.pack(m.fields), 0x80), whole) },
	"a field of an index there is not": func(s *session2, id uint32, m message) {
		s.headers(id, append(s.pack(m.fields), 0xff, 0xff, 0xff, 0x7f), whole)
	},
	"an index that overflows": func(s *session2, id uint32, m message) {
		s.headers(id, append(s.pack(m.fields), append(bytes.Repeat([]byte{0xff}, 12), 0x7f)...), whole)
	},
	"a value longer than all": func(s *session2, id uint32, m message) {
		s.headers(id, append(s.pack(m.fields), 0x40, 0x01, 'a', 0x7f, 0xff, 0xff, 0x7f), whole)
	},
	"a value that is no code": func(s *session2, id uint32, m message) {
		s.headers(id, append(s.pack(m.fields), 0x40, 0x01, 'a', 0x82, 0xff, 0xff), whole)
	},
	"a table too large": func(s *session2, id uint32, m message) {
		s.headers(id, append([]byte{0x3f, 0xff, 0xff, 0x7f}, s.pack(m.fields)...), whole)
	},
	"a table change at the end": func(s *session2, id uint32, m message) { s.headers(id, append(s.pack(m.fields), 0x20), whole) },
	"a bomb of references":      bomb,
}

func inPieces(s *session2, id uint32, block []byte) {
	n := len(block) / 3
	s.headers(id, block[:n], endStream)
	s.WriteContinuation(id, false, block[n:2*n])
	s.WriteContinuation(id, true, block[2*n:])
}

// bomb is one field of four thousand bytes, and ten thousand bytes that each say:
// that field once more.
func bomb(s *session2, id uint32, m message) {
	block := s.pack(append(slices.Clone(m.fields), [2]string{"x-a", strings.Repeat("b", 3800)}))
	s.headers(id, append(block, bytes.Repeat([]byte{0x80 | 62}, 10000)...), whole)
}

func TestFramesOutOfPlace(t *testing.T) {
	everyWorld(t, func(t *testing.T, w *world) {
		r := lot("sequences" + w.name)
		for _, name := range slices.Sorted(maps.Keys(sequences)) {
			send := sequences[name]
			w.strike(t, attack{class: "frames", name: name, raw: name, want: "any", requests: 2, message: unwrittenMessage(t, "{POST}"),
				frames: func(s *session2, id uint32, m message) { s.next += 2; send(s, id, m) }}, w.callers[r.IntN(len(w.callers))])
			w.session.gone = true // the tables of its two ends may not be the same any more
		}
	}, speakHTTP2)
}

// TestHTTP1WhereHTTP2IsSpokenToo: an offer of HTTP/2 within HTTP/1 changes
// nothing where the listener takes both.
func TestHTTP1WhereHTTP2IsSpokenToo(t *testing.T) {
	w := newWorld(t, "deny", speakHTTP2)
	for _, class := range []string{"upgrades", "methods"} {
		for _, a := range table(t, class) {
			for _, c := range w.callers {
				w.strike(t, a, c)
			}
		}
	}
	for i, tail := range []string{"", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", http2.ClientPreface + "\x00\x00\x00\x04\x00\x00\x00\x00\x00"} {
		a := ofRequest("GET {home} HTTP/1.1\r\nHost: {host}\r\n{auth}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + tail)[0]
		a.class, a.name, a.want, a.requests = "upgrades", fmt.Sprint("with a tail ", i), "any", 2
		w.strike(t, a, w.callers[1])
	}
}

// TestManyCallersOnOneConnection: whoever's streams they are, one next to the
// other and packed with one table, each is its own caller's, and ends with them.
func TestManyCallersOnOneConnection(t *testing.T) {
	w := newWorld(t, "deny", speakHTTP2)
	w.http2 = true
	s := w.connected(t)
	r := lot("many callers")
	who := map[string]caller{}
	for range 6 {
		var ids []uint32
		said := map[uint32]string{}
		for range 50 {
			c := w.callers[r.IntN(len(w.callers))]
			path := "/public/many?" + strconv.Itoa(len(who))
			who[path] = c
			m := message{fields: w.fillFields([][2]string{{":method", pick(r, "GET", "POST")}, {":scheme", "http"}, {":authority", "app.test"}, {":path", path}, {"{auth}", ""}, {"x-forwarded-user", "root"}}, c)}
			if m.get(":method") == "POST" {
				m.data = []string{"hello", path}
			}
			w.n++ // the credential is a token, then a cookie
			id := s.ask(m)
			said[id], ids = path, append(ids, id)
		}
		if err := s.await(ids...); err != nil || s.gone {
			t.Fatalf("the connection: %v, gone %v", err, s.gone)
		}
		for id, path := range said {
			if a := s.hear(id); a.StatusCode != 200 || !strings.HasSuffix(a.body.String(), " "+path+" HTTP/1.1") {
				t.Errorf("%s: got %d %q", path, a.StatusCode, a.body.String())
			}
		}
	}
	for _, got := range w.up.requests() {
		path := strings.Split(got.line(), " ")[1]
		for _, wrong := range w.judge(got, []caller{who[path]}) {
			t.Errorf("%s of %q: %s", path, who[path].who, wrong)
		}
	}
	if got := w.up.count(); got != len(who) {
		t.Errorf("%d requests reached the backend, want %d", got, len(who))
	}
	p := w.callers[1].person
	if err := w.gateway.Authn.LogoutAll(context.Background(), identityOf(p, p.mobile), authn.Client{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range w.callers[1:] {
		id := s.ask(message{fields: w.fillFields([][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "app.test"}, {":path", "/app/x"}, {"{auth}", ""}}, c)})
		if err := s.await(id); err != nil {
			t.Fatal(err)
		}
		if got, want := s.hear(id).StatusCode, map[string]int{"user": 401, "admin": 200}[c.who]; got != want {
			t.Errorf("%s, signed out or not, on the same connection: got %d, want %d", c.who, got, want)
		}
	}
}

// TestAnEndlessHeaderInFramesIsCut: continuations may come for ever.
func TestAnEndlessHeaderInFramesIsCut(t *testing.T) {
	w := newWorld(t, "open", speakHTTP2)
	w.http2 = true
	for name, piece := range map[string]func(s *session2) []byte{
		"long fields": func(s *session2) []byte { return s.pack([][2]string{{"x-a", strings.Repeat("\x01", 8000)}}) },
		"many fields": func(s *session2) []byte { return bytes.Repeat(s.pack([][2]string{{"a", "b"}}), 1000) },
	} {
		s := w.connected(t)
		s.next += 2
		s.headers(s.next-2, s.pack(adminFields), endStream)
		sent := 0
		for ; sent < 1<<16; sent++ { // of frames, half a gigabyte, unless somebody hangs up
			if s.WriteContinuation(s.next-2, false, piece(s)) != nil {
				break
			}
		}
		if sent == 1<<16 {
			t.Errorf("%s: the gateway took %d frames of one header", name, sent)
		}
		s.gone = true
	}
	w.strike(t, attack{class: "frames", name: "behind a flood", want: "yes", requests: 1, message: unwrittenMessage(t, "{GET}")}, w.callers[1])
}

// TestStreamsResetAtOnce: a request and its cancellation in one breath, over and
// over. None of it is anybody else's, and nothing of it is left.
func TestStreamsResetAtOnce(t *testing.T) {
	w := newWorld(t, "open", speakHTTP2)
	w.http2 = true
	r := rand.New(rand.NewPCG(3, 4))
	for range 4 {
		s := w.connected(t)
		for range 500 {
			c := w.callers[r.IntN(len(w.callers))]
			id := s.next
			s.next += 2
			m := message{fields: w.fillFields([][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "app.test"}, {":path", "/public/x"}, {"{auth}", ""}, {"x-case", "0"}}, c)}
			if s.head(id, m.fields, r.IntN(2) == 0) != nil || s.WriteRSTStream(id, http2.ErrCodeCancel) != nil {
				break // hung up on, which is as good
			}
		}
		w.strike(t, attack{class: "frames", name: "behind resets", want: "any", requests: 1, message: unwrittenMessage(t, "{GET}")}, w.callers[2])
	}
	w.gateway.eventually("all of them to be over", func() bool { return w.gateway.underWay.Load() == 0 })
	for _, got := range w.up.requests() {
		for _, wrong := range w.judge(got, w.callers) {
			t.Error(wrong)
		}
	}
	t.Logf("%d requests reached the backend", w.up.count())
}
