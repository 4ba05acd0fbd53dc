package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// An attack is raw bytes. Each goes through a socket to a whole gateway with a
// recording backend behind it, under each configuration and for each caller, and
// whatever it was about, the same has to hold afterwards: see world.strike.

// setups are the configurations attacked; oracle_test.go has their laws. All
// routes of one lead to the same backend: that some reading of a path would go
// elsewhere never saves a case.
var setups = map[string][]Route{
	"deny": {
		to("/public/**", anybody), to("/public/secret/**", roles("admin")), to("/app/**", signedin), to("/admin/**", roles("admin")),
		to("/forms/**", signedin), by(to("/forms/**", roles("admin")), "POST"),
		by(to("/items/**", signedin), "GET"), by(to("/items/**", roles("admin")), "POST"),
	},
	"legacy": {to("/**", signedin), to("/admin/**", roles("admin"))},
	"open":   {to("/**", anybody), to("/admin/**", roles("admin"))},
	"hosts": {
		on("app.test", to("/**", signedin)), on("app.test", to("/admin/**", roles("admin"))),
		on("public.test", to("/**", anybody)), on("public.test", to("/admin/**", roles("admin"))),
		on("admin.test", to("/**", roles("admin"))),
	},
	"mixed": {
		on("public.test", to("/**", anybody)), on("public.test", to("/admin/**", roles("admin"))),
		on("*.public.test", to("/**", signedin)), on("secret.public.test", to("/**", roles("admin"))), on("*.admin.test", to("/**", roles("admin"))),
		to("/**", signedin), to("/admin/**", roles("admin")), to("/public/**", anybody),
	},
}

// everywhere is the configurations that every case is for.
var everywhere = []string{"deny", "hosts", "legacy", "open"}

func by(r Route, methods ...string) Route { r.Methods = methods; return r }

func on(host string, r Route) Route { r.Host = host; return r }

// caller is who sends an attack. The zero caller is nobody.
type caller struct {
	who      string // "", "user" or "admin", in the laws' words
	person   person
	identity []string // the lines a backend must see, sorted; none for nobody
}

// maxFailures is enough to see what is broken.
const maxFailures = 30

// world is one configuration under attack.
type world struct {
	name     string
	law      law
	trusted  bool // the peer may say where requests come from
	gateway  *testGateway
	addr     string
	up       *recorder
	callers  []caller
	host     string // the Host of a usual request
	http2    bool   // cases go out in frames
	session  *session2
	secure   bool // under TLS
	tally    *tally
	n        int // attacks so far
	failures int
	reached  int // requests that reached the backend, the plain ones after each attack not counted
}

func newWorld(t testing.TB, name string, mutate ...func(*Config)) *world {
	t.Helper()
	w := &world{name: name, law: laws[name], host: "app.test", tally: newTally(t)}
	w.up = newScriptedRecorder(t, func(n int, got recorded, conn net.Conn) {
		if length, err := strconv.Atoi(strings.Join(got.fields("Content-Length"), "")); err == nil && strings.Contains(strings.ToLower(got.head), "expect: 100-continue") { // whose body the recorder leaves to us
			io.WriteString(conn, "HTTP/1.1 100 Continue\r\n\r\n")
			io.CopyN(io.Discard, conn, int64(length))
		}
		io.WriteString(conn, answerTo(n, got))
	})
	w.gateway = newGateway(t, func(c *Config) {
		behind(w.up.url(), setups[name]...)(c)
		c.Identity.Headers = []IdentityHeader{{Name: "X-Auth-User", Value: "login"}}
		c.Log.Access = false
		for _, f := range mutate {
			f(c)
		}
	})
	w.trusted = len(w.gateway.Deps.Config.Server.TrustedProxies) > 0
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.addr = l.Addr().String()
	public := w.gateway.servers(Listeners{Public: l})[0] // with the bounds of the real one
	done := make(chan struct{})
	go func() { defer close(done); public.serve() }()
	t.Cleanup(func() {
		if w.session != nil {
			w.session.Close()
		}
		public.Close()
		<-done
	})
	w.callers = []caller{{}}
	for _, role := range []string{"user", "admin"} {
		name := map[string]string{"user": "ursula", "admin": "ada"}[role]
		p := w.gateway.person(t, name, role)
		w.callers = append(w.callers, caller{role, p, []string{
			"X-Auth-User: " + name, "X-Forwarded-Groups: " + role, "X-Forwarded-User-Id: " + p.id, "X-Forwarded-User: " + name,
		}})
		slices.Sort(w.callers[len(w.callers)-1].identity)
	}
	return w
}

