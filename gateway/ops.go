package gateway

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// readyWait bounds one look at the store: a probe that hangs says as much as
// one that fails.
const readyWait = 2 * time.Second

// Ops is the handler of the operations listener, which is never the public one.
func (s *Server) Ops() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", s.Metrics.handler())
	return mux
}

// healthz answers while the process serves at all.
func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	writeStatus(w, http.StatusOK, struct {
		Status  string  `json:"status"`
		Version string  `json:"version"`
		Uptime  float64 `json:"uptime_seconds"`
	}{"ok", s.Build.Version, s.Now().Sub(s.started).Truncate(time.Second).Seconds()})
}

// readyz answers whether requests should be sent here. An upstream that is
// down is no reason: the others would be lost with it.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyWait)
	defer cancel()
	checks := map[string]string{"store": "ok", "keys": "ok", "config": "ok"}
	status, code := "ready", http.StatusOK
	for name, err := range s.Authn.Ready(ctx) {
		if err != nil {
			checks[name] = err.Error()
			status, code = "not ready", http.StatusServiceUnavailable
		}
	}
	if s.live.Load() == nil {
		checks["config"] = "none is loaded"
		status, code = "not ready", http.StatusServiceUnavailable
	}
	if s.draining.Load() {
		status, code = "draining", http.StatusServiceUnavailable
	}
	writeStatus(w, code, struct {
		Status string            `json:"status"`
		Checks map[string]string `json:"checks"`
	}{status, checks})
}

func writeStatus(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // whoever asked is gone
}
