package main_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// browser starts a headless Chromium with a profile of its own.
func browser(t testing.TB) context.Context {
	t.Helper()
	ctx, stop := chromedp.NewExecAllocator(t.Context(),
		chromedp.ExecPath(need(t, "chromium")),
		chromedp.Headless,
		chromedp.NoSandbox, // the tests may run as root in a container
		chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(patience),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
	)
	t.Cleanup(stop)
	ctx, stop = chromedp.NewContext(ctx)
	t.Cleanup(stop)
	ctx, stop = context.WithTimeout(ctx, 2*patience)
	t.Cleanup(stop)
	return ctx
}

// TestBrowserSignsInAndOut is a person with a legacy application: they open a
// page of it, are sent to sign in, come back to that page, and sign out.
func TestBrowserSignsInAndOut(t *testing.T) {
	node := startNode(t)
	// The cookie's name and the origin checks follow public_url, so the
	// browser must come to the address that public_url says.
	g := start(t, legacyApp("http://"+node))
	g.doorward(goodPassword+"\n", "user", "add", "alice", "--password-stdin")

	ctx := browser(t)
	do(t, g, ctx, chromedp.Navigate(g.url+"/hello?from=mail"), chromedp.WaitVisible(css(`input[name=password]`)))
	if where, want := get(t, g, ctx, chromedp.Location()), "/auth/login?return_to=%2Fhello%3Ffrom%3Dmail"; !strings.HasSuffix(where, want) {
		t.Errorf("sent to %s, want %s", where, want)
	}
	do(t, g, ctx,
		chromedp.SendKeys(css(`input[name=login]`), "alice"),
		chromedp.SendKeys(css(`input[name=password]`), "a wrong password"),
		chromedp.Submit(css(`input[name=password]`)),
		chromedp.WaitVisible(css(`[role=alert]`)),
		chromedp.SendKeys(css(`input[name=password]`), goodPassword),
		chromedp.Submit(css(`input[name=password]`)),
		chromedp.WaitVisible(css(`#hello`)),
	)
	if hello := get(t, g, ctx, chromedp.Text(css(`#hello`))); hello != "Hello alice" {
		t.Errorf("after signing in: %q, want %q", hello, "Hello alice")
	}
	if where := get(t, g, ctx, chromedp.Location()); !strings.HasSuffix(where, "/hello?from=mail") {
		t.Errorf("after signing in at %s, want /hello?from=mail", where)
	}
	if script := get(t, g, ctx, chromedp.Evaluate[string](`document.cookie`)); script != "" {
		t.Errorf("a script can read %q; the session cookie must be HttpOnly", script)
	}
	cookies := get(t, g, ctx, cookiesOfThePage()).Cookies
	if len(cookies) != 1 || !strings.HasPrefix(cookies[0].Name, "doorward_session") || !cookies[0].HTTPOnly || cookies[0].SameSite != network.CookieSameSiteLax {
		t.Errorf("cookies: %+v, want one doorward_session, HttpOnly, Lax", cookies)
	}

	do(t, g, ctx,
		chromedp.Navigate(g.url+"/auth/logout"),
		chromedp.WaitVisible(css(`main form button`)),
		chromedp.Click(css(`main form button`)),
		chromedp.WaitVisible(css(`input[name=password]`)),
		chromedp.Navigate(g.url+"/hello"),
		chromedp.WaitVisible(css(`input[name=password]`)),
	)
	if where := get(t, g, ctx, chromedp.Location()); !strings.Contains(where, "/auth/login") {
		t.Errorf("after signing out the page leads to %s, want the sign-in", where)
	}
}

// TestBrowserFollowsTheApplicationElsewhere: what a person signs in to may lead
// them on at once, to another site. Browsers hold that to the policy of the page
// with the form.
func TestBrowserFollowsTheApplicationElsewhere(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, `<p id="other">here`)
	}))
	t.Cleanup(other.Close)
	app := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusFound))
	t.Cleanup(app.Close)
	g := start(t, legacyApp(app.URL))
	g.doorward(goodPassword+"\n", "user", "add", "alice", "--password-stdin")
	do(t, g, browser(t),
		chromedp.Navigate(g.url+"/authorize"),
		chromedp.WaitVisible(css(`input[name=password]`)),
		chromedp.SendKeys(css(`input[name=login]`), "alice"),
		chromedp.SendKeys(css(`input[name=password]`), goodPassword),
		chromedp.Submit(css(`input[name=password]`)),
		chromedp.WaitVisible(css(`#other`)),
	)
}

func css(selector string) chromedp.CSS { return chromedp.CSS(selector) }

// do runs steps; what the page shows is in the failure, since a selector that
// never appears says little.
func do(t testing.TB, g *gate, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatalf("browser: %v\nlog:\n%s", err, g.log)
	}
}

func get[T any](t testing.TB, g *gate, ctx context.Context, what chromedp.Action[T]) T {
	t.Helper()
	v, err := chromedp.Run(ctx, what)
	if err != nil {
		t.Fatalf("browser: %v\nlog:\n%s", err, g.log)
	}
	return v
}

