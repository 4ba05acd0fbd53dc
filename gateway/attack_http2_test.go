package gateway

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// The same attacks in frames. HTTP/2 has no request line to hide a second one
// in, but its fields carry what a line never could: a path with a space, a name
// in capitals, a value that ends a line. What reaches the backend is HTTP/1.1
// all the same, and is judged as before.

// message is a request as it goes out in frames.
type message struct {
	fields   [][2]string
	data     []string // one frame each
	trailers [][2]string
	open     bool // the end never comes
}

// get is the first field of a name, "" if there is none.
func (m message) get(name string) string {
	for _, f := range m.fields {
		if f[0] == name {
			return f[1]
		}
	}
	return ""
}

// inFrames is what the case sends in a world that speaks HTTP/2: its message, or
// the bytes of HTTP/1 said in fields.
func (w *world) inFrames(a attack, c caller) message {
	m := a.message
	if m.fields == nil {
		m = spoken2(a.raw)
	}
	m.fields, m.trailers, m.data = w.fillFields(m.fields, c), w.fillFields(m.trailers, c), slices.Clone(m.data)
	for i := range m.data {
		m.data[i] = w.fill(m.data[i], c)
	}
	m.fields = append(m.fields, [2]string{"x-case", strconv.Itoa(w.n)})
	m.open = m.open || a.cut
	return m
}

func (w *world) fillFields(fields [][2]string, c caller) [][2]string {
	var all [][2]string
	for _, f := range fields {
		if f[0] != "{auth}" {
			all = append(all, [2]string{w.fill(f[0], c), w.fill(f[1], c)})
		} else if name, value, ok := strings.Cut(strings.TrimSuffix(w.fill(f[0], c), "\r\n"), ": "); ok {
			all = append(all, [2]string{strings.ToLower(name), value})
		}
	}
	return all
}

// spoken2 is a request of HTTP/1 in fields: what its bytes would mean to someone
// who reads lines, with nothing taken away that a field can carry. Lines that
// continue another stay in its value, with the end of line between. What is
// behind the head is the body, whatever it was meant for.
func spoken2(raw string) message {
	head, body, _ := strings.Cut(strings.TrimLeft(raw, "\r\n"), "\r\n\r\n")
	lines := strings.Split(strings.ReplaceAll(head, "{auth}", "{auth}:\r\n"), "\r\n")
	method, target, _ := strings.Cut(lines[0], " ")
	if i := strings.LastIndex(target, " HTTP/"); i >= 0 {
		target = target[:i]
	}
	m := message{fields: [][2]string{{":method", method}, {":scheme", "{scheme}"}, {":path", target}}}
	var fields [][2]string
	for _, line := range lines[1:] {
		if n := len(fields); n > 0 && strings.TrimLeft(line, " \t") != line {
			fields[n-1][1] += "\r\n" + line
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		switch name = strings.ToLower(name); {
		case line == "":
		case !ok:
			fields = append(fields, [2]string{name + "\r\n", ""})
		case name == "host" && m.get(":authority") == "":
			m.fields = append(m.fields, [2]string{":authority", strings.Trim(value, " \t")})
		default:
			fields = append(fields, [2]string{name, strings.TrimPrefix(value, " ")})
		}
	}
	m.fields = append(m.fields, fields...)
	if body = strings.ReplaceAll(body, "{auth}", ""); body != "" {
		m.data = []string{body}
	}
	return m
}

// wanted is what has to become of the message in HTTP/2. Where a line has space
// around its value a field has it in its value, and neither that nor a field for
// one connection may be there at all: what HTTP/1 has to forward may be refused.
// What it has to refuse for its framing HTTP/2 has no way to say.
func (m message) wanted(a attack) string {
	switch {
	case a.message.fields != nil:
		return a.want
	case a.want == "yes" && slices.ContainsFunc(m.fields, isMalformed), a.want == "no" && a.class == "framing",
		a.want == "no" && m.get("host") != "" && m.get("host") == m.get(":authority"): // said twice, and no doubt
		return "any"
	}
	return a.want
}

func isMalformed(f [2]string) bool {
	return strings.Trim(f[1], " \t") != f[1] || slices.Contains([]string{"connection", "upgrade", "keep-alive", "transfer-encoding", "proxy-connection", "te"}, f[0])
}

// session2 is a client's connection. It writes what it is told, legal or not.
type session2 struct {
	net.Conn
	*http2.Framer
	block bytes.Buffer
	codec *hpack.Encoder
	next  uint32 // the next stream
	gone  bool   // the other side has ended it
	heard map[uint32]*answer2
}

// answer2 is what came back on one stream.
type answer2 struct {
	http.Response
	body  bytes.Buffer
	ended bool // whole
	reset bool // given up by the gateway
}

// dial2 is a new connection to the world. Whoever asked for it closes it.
func (w *world) dial2(t testing.TB) *session2 {
	t.Helper()
	conn, err := net.DialTimeout("tcp", w.addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	if w.secure {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	}
	return begin2(t, conn)
}

// begin2 speaks the preface.
func begin2(t testing.TB, conn net.Conn) *session2 {
	t.Helper()
	s := &session2{Conn: conn, Framer: http2.NewFramer(conn, conn), next: 1, heard: map[uint32]*answer2{}}
	s.SetDeadline(time.Now().Add(patience))
	s.AllowIllegalWrites = true
	s.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	s.codec = hpack.NewEncoder(&s.block)
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	s.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	s.WriteWindowUpdate(0, 1<<30)
	return s
}

// pack is the fields as a header block. The same fields come out shorter the
// second time: both sides keep a table.
func (s *session2) pack(fields [][2]string) []byte {
	s.block.Reset()
	for i, f := range fields {
		s.codec.WriteField(hpack.HeaderField{Name: f[0], Value: f[1], Sensitive: i%5 == 4})
	}
	return bytes.Clone(s.block.Bytes())
}

// frameSize is what every peer takes.
const frameSize = 16384

// head sends a header block in as many frames as it takes.
func (s *session2) head(id uint32, fields [][2]string, end bool) error {
	block := s.pack(fields)
	first := block[:min(len(block), frameSize)]
	block = block[len(first):]
	err := s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndStream: end, EndHeaders: len(block) == 0})
	for len(block) > 0 && err == nil {
		part := block[:min(len(block), frameSize)]
		block = block[len(part):]
		err = s.WriteContinuation(id, len(block) == 0, part)
	}
	return err
}

