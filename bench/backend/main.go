// Command backend is the application behind the gateway where a measurement
// needs more than a page: uploads, event streams, WebSockets, answers without
// an end, headers without an end, and no answer at all. It says whom it was told
// a request is from, and at /stats what it is still busy with.
//
//	backend LISTEN
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: backend LISTEN")
	}
	b := &backend{}
	server := &http.Server{Addr: os.Args[1], Handler: b.handler(), IdleTimeout: 5 * time.Minute, ConnState: b.counted}
	log.Fatal(server.ListenAndServe())
}

// backend counts what it is busy with.
type backend struct {
	connections, requests                  atomic.Int64
	endless, headers, hanging, events, ws  atomic.Int64
	uploads                                atomic.Int64
	endlessBytes, headerBytes, uploadBytes atomic.Int64
}

func (b *backend) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/app/", b.page)
	mux.HandleFunc("/public/", b.page)
	mux.HandleFunc("/app/big", b.big)
	mux.HandleFunc("/app/upload", b.upload)
	mux.HandleFunc("/app/events", b.stream)
	mux.HandleFunc("/app/ws", b.echo)
	mux.HandleFunc("/app/endless", b.withoutEnd)
	mux.HandleFunc("/app/endless-header", b.headerWithoutEnd)
	mux.HandleFunc("/slow/hang", b.hang)
	mux.HandleFunc("/stats", b.stats)
	return mux
}

func (b *backend) counted(_ net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		b.connections.Add(1)
	case http.StateClosed, http.StateHijacked:
		b.connections.Add(-1)
	}
}

// busy counts one up until the function it returns is called.
func busy(n *atomic.Int64) func() {
	n.Add(1)
	return func() { n.Add(-1) }
}

var (
	kilobyte = bytes.Repeat([]byte("0123456789abcdef"), 64)
	chunk    = bytes.Repeat(kilobyte, 64)
)

// page answers one kilobyte, and who it was asked by.
func (b *backend) page(w http.ResponseWriter, r *http.Request) {
	b.requests.Add(1)
	w.Header().Set("X-Told", r.Header.Get("X-Forwarded-User"))
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("Content-Length", strconv.Itoa(len(kilobyte)))
	w.Write(kilobyte)
}

// big answers ?n= kilobytes.
func (b *backend) big(w http.ResponseWriter, r *http.Request) {
	n, _ := strconv.Atoi(r.URL.Query().Get("n"))
	w.Header().Set("Content-Length", strconv.Itoa(n*len(kilobyte)))
	for range n {
		if _, err := w.Write(kilobyte); err != nil {
			return
		}
	}
}

// upload says how many bytes came.
func (b *backend) upload(w http.ResponseWriter, r *http.Request) {
	defer busy(&b.uploads)()
	n, err := io.Copy(io.Discard, r.Body)
	b.uploadBytes.Add(n)
	if err == nil {
		fmt.Fprint(w, n)
	}
}

// stream sends an event ten times a second until nobody reads any more.
func (b *backend) stream(w http.ResponseWriter, r *http.Request) {
	defer busy(&b.events)()
	w.Header().Set("Content-Type", "text/event-stream")
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := io.WriteString(w, "data: tick\n\n"); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

// echo sends every message back.
func (b *backend) echo(w http.ResponseWriter, r *http.Request) {
	defer busy(&b.ws)()
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		kind, message, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}

// withoutEnd writes as fast as it is read, until it is cut.
func (b *backend) withoutEnd(w http.ResponseWriter, _ *http.Request) {
	defer busy(&b.endless)()
	for {
		n, err := w.Write(chunk)
		b.endlessBytes.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// headerWithoutEnd writes header lines until it is cut.
func (b *backend) headerWithoutEnd(w http.ResponseWriter, _ *http.Request) {
	defer busy(&b.headers)()
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	line := append(append([]byte("X-More: "), kilobyte...), "\r\n"...)
	_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
	for err == nil {
		var n int
		n, err = conn.Write(line)
		b.headerBytes.Add(int64(n))
	}
}

// hang answers nobody.
func (b *backend) hang(_ http.ResponseWriter, r *http.Request) {
	defer busy(&b.hanging)()
	<-r.Context().Done()
}

// stats is what the backend is busy with, and what it has written and read.
func (b *backend) stats(w http.ResponseWriter, _ *http.Request) {
	json.NewEncoder(w).Encode(map[string]int64{
		"connections": b.connections.Load(), "requests": b.requests.Load(),
		"endless": b.endless.Load(), "headers": b.headers.Load(), "hanging": b.hanging.Load(),
		"events": b.events.Load(), "ws": b.ws.Load(), "uploads": b.uploads.Load(),
		"endless_bytes": b.endlessBytes.Load(), "header_bytes": b.headerBytes.Load(), "upload_bytes": b.uploadBytes.Load(),
	})
}