// answerTo is the backend's answer to its n-th request: no two are alike.
func answerTo(n int, got recorded) string {
	body := answerBody(n, got)
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nSet-Cookie: app=%d; Path=/\r\nX-Answer: %d\r\n\r\n", len(body), n, n)
	if strings.HasPrefix(got.head, "HEAD ") {
		return head
	}
	return head + body
}

func answerBody(n int, got recorded) string { return fmt.Sprintf("answer %d to %s", n, got.line()) }

// attack is one case.
type attack struct {
	class, name string
	raw         string // what is sent; {auth} and the like are filled in
	message     message
	frames      func(s *session2, id uint32, m message) // what is sent instead of the message, in frames
	method      string                                  // of the first request
	target      string                                  // what must arrive byte for byte if anything does; "" if that differs by case
	requests    int                                     // at most so many may reach the backend
	want        string                                  // any: it may be refused; no: it must be; yes: it must reach the backend if the caller may go there
	nobody      bool                                    // its sender may count as nobody
	cut         bool                                    // the case ends in the middle of a request: nothing is sent behind it
}

// fill puts the caller's credentials into the case. Every other time they are a
// cookie among others.
func (w *world) fill(raw string, c caller) string {
	auth, credential, cookie := "", "none", "none=x"
	if c.who != "" {
		credential, cookie = c.person.token, c.person.cookie
		if auth = c.person.bearer + "\r\n"; w.n%2 == 1 {
			auth = "Cookie: a=1; " + c.person.cookie + "; b=2\r\n"
		}
	}
	home := "/public/x"
	if w.name == "deny" && w.n%3 == 0 && c.who != "" {
		home = "/app/x"
	}
	return strings.NewReplacer("{auth}", auth, "{token}", credential, "{cookie}", cookie, "{host}", w.host, "{home}", home, "{scheme}", w.scheme(),
		"{session}", strings.SplitN(cookie, "=", 2)[0]).Replace(raw)
}

func (w *world) scheme() string {
	if w.secure {
		return "https"
	}
	return "http"
}

// mark numbers the case's first request: one that breaks off may arrive late.
func (w *world) mark(raw string) string {
	return strings.Replace(raw, " HTTP/1.1\r\n", " HTTP/1.1\r\nX-Case: "+strconv.Itoa(w.n)+"\r\n", 1)
}

