package gateway

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/doorward/doorward/authn"
)

// ops asks the operations listener.
func (g *testGateway) ops(path string) reply {
	g.t.Helper()
	rec := httptest.NewRecorder()
	g.Ops().ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
	return reply{rec.Code, rec.Header(), rec.Body.String()}
}

// metrics is the text of /metrics.
func (g *testGateway) metrics() string { return g.ops("/metrics").Body }

func TestHealthz(t *testing.T) {
	g := newGateway(t, nil)
	var got struct {
		Status, Version string
		Uptime          *float64 `json:"uptime_seconds"`
	}
	a := g.ops("/healthz")
	a.json(t, &got)
	if a.Status != 200 || got.Status != "ok" || got.Version != "test" || got.Uptime == nil {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
}

func TestReadyz(t *testing.T) {
	type ready struct {
		Status string
		Checks map[string]string
	}
	g := newGateway(t, func(c *Config) { c.Upstreams[0].URL = "http://127.0.0.1:1" }) // down, which is no reason
	var got ready
	a := g.ops("/readyz")
	a.json(t, &got)
	if a.Status != 200 || got.Checks["store"] != "ok" || got.Checks["keys"] != "ok" || got.Checks["config"] != "ok" {
		t.Errorf("got %d %s, want 200 and three checks ok", a.Status, a.Body)
	}
	g.draining.Store(true)
	if a := g.ops("/readyz"); a.Status != 503 || !strings.Contains(a.Body, "draining") {
		t.Errorf("while draining: got %d %s, want 503", a.Status, a.Body)
	}
	g.draining.Store(false)
	g.Authn.Close()
	if a := g.ops("/readyz"); a.Status != 503 {
		t.Errorf("with authn closed: got %d %s, want 503", a.Status, a.Body)
	}
}

func TestOpsIsNotPublic(t *testing.T) {
	g := newGateway(t, nil)
	for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
		if a := g.get(path); a.Status != 401 {
			t.Errorf("%s on the public listener: got %d, want the routes' own 401", path, a.Status)
		}
	}
}

// What is counted by result is there before anything is counted: an alarm on a
// refresh token used twice must see the first.
func TestCountersBeginAtNothing(t *testing.T) {
	text := newGateway(t, nil).metrics()
	for name, results := range map[string]string{
		"sign_ins_total":  "succeeded failed locked overloaded disabled unverified",
		"refreshes_total": "rotated repeated reused invalid limited",
	} {
		for result := range strings.FieldsSeq(results) {
			if want := fmt.Sprintf("doorward_%s{result=%q} 0\n", name, result); !strings.Contains(text, want) {
				t.Errorf("a new gateway has no %s", want)
			}
		}
	}
}

// Every metric there is to be, with its labels.
func TestMetrics(t *testing.T) {
	g := newGateway(t, nil)
	anna := g.bearer("anna")
	g.get("/x", "Authorization: "+anna)
	g.get("/admin/x", "Authorization: "+anna)
	g.do("PURGE", "/public/x", "")
	in := g.signIn("anna", authn.ModeToken)
	g.post("/auth/refresh", `{"refresh_token":"`+in.RefreshToken.Reveal()+`"}`)
	g.post("/auth/login", `{"login":"anna","password":"wrong-horse"}`)
	want := []string{
		`doorward_http_requests_total{code="200",method="GET",route="/**"} 1`,
		`doorward_http_requests_total{code="403",method="GET",route="/admin/**"} 1`,
		`doorward_http_requests_total{code="200",method="OTHER",route="/public/**"} 1`,
		`doorward_http_requests_total{code="401",method="POST",route="/auth/login"} 1`,
		`doorward_http_request_duration_seconds_count{route="/**"} 1`,
		`doorward_decisions_total{decision="allowed",reason="",route="/**"} 1`,
		`doorward_decisions_total{decision="refused",reason="INSUFFICIENT_ROLE",route="/admin/**"} 1`,
		`doorward_sign_ins_total{result="succeeded"} 2`,
		`doorward_sign_ins_total{result="failed"} 1`,
		`doorward_refreshes_total{result="rotated"} 1`,
		`doorward_hash_queue_length 0`,
		`doorward_hash_wait_seconds_count `,
		`doorward_store_duration_seconds_count{op="update"}`,
		`doorward_sessions_cached `,
		`doorward_upstream_up{upstream="app"} 1`,
		`doorward_mail_queue_length 0`,
		`doorward_config_last_reload_successful 1`,
		`doorward_build_info{commit="none",goversion="go`,
	}
	g.eventually("every metric", func() bool {
		text := g.metrics()
		want = slices.DeleteFunc(want, func(line string) bool { return strings.Contains(text, line) })
		return len(want) == 0
	})
	if strings.Contains(g.metrics(), "PURGE") {
		t.Error("a client made a label")
	}
}
