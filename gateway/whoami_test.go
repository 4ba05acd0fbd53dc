package gateway

import (
	"strings"
	"testing"
)

func TestWhoamiShowsWhatABackendGets(t *testing.T) {
	g := newGateway(t, nil)
	ann := g.person(t, "ann", "user", "editor")
	res := g.do("POST", "/a%2Fb?x=1;y", "hello", "Authorization: Bearer "+ann.token, "X-Custom: <&>", "X-Forwarded-User: root")
	if res.Status != 200 || res.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("got %d %s", res.Status, res.Header)
	}
	var got whoamiAnswer
	res.json(t, &got)
	want := whoamiIdentity{User: "ann", UserID: ann.id, Groups: "editor,user"}
	if got.Identity != want {
		t.Errorf("got identity %+v, want %+v", got.Identity, want)
	}
	if got.Method != "POST" || got.Target != "/a%2Fb?x=1;y" || got.Host != g.addr || got.Proto != "HTTP/1.1" || got.BodyBytes != 5 {
		t.Errorf("got %+v", got)
	}
	if v := got.Headers["X-Custom"]; len(v) != 1 || v[0] != "<&>" {
		t.Errorf("X-Custom: got %q", v)
	}
	if strings.Contains(res.Body, ann.token) {
		t.Error("our token was forwarded")
	}
}

func TestWhoamiEchoesWebSocketMessages(t *testing.T) {
	g := newGateway(t, nil)
	dialWebSocket(t, g, "/echo", "Cookie: "+g.person(t, "ann", "user").cookie)
}

func TestWhoamiAnswersManyAtOnce(t *testing.T) {
	g := newGateway(t, nil)
	done := make(chan int)
	for range 50 {
		go func() { done <- g.get("/public/x").Status }()
	}
	for range 50 {
		if status := <-done; status != 200 {
			t.Errorf("got %d, want 200", status)
		}
	}
}
