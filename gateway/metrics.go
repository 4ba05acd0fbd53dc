package gateway

import (
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/doorward/doorward/authn"
)

// Metrics is everything we measure, in a registry of its own. Labels come from
// our own tables only, so no client can add a series.
type Metrics struct {
	registry *prometheus.Registry

	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	decisions *prometheus.CounterVec
	signIns   *prometheus.CounterVec
	refreshes *prometheus.CounterVec
	hashQueue prometheus.Gauge
	hashWait  prometheus.Histogram
	store     *prometheus.HistogramVec
	sessions  prometheus.Gauge
	up        *prometheus.GaugeVec
	mailQueue prometheus.Gauge
	mails     *prometheus.CounterVec
	reloaded  prometheus.Gauge
	info      *prometheus.GaugeVec

	routes sync.Map // label -> *routeMetrics
}

// NewMetrics makes the metrics of one gateway.
func NewMetrics() *Metrics {
	m := &Metrics{
		registry:  prometheus.NewRegistry(),
		requests:  counters("http_requests_total", "Requests answered, by route, method and status code.", "route", "method", "code"),
		durations: histograms("http_request_duration_seconds", "Time from a request's header to the end of its answer.", prometheus.DefBuckets, "route"),
		decisions: counters("decisions_total", "Requests allowed and refused, and why.", "route", "decision", "reason"),
		signIns:   counters("sign_ins_total", "Attempts to sign in.", "result"),
		refreshes: counters("refreshes_total", "Refresh tokens presented.", "result"),
		hashQueue: gauge("hash_queue_length", "Password hashes waiting or running."),
		hashWait:  prometheus.NewHistogram(histogramOpts("hash_wait_seconds", "How long a password hash waited for its turn.", prometheus.DefBuckets)),
		store:     histograms("store_duration_seconds", "Time of one store operation.", prometheus.ExponentialBuckets(0.00001, 4, 10), "op"),
		sessions:  gauge("sessions_cached", "Sessions held in memory."),
		up:        gauges("upstream_up", "1 if the last call to the upstream got an answer.", "upstream"),
		mailQueue: gauge("mail_queue_length", "Mails waiting to be sent."),
		mails:     counters("mails_total", "Attempts to send a mail: sent, failed (tried again) and given_up.", "result"),
		reloaded:  gauge("config_last_reload_successful", "1 if the configuration on disk is the one in use."),
		info:      gauges("build_info", "Always 1; the build is in the labels.", "version", "commit", "goversion"),
	}
	m.registry.MustRegister(m.requests, m.durations, m.decisions, m.signIns, m.refreshes, m.hashQueue, m.hashWait,
		m.store, m.sessions, m.up, m.mailQueue, m.mails, m.reloaded, m.info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for metric, labels := range results {
		for _, label := range labels {
			m.Authn(metric, label, 0)
		}
	}
	return m
}

// results is every label of what authn counts by result. Each series is there
// before its first event: of one that begins at 1, rate() sees no increase. Mails
// have none, as not every gateway sends any.
var results = map[authn.Metric][]string{
	authn.MetricSignIns:   {"succeeded", "failed", "locked", "overloaded", "disabled", "unverified"},
	authn.MetricRefreshes: {"rotated", "repeated", "reused", "invalid", "limited"},
}

const namespace = "doorward"

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help})
}

func gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func histogramOpts(name, help string, bounds []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: bounds}
}

func histograms(name, help string, bounds []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(histogramOpts(name, help, bounds), labels)
}

// Authn receives authn's measurements: it is an authn.Deps.Observe.
func (m *Metrics) Authn(metric authn.Metric, label string, v float64) {
	switch metric {
	case authn.MetricSignIns:
		m.signIns.WithLabelValues(label).Add(v)
	case authn.MetricRefreshes:
		m.refreshes.WithLabelValues(label).Add(v)
	case authn.MetricHashQueue:
		m.hashQueue.Set(v)
	case authn.MetricHashWait:
		m.hashWait.Observe(v)
	case authn.MetricSessions:
		m.sessions.Set(v)
	case authn.MetricMailQueue:
		m.mailQueue.Set(v)
	case authn.MetricMails:
		m.mails.WithLabelValues(label).Add(v)
	}
}

// Store receives the store's measurements: it is a store.Options.Observe. A
// failed operation took its time too.
func (m *Metrics) Store(op string, d time.Duration, _ error) {
	m.store.WithLabelValues(op).Observe(d.Seconds())
}

// Reloaded notes whether the configuration that was last read is in use. Who
// finds a file that cannot be read at all calls it too.
func (m *Metrics) Reloaded(ok bool) { m.reloaded.Set(oneIf(ok)) }

// upstreamUp notes whether an upstream answered.
func (m *Metrics) upstreamUp(name string, up bool) { m.up.WithLabelValues(name).Set(oneIf(up)) }

// forgetUpstream drops the series of an upstream that is configured no more.
func (m *Metrics) forgetUpstream(name string) { m.up.DeleteLabelValues(name) }

func (m *Metrics) build(b Build) {
	m.info.WithLabelValues(b.Version, b.Commit, runtime.Version()).Set(1)
}

// handler answers /metrics.
func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func oneIf(ok bool) float64 {
	if ok {
		return 1
	}
	return 0
}

// routeMetrics is what is measured of one route, looked up once: the vectors
// hash their labels on every use.
type routeMetrics struct {
	label    string
	duration prometheus.Observer
	allowed  prometheus.Counter
	answered [len(methodLabels)]atomic.Pointer[statusCounters]
}

// statusCounters is one counter per status code, made when it is first needed.
type statusCounters [maxStatus]atomic.Pointer[prometheus.Counter]

const maxStatus = 600

// methodLabels is every method that is counted by its name.
var methodLabels = [...]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "OTHER"}

func methodIndex(method string) int {
	for i, m := range methodLabels {
		if m == method {
			return i
		}
	}
	return len(methodLabels) - 1
}

// route is the metrics of a label, which must be one of ours.
func (m *Metrics) route(label string) *routeMetrics {
	if rm, ok := m.routes.Load(label); ok {
		return rm.(*routeMetrics)
	}
	rm, _ := m.routes.LoadOrStore(label, &routeMetrics{
		label:    label,
		duration: m.durations.WithLabelValues(label),
		allowed:  m.decisions.WithLabelValues(label, "allowed", ""),
	})
	return rm.(*routeMetrics)
}

// request counts one request that has ended.
func (m *Metrics) request(x *exchange, method string, status int, took time.Duration) {
	rm := m.route(x.route)
	rm.duration.Observe(took.Seconds())
	rm.counter(m.requests, method, status).Inc()
	switch {
	case x.decision == "":
	case x.decision != decisionAllowed:
		m.decisions.WithLabelValues(x.route, "refused", x.decision).Inc()
	case x.ignored != "":
		m.decisions.WithLabelValues(x.route, "allowed", string(x.ignored)).Inc()
	default:
		rm.allowed.Inc()
	}
}

func (rm *routeMetrics) counter(vec *prometheus.CounterVec, method string, status int) prometheus.Counter {
	i := methodIndex(method)
	row := rm.answered[i].Load()
	if row == nil {
		rm.answered[i].CompareAndSwap(nil, new(statusCounters))
		row = rm.answered[i].Load()
	}
	if status < 0 || status >= maxStatus {
		status = 0
	}
	if c := row[status].Load(); c != nil {
		return *c
	}
	c := vec.WithLabelValues(rm.label, methodLabels[i], strconv.Itoa(status))
	row[status].Store(&c)
	return c
}