// ask sends a request on the next stream and returns its id. A connection that
// the other side has ended takes no more, which reading will tell.
func (s *session2) ask(m message) uint32 {
	id := s.next
	s.next += 2
	last := len(m.data) == 0 && m.trailers == nil && !m.open
	err := s.head(id, m.fields, last)
	for i, data := range m.data {
		for first := true; err == nil && (first || data != ""); first = false {
			part := data[:min(len(data), frameSize)]
			data = data[len(part):]
			err = s.WriteData(id, data == "" && i == len(m.data)-1 && m.trailers == nil && !m.open, []byte(part))
		}
	}
	if m.trailers != nil && err == nil {
		err = s.head(id, m.trailers, !m.open)
	}
	if m.open && err == nil {
		err = s.WriteRSTStream(id, http2.ErrCodeCancel)
		s.hear(id).reset = true
	}
	return id
}

func (s *session2) hear(id uint32) *answer2 {
	if s.heard[id] == nil {
		s.heard[id] = &answer2{}
	}
	return s.heard[id]
}

// await reads until these streams are over, or the connection is.
func (s *session2) await(ids ...uint32) error {
	s.SetDeadline(time.Now().Add(patience))
	for !s.gone {
		waiting := false
		for _, id := range ids {
			a := s.hear(id)
			waiting = waiting || !a.ended && !a.reset
		}
		if !waiting {
			return nil
		}
		if err := s.listen(); err != nil {
			s.gone = true
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return err
			}
		}
	}
	return nil
}

// listen takes one frame.
func (s *session2) listen() error {
	frame, err := s.ReadFrame()
	if err != nil {
		return err
	}
	a := s.hear(frame.Header().StreamID)
	switch f := frame.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() {
			return s.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			return s.WritePing(true, f.Data)
		}
	case *http2.MetaHeadersFrame:
		status, _ := strconv.Atoi(f.PseudoValue("status"))
		if status >= 200 {
			a.StatusCode, a.Header = status, http.Header{}
			for _, field := range f.RegularFields() {
				a.Header.Add(field.Name, field.Value)
			}
		}
		a.ended = a.ended || f.StreamEnded()
	case *http2.DataFrame:
		a.body.Write(f.Data())
		a.ended = a.ended || f.StreamEnded()
	case *http2.RSTStreamFrame:
		a.reset = true
	case *http2.GoAwayFrame:
		if f.ErrCode != http2.ErrCodeNo {
			s.gone = true // it waits a second before it hangs up
		}
	}
	return nil
}

// exchange2 sends a case and a plain request behind it, on the connection of the
// cases before if that still lives.
func (w *world) exchange2(t testing.TB, a attack, m message) (wrong []string) {
	t.Helper()
	s := w.connected(t)
	var id uint32
	if a.frames != nil {
		id = s.next
		s.next += 2
		a.frames(s, id, m)
		s.hear(id).reset = true // whatever comes of it: what is behind it tells
	} else {
		id = s.ask(m)
	}
	plain := s.ask(w.plainMessage())
	if err := s.await(id, plain); err != nil {
		wrong = append(wrong, "no answer: "+err.Error())
	}
	wrong = append(wrong, w.judge2(s.hear(id), m.get(":method"))...)
	behind := s.hear(plain)
	delete(s.heard, id)
	delete(s.heard, plain)
	if !behind.ended {
		s.gone = true
		s = w.connected(t)
		plain = s.ask(w.plainMessage())
		if err := s.await(plain); err != nil {
			wrong = append(wrong, "no answer: "+err.Error())
		}
		behind = s.hear(plain)
	}
	if !strings.HasSuffix(behind.body.String(), " to "+w.plainLine()) {
		wrong = append(wrong, fmt.Sprintf("the gateway no longer serves a plain request: %d %s", behind.StatusCode, behind.body.String()))
	}
	return append(wrong, w.judge2(behind, "GET")...)
}

// connected is the connection in use, or a new one if that is over.
func (w *world) connected(t testing.TB) *session2 {
	t.Helper()
	if w.session != nil && w.session.gone {
		w.session.Close()
		w.session = nil
	}
	if w.session == nil {
		w.session = w.dial2(t)
	}
	return w.session
}

func (w *world) plainMessage() message {
	_, auth, _ := strings.Cut(w.callers[1].person.bearer, ": ")
	return message{fields: [][2]string{
		{":method", "GET"}, {":scheme", w.scheme()}, {":authority", w.host}, {":path", strings.Split(w.plainLine(), " ")[1]}, {"authorization", auth},
	}}
}

// judge2 judges an answer that is whole. One that the gateway cut is a refusal.
func (w *world) judge2(a *answer2, method string) []string {
	switch {
	case !a.ended, a.StatusCode >= 400 && a.Header["X-Request-Id"] == nil: // net/http's own refusal
		return nil
	}
	return w.judgeAnswer(&a.Response, a.body.String(), method)
}