// strike sends one attack and a plain request behind it, and judges everything
// that happened.
func (w *world) strike(t testing.TB, a attack, c caller) {
	t.Helper()
	w.n++
	before := w.up.count()
	line, wrong := w.send(t, &a, c)
	var got []recorded
	plain := 0
	for _, r := range w.up.since(before) {
		switch mark := r.fields("X-Case"); {
		case r.line() == w.plainLine():
			plain++
			wrong = append(wrong, w.judge(r, w.callers[1:2])...)
		case mark != nil && mark[0] != strconv.Itoa(w.n): // of an earlier one, broken off, that took its time
			wrong = append(wrong, w.judge(r, w.callers)...)
		default:
			got = append(got, r)
		}
	}
	w.reached += len(got)
	w.tally.add(a.class, len(got))
	if plain != 1 {
		wrong = append(wrong, fmt.Sprintf("%d plain requests arrived after it, want 1", plain))
	}
	if len(got) > a.requests {
		wrong = append(wrong, fmt.Sprintf("%d requests reached the backend, want at most %d", len(got), a.requests))
	}
	as := []caller{c}
	if a.requests > 1 || a.nobody {
		as = append(as, caller{}) // those behind the first may bring no credentials
	}
	for _, r := range got {
		wrong = append(wrong, w.judge(r, as)...)
		if a.target != "" && r.line() != a.method+" "+a.target+" HTTP/1.1" {
			wrong = append(wrong, fmt.Sprintf("the backend got %q", r.line()))
		}
	}
	switch {
	case a.want == "no" && len(got) > 0:
		wrong = append(wrong, "it reached the backend, and nobody's may")
	case a.want == "yes" && len(got) == 0 && w.may(line, c):
		wrong = append(wrong, "it was refused, and the caller may go there")
	}
	if len(wrong) == 0 {
		return
	}
	for _, r := range got {
		wrong = append(wrong, fmt.Sprintf("the backend got %q and %d bytes of body", cutText(r.head, 700), len(r.body)))
	}
	if w.failures++; w.failures < maxFailures {
		t.Errorf("%s %s, %s for %q: %q\n\t%s", a.class, a.name, w.name, c.who, cutText(a.raw, 700), strings.Join(wrong, "\n\t"))
	} else {
		t.FailNow()
	}
}

// send is the exchange in the words this world speaks, and the line the case
// begins with.
func (w *world) send(t testing.TB, a *attack, c caller) (line string, wrong []string) {
	t.Helper()
	if !w.http2 {
		raw := w.mark(w.fill(a.raw, c))
		line, _, _ = strings.Cut(raw, "\r\n")
		return line, w.exchange(t, *a, raw)
	}
	m := w.inFrames(*a, c)
	a.method, a.want = m.get(":method"), m.wanted(*a)
	return a.method + " " + m.get(":path"), w.exchange2(t, *a, m)
}

// may says whether the law lets the caller send a request that begins so.
func (w *world) may(line string, c caller) bool {
	words := strings.Split(line, " ")
	return len(words) > 1 && judgeTarget(w.law, w.host, words[0], words[1], c.who) == ""
}

func (w *world) plainLine() string {
	return "GET /public/plain?" + strconv.Itoa(w.n) + " HTTP/1.1"
}

func (w *world) plainRequest() string {
	return w.plainLine() + "\r\nHost: " + w.host + "\r\n" + w.callers[1].person.bearer + "\r\nConnection: close\r\n\r\n"
}

// exchange sends the bytes, reads the answers until the connection ends, and
// sees that a plain request is served: behind the case if the connection lives
// that long, else on a new one.
func (w *world) exchange(t testing.TB, a attack, raw string) (wrong []string) {
	behind := w.plainRequest()
	if a.cut {
		behind = ""
	}
	served, wrong := w.talk(t, raw+behind, a)
	if served {
		return wrong
	}
	served, again := w.talk(t, w.plainRequest(), attack{method: "GET"})
	if !served {
		again = append(again, "the gateway no longer serves a plain request")
	}
	return append(wrong, again...)
}