func cookiesOfThePage() chromedp.Action[network.GetCookiesResult] {
	return func(ctx context.Context, page *chromedp.Target) (network.GetCookiesResult, error) {
		return cdp.Call(ctx, page, network.GetCookies, network.GetCookiesParams{})
	}
}

// TestBrowserRegisters is a person who has no account yet.
func TestBrowserRegisters(t *testing.T) {
	g := start(t, legacyApp("http://"+startNode(t)))
	ctx := browser(t)
	do(t, g, ctx,
		chromedp.Navigate(g.url+"/hello"),
		chromedp.WaitVisible(css(`a[href*="/auth/register"]`)),
		chromedp.Click(css(`a[href*="/auth/register"]`)),
		chromedp.WaitVisible(css(`input[name=username]`)),
		chromedp.SendKeys(css(`input[name=username]`), "bob"),
		chromedp.SendKeys(css(`input[name=password]`), goodPassword),
		chromedp.Submit(css(`input[name=password]`)),
		chromedp.WaitVisible(css(`#hello`)),
	)
	if hello := get(t, g, ctx, chromedp.Text(css(`#hello`))); hello != "Hello bob" {
		t.Errorf("after registering: %q, want %q", hello, "Hello bob")
	}
}

// TestBrowserAdministers is somebody who looks after the accounts: they find one,
// change its roles, see that it counts, make another and sign a device out.
func TestBrowserAdministers(t *testing.T) {
	g := start(t, `
upstreams: [{name: app, url: "whoami:"}]
routes:
  - {path: "/**", upstream: app, allow: authenticated}
  - {path: "/reports/**", upstream: app, allow: [reader]}
`)
	g.doorward(goodPassword+"\n", "user", "add", "boss", "--role", "admin", "--password-stdin")
	g.doorward(goodPassword+"\n", "user", "add", "ann", "--password-stdin")
	other := g.login("ann", goodPassword)

	ctx := browser(t)
	do(t, g, ctx,
		chromedp.Navigate(g.url+"/auth/admin"),
		chromedp.WaitVisible(css(`input[name=login]`)),
		chromedp.SendKeys(css(`input[name=login]`), "boss"),
		chromedp.SendKeys(css(`input[name=password]`), goodPassword),
		chromedp.Submit(css(`input[name=password]`)),
		chromedp.WaitVisible(css(`table`)),
		chromedp.SendKeys(css(`input[name=q]`), "an"),
		chromedp.Submit(css(`input[name=q]`)),
		chromedp.WaitVisible(css(`tbody tr:only-child a`)),
		chromedp.Click(css(`tbody a`)),
		chromedp.WaitVisible(css(`input[name=roles]`)),
	)
	if title := get(t, g, ctx, chromedp.Text(css(`h1`))); title != "ann" {
		t.Errorf("found %q, want ann", title)
	}
	if r := g.call("GET", "/reports/", nil, "Authorization", "Bearer "+other.Access); r.status != 403 {
		t.Errorf("before: got %d, want 403", r.status)
	}
	do(t, g, ctx,
		chromedp.SetValue(css(`input[name=roles]`), "user, reader"),
		chromedp.Submit(css(`input[name=roles]`)),
		chromedp.WaitVisible(css(`[role=status]`)),
	)
	if r := g.call("GET", "/reports/", nil, "Authorization", "Bearer "+other.Access); r.status != 200 {
		t.Errorf("with the role: got %d, want 200", r.status)
	}
	page, _, _ := strings.Cut(get(t, g, ctx, chromedp.Location()), "?")
	do(t, g, ctx,
		chromedp.Navigate(page), // without what it said last
		chromedp.WaitVisible(css(`form[action$="/logout"] button`)),
		chromedp.Click(css(`form[action$="/logout"] button`)),
		chromedp.WaitVisible(css(`[role=status]`)),
	)
	if where := get(t, g, ctx, chromedp.Location()); !strings.HasSuffix(where, "?notice=signed_out") {
		t.Errorf("at %s, want the page to say that ann is signed out", where)
	}
	if r := g.call("GET", "/reports/", nil, "Authorization", "Bearer "+other.Access); r.status != 401 {
		t.Errorf("signed out: got %d, want 401", r.status)
	}

	// A new account, and its page; then it goes.
	do(t, g, ctx,
		chromedp.Navigate(g.url+"/auth/admin"),
		chromedp.WaitVisible(css(`input[name=username]`)),
		chromedp.SendKeys(css(`input[name=username]`), "newcomer"),
		chromedp.Submit(css(`input[name=username]`)),
		chromedp.WaitVisible(css(`#made`)),
	)
	password := get(t, g, ctx, chromedp.Text(css(`#made`)))
	g.login("newcomer", password) // which fails the test if it is not the password
	do(t, g, ctx,
		chromedp.Click(css(`dd a`)),
		chromedp.WaitVisible(css(`input[name=confirm]`)),
		chromedp.Click(css(`input[name=confirm]`)),
		chromedp.Click(css(`form[action$="/delete"] button`)),
		chromedp.WaitVisible(css(`input[name=q]`)),
		chromedp.WaitVisible(css(`[role=status]`)),
	)
	if where := get(t, g, ctx, chromedp.Location()); !strings.HasSuffix(where, "/auth/admin?notice=deleted") {
		t.Errorf("at %s, want the list to say that it is deleted", where)
	}
}