// talk is one connection: all it sends, all that comes back. served reports
// whether the plain request was among what was answered.
func (w *world) talk(t testing.TB, bytes string, a attack) (served bool, wrong []string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", w.addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, bytes); err != nil && !hungUp(err) {
		wrong = append(wrong, "write: "+err.Error())
	}
	if a.cut {
		conn.(*net.TCPConn).CloseWrite()
	}
	in := bufio.NewReader(conn)
	for i := 0; ; i++ {
		method := "GET"
		if i == 0 {
			method = a.method
		}
		if _, err := in.Peek(1); err != nil {
			if !hungUp(err) {
				wrong = append(wrong, "no answer: "+err.Error())
			}
			return served, wrong
		}
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return served, append(wrong, "an answer that is none: "+err.Error())
		}
		body, err := io.ReadAll(res.Body)
		if err != nil && !a.cut {
			wrong = append(wrong, "half an answer: "+err.Error())
		}
		if res.StatusCode == 100 {
			i-- // the final one is still to come
			continue
		}
		if res.StatusCode >= 400 && res.Header["X-Request-Id"] == nil {
			return served, wrong // net/http could not even parse it, says so with a body also for HEAD, and hangs up
		}
		wrong = append(wrong, w.judgeAnswer(res, string(body), method)...)
		served = served || string(body) != "" && strings.HasSuffix(string(body), " to "+w.plainLine())
	}
}

// hungUp reports whether an error says no more than that the other side is.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || !errors.Is(err, os.ErrDeadlineExceeded)
}

// judgeAnswer says what is wrong with an answer: it is the backend's, whole, or
// a refusal that says so and takes nothing of the backend with it.
func (w *world) judgeAnswer(res *http.Response, body, method string) (wrong []string) {
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	n, isTheirs := res.Header["X-Answer"]
	switch {
	case isTheirs:
		i, err := strconv.Atoi(strings.Join(n, ","))
		if err != nil || i >= w.up.count() {
			bad("the answer's number is %q", n)
			break
		}
		want := answerBody(i, w.up.since(i)[0])
		if method == "HEAD" {
			want = ""
		}
		if body != want || res.StatusCode != 200 || res.Header.Get("Set-Cookie") != fmt.Sprintf("app=%d; Path=/", i) {
			bad("the answer is %d %q with %v, want %q", res.StatusCode, body, res.Header, want)
		}
	case res.StatusCode < 300, res.StatusCode == 500, res.StatusCode == 502, res.StatusCode == 503, res.StatusCode == 504:
		bad("an answer of our own: %d %s", res.StatusCode, body)
	case strings.Contains(body, "answer "):
		bad("a refusal with the backend's words: %d %s", res.StatusCode, body)
	}
	return wrong
}

// judge says what is wrong with a request that reached the backend; as is who
// it may be from.
func (w *world) judge(r recorded, as []caller) (wrong []string) {
	head := r.head
	if w.secure {
		head = strings.Replace(head, "X-Forwarded-Proto: https\r\n", "X-Forwarded-Proto: http\r\n", 1) // what the oracle knows
	}
	wrong = judgeHead(head, w.trusted)
	lines := identityLines(r.head)
	i := slices.IndexFunc(as, func(c caller) bool { return slices.Equal(lines, c.identity) })
	if i < 0 {
		wrong = append(wrong, fmt.Sprintf("the backend was told %q, want %q", lines, as[0].identity))
		i = 0
	}
	for _, c := range w.callers[1:] {
		_, secret, _ := strings.Cut(c.person.cookie, "=")
		if all := r.head + r.body; strings.Contains(all, c.person.token) || strings.Contains(all, secret) {
			wrong = append(wrong, "a credential of ours reached the backend")
		}
	}
	if words := strings.Split(r.line(), " "); len(words) == 3 {
		host := strings.Join(r.fields("Host"), ",")
		if host == w.up.Addr().String() { // asked for without one
			host = ""
		}
		if problem := judgeTarget(w.law, host, words[0], words[1], as[i].who); problem != "" {
			wrong = append(wrong, problem)
		}
	}
	if r.fields("Transfer-Encoding") != nil {
		if behind := behindChunks(r.body); behind != "" {
			wrong = append(wrong, fmt.Sprintf("fields came behind the body: %q", behind))
		}
	}
	return wrong
}

// count is how many requests have arrived.
func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

// since is what has arrived from the n-th request on.
func (r *recorder) since(n int) []recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got[n:])
}

// everyWorld runs f once for each configuration, side by side, and counts what
// they did together.
func everyWorld(t *testing.T, f func(t *testing.T, w *world), mutate ...func(*Config)) {
	t.Helper()
	together := newTally(t)
	for _, name := range everywhere {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, name, mutate...)
			w.tally, w.http2 = together, w.gateway.Deps.Config.Server.H2C
			f(t, w)
			t.Logf("%d attacks, %d requests reached the backend", w.n, w.reached)
		})
	}
}

// tally counts cases by class, and says the counts when the test ends.
type tally struct {
	mu             sync.Mutex
	cases, reached map[string]int
}

func newTally(t testing.TB) *tally {
	t.Helper()
	y := &tally{cases: map[string]int{}, reached: map[string]int{}}
	t.Cleanup(func() {
		all, through := 0, 0
		for _, class := range slices.Sorted(maps.Keys(y.cases)) {
			t.Logf("class %s: %d cases, %d requests reached the backend", class, y.cases[class], y.reached[class])
			all, through = all+y.cases[class], through+y.reached[class]
		}
		if all > 0 {
			t.Logf("all classes: %d cases, %d requests reached the backend", all, through)
		}
	})
	return y
}

func (y *tally) add(class string, reached int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.cases[class]++
	y.reached[class] += reached
}

// The dumb oracle has to see what it is there to see.
func TestTheOracleSees(t *testing.T) {
	for _, target := range []string{
		"/admin", "/Admin/x", "/%61dmin", "/public/../admin", "/public/..%2fadmin", "/public%252f..%252fadmin", "/public/..;/admin", "/;/admin", "//admin",
		"//evil/admin", "/admin%20", "/admin./x", "/admin%3f/public", "/admin%23x", "/%5cadmin", "/public%5c..%5cadmin", "/%ef%bc%8fadmin", "/%ef%bd%81dmin",
		"/adm%c4%b1n", "/ad%e2%80%8bmin", "/public/%e2%80%a5/admin", "/admin/%2e%2e/public", "/admin/b/%2e%2e/../x", "//x%61dmin/y", "/public/..%e2%88%95admin", "/public/..%c2%a5admin", "/public/%d9%aa2e%d9%aa2e/admin", "/x/%00", "/x/%c0%ae", "/public/%2e%2e%20/admin", "x:admin", "/a\\b",
	} {
		if judgeTarget(laws["open"], "app.test", "GET", target, "user") == "" {
			t.Errorf("%s: nothing wrong with it", target)
		}
	}
	for _, target := range []string{"/", "/administrator", "/x?/admin", "/public/a%2fb;x=1", "/x/admin", "/a//b", "/a/./b/../c", "/a!$&'()*+,=:@~b"} {
		if problem := judgeTarget(laws["open"], "app.test", "GET", target, "user"); problem != "" {
			t.Errorf("%s: %s", target, problem)
		}
	}
	good := "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: x\r\nX-Forwarded-Proto: http\r\nX-Request-Id: a\r\n"
	if wrong := judgeHead(good+"\r\n", false); wrong != nil {
		t.Errorf("a good head: %q", wrong)
	}
	for _, line := range []string{
		"host: y", "X_Forwarded_For: 1", "x.request-id: y", "Content-Length: 1\r\nTransfer-Encoding: chunked", "Content_Length: 0\r\nContent-Length: 1", "Transfer-Encoding: xchunked",
		"Upgrade: h2c", "X-Original-URL: /x", "X~Rewrite~Url: /", "a b: c", " folded", "Keep-Alive: 1", "Content-Length: +1",
	} {
		if judgeHead(good+line+"\r\n\r\n", false) == nil {
			t.Errorf("%q: nothing wrong with it", line)
		}
	}
	if got := identityLines(good + "x_forwarded.user: a\r\nREMOTE~USER: b\r\nX-Auth-Userx: c\r\n\r\n"); len(got) != 2 {
		t.Errorf("got %q, want two lines", got)
	}
}
