package authn_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/store/bolt"
)

// importAll imports rows and returns the report.
func (f *fixture) importAll(t testing.TB, dryRun bool, rows ...authn.ImportRow) []authn.ImportResult {
	t.Helper()
	for i := range rows {
		rows[i].Line = i + 1
	}
	var results []authn.ImportResult
	report := func(batch []authn.ImportResult) error {
		results = append(results, batch...)
		return nil
	}
	if err := f.ImportUsers(context.Background(), slices.Values(rows), cli, dryRun, report); err != nil {
		t.Fatal(err)
	}
	if len(results) != len(rows) {
		t.Fatalf("%d results of %d rows", len(results), len(rows))
	}
	for i, r := range results {
		if r.Line != i+1 {
			t.Fatalf("result %d is of line %d", i, r.Line)
		}
	}
	return results
}

// summary is "created" or "refused username duplicate, email format".
func summary(r authn.ImportResult) string {
	text := string(r.Outcome)
	for i, f := range r.Fields {
		if i > 0 {
			text += ","
		}
		text += " " + f.Field + " " + f.Code
	}
	return text
}

func (f *fixture) users(t testing.TB) []authn.User {
	t.Helper()
	page, err := f.Users(context.Background(), authn.UserQuery{Limit: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	return page.Users
}

// digests reads the published digests, each with its password.
func digests(t testing.TB) [][2]string {
	t.Helper()
	text, err := os.ReadFile("testdata/digests.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all [][2]string
	for in := bufio.NewScanner(bytes.NewReader(text)); in.Scan(); {
		if digest, password, ok := strings.Cut(in.Text(), " "); ok && digest != "#" {
			all = append(all, [2]string{digest, password})
		}
	}
	return all
}

// TestImportedPeopleSignIn: with the password they have elsewhere, and from
// then on by today's rules.
func TestImportedPeopleSignIn(t *testing.T) {
	f := newService(t, nil)
	ctx := context.Background()
	vectors, seen := digests(t), map[string]bool{}
	vectors = slices.DeleteFunc(vectors, func(v [2]string) bool { // one of a scheme will do
		scheme := strings.FieldsFunc(v[0], func(r rune) bool { return r == '$' || r == '}' })[0]
		again := seen[scheme]
		seen[scheme] = true
		return again
	})
	var rows []authn.ImportRow
	for i, v := range vectors {
		rows = append(rows, authn.ImportRow{Username: fmt.Sprint("user", i), Active: true, PasswordHash: authn.Secret(v[0])})
	}
	if len(rows) != 12 {
		t.Fatalf("%d schemes, want 12", len(rows))
	}
	for i, r := range f.importAll(t, false, rows...) {
		weak := strings.HasPrefix(vectors[i][0], "{") || strings.HasPrefix(vectors[i][0], "$apr1") || strings.HasPrefix(vectors[i][0], "$1$")
		if r.Outcome != authn.ImportCreated || weak && !r.Hashed {
			t.Fatalf("%s: %+v, want it created", vectors[i][0], r)
		}
	}
	for i, v := range vectors {
		attempt := authn.LoginAttempt{Login: rows[i].Username, Password: authn.Secret(v[1] + "!")}
		if _, err := f.Login(ctx, attempt, client("192.0.2.1")); !errors.Is(err, authn.ErrInvalidCredentials) {
			t.Errorf("%s: a wrong password: %v", v[0], err)
		}
		attempt.Password = authn.Secret(v[1])
		if _, err := f.Login(ctx, attempt, client("192.0.2.1")); err != nil {
			t.Errorf("%s: signing in: %v", v[0], err)
		}
		u, err := f.UserByLogin(ctx, rows[i].Username)
		if err != nil || !strings.HasPrefix(u.PasswordHash, "$dw1$k=") {
			t.Errorf("%s: stored as %q after a sign-in (%v), want our own scheme", v[0], u.PasswordHash, err)
		}
		if _, err := f.Login(ctx, attempt, client("192.0.2.1")); err != nil {
			t.Errorf("%s: signing in again: %v", v[0], err)
		}
	}
	u, _ := f.UserByLogin(ctx, "user0")
	list, err := f.Events(ctx, authn.EventQuery{User: u.ID, Kind: authn.UserCreated})
	if err != nil || len(list) != 1 || list[0].Detail["import"] != "true" || list[0].Actor != authn.ActorCLI || list[0].Detail["roles"] != "user" {
		t.Errorf("events of the import: %+v, %v; want one by cli", list, err)
	}
}

// TestWeakDigestsNeverRest looks for them in the file itself: as they came, and
// as the bytes they stand for.
func TestWeakDigestsNeverRest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	st, err := bolt.Open(context.Background(), path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	f := newServiceOn(t, st, nil)
	weak := map[string]string{ // to what must not be found
		"{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=":                                                      "VBPuJHI7uixaa6LQGWx4s",
		"{SSHA}0c0blFTXXNuAMHECS4uxrj3ZieMoWImr":                                                 "0c0blFTXXNuAMHECS4uxrj3Z",
		"$apr1$r31.....$HqJZimcKQFAMYayBlzkrA/":                                                  "HqJZimcKQFAMYayBlzkrA",
		"$1$rasmusle$rISCgZzpwk3UhDidwXvin0":                                                     "rISCgZzpwk3UhDidwXvin0",
		"$5$rounds=1400$anotherlongsalts$Rx.j8H.h8HjEDGomFU8bDkXm3XIUnzyxf12oP84Bnq1":            "Rx.j8H.h8HjEDGomFU8bDkXm3XIUnzyxf12oP84Bnq1",
		"$pbkdf2-sha256$1212$4vjV83LKPjQzk31VI4E0Vw$hsYF68OiOUPdDZ1Fg.fJPeq1h/gXXY7acBp9/6c.tmQ": "hsYF68OiOUPdDZ1Fg",
	}
	const strong = "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"
	rows := []authn.ImportRow{{Username: "strong", PasswordHash: strong}}
	for digest := range weak {
		rows = append(rows, authn.ImportRow{Username: fmt.Sprint("weak", len(rows)), PasswordHash: authn.Secret(digest)})
	}
	f.importAll(t, false, rows...)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(file, []byte(strong)) || !bytes.Contains(file, []byte("$dw1w$apr1$r31.....$k=")) {
		t.Fatal("what should be in the file is not found, so this test would find nothing")
	}
	for digest, sum := range weak {
		raw, _ := base64.StdEncoding.DecodeString(sum + "=====")
		if bytes.Contains(file, []byte(sum)) || len(raw) > 8 && bytes.Contains(file, raw) {
			t.Errorf("%s is in the file", digest)
		}
	}
}

// TestImportReport: what is wrong is told by line and field, a dry run says
// the same, and neither says a secret.
func TestImportReport(t *testing.T) {
	f := newService(t, nil)
	ctx := context.Background()
	f.newUser(t, "ada")
	f.newUser(t, "boss", "admin")
	gone, renamed := f.newUser(t, "gone"), f.newUser(t, "before")
	if err := f.DeleteUser(ctx, gone.ID, cli); err != nil {
		t.Fatal(err)
	}
	after := "after"
	if _, err := f.UpdateUser(ctx, renamed.ID, authn.UserChange{Username: &after}, cli); err != nil {
		t.Fatal(err)
	}
	const secret, hash = "sesame", "{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE="
	cases := []struct {
		row  authn.ImportRow
		want string
	}{
		{authn.ImportRow{Username: "new", Email: "New@Example.com", PasswordHash: hash}, "created"},
		{authn.ImportRow{Username: "none"}, "created"},
		{authn.ImportRow{Username: "ADA"}, "skipped username taken"},
		{authn.ImportRow{Username: "ada2", Email: "ADA@example.com"}, "skipped email taken"},
		{authn.ImportRow{Username: "New"}, "refused username duplicate"},
		{authn.ImportRow{Username: "other", Email: "new@EXAMPLE.com"}, "refused email duplicate"},
		{authn.ImportRow{Username: "ada"}, "refused username duplicate"},
		{authn.ImportRow{Username: "gone"}, "refused username taken"},
		{authn.ImportRow{Email: "gone@example.com"}, "refused email taken"},
		{authn.ImportRow{Username: "before"}, "refused username taken"},
		{authn.ImportRow{Username: "after"}, "skipped username taken"},
		{authn.ImportRow{}, "refused email required"},
		{authn.ImportRow{Username: "a b", Email: "not an address", Name: "a\x00b", Roles: []string{"No Role"}}, "refused username format, email format, name format, roles format"},
		{authn.ImportRow{Username: "verified", EmailVerified: true}, "refused email required"},
		{authn.ImportRow{Username: "clear", Password: secret}, "refused password too_short, password common"},
		{authn.ImportRow{Username: "itself", Password: "itself1"}, "refused password too_short, password same_as_identity, password common"},
		{authn.ImportRow{Username: "clear", Password: "a long walk", PasswordHash: hash}, "refused password duplicate"},
		{authn.ImportRow{Username: "clear", Password: "a long walk off a short pier"}, "created"},
		{authn.ImportRow{Username: "unknown", PasswordHash: secret}, "refused password_hash format"},
		{authn.ImportRow{Username: "dear", PasswordHash: "$2y$20$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC"}, "refused password_hash format"},
		{authn.ImportRow{Username: "future", CreatedAt: start.Add(time.Second)}, "refused created_at format"},
		{authn.ImportRow{Username: "ancient", CreatedAt: time.Date(1815, 12, 10, 0, 0, 0, 0, time.UTC)}, "refused created_at format"},
		{authn.ImportRow{Username: "unread", Wrong: []authn.FieldError{{Field: "active", Code: "type"}}}, "refused active type"},
		{authn.ImportRow{Username: "unread"}, "created"},
	}
	var rows []authn.ImportRow
	for _, c := range cases {
		rows = append(rows, c.row)
	}
	before, hashes := f.users(t), f.hashes()
	dry := f.importAll(t, true, rows...)
	if now := f.users(t); len(now) != len(before) || f.hashes() != hashes {
		t.Errorf("a dry run made %d accounts and %d hashes", len(now)-len(before), f.hashes()-hashes)
	}
	if list, _ := f.Events(ctx, authn.EventQuery{Limit: 1}); list[0].Kind != authn.UserUpdated {
		t.Errorf("a dry run wrote the event %s", list[0].Kind)
	}
	wet := f.importAll(t, false, rows...)
	for i, c := range cases {
		if got := summary(wet[i]); got != c.want {
			t.Errorf("line %d: %s, want %s", i+1, got, c.want)
		}
		if fmt.Sprint(dry[i]) != fmt.Sprint(wet[i]) {
			t.Errorf("line %d: the dry run says %v, the import %v", i+1, dry[i], wet[i])
		}
		if text := fmt.Sprint(wet[i]); strings.Contains(text, secret) || strings.Contains(text, "VBPuJ") || strings.Contains(text, "c4WoM") {
			t.Errorf("line %d: a secret in %s", i+1, text)
		}
	}
	if got := len(f.users(t)) - len(before); got != 4 {
		t.Errorf("%d accounts made, want 4", got)
	}
	for i, r := range f.importAll(t, false, rows...) { // once more: nothing happens twice
		if r.Outcome == authn.ImportCreated {
			t.Errorf("line %d is created again", i+1)
		}
	}
}

func TestImportKeepsWhatItIsGiven(t *testing.T) {
	f := newService(t, nil)
	ctx := context.Background()
	old := time.Date(2019, 5, 4, 3, 2, 1, 123456789, time.UTC)
	f.importAll(t, false,
		authn.ImportRow{Username: "Ada.L", Email: "Ada@Example.com", Name: " Ada ", Roles: []string{"b", "a", "b"}, Active: true, EmailVerified: true, CreatedAt: old},
		authn.ImportRow{Username: "off", Roles: []string{}},
		authn.ImportRow{Username: "usual", Active: true},
	)
	ada, err := f.UserByLogin(ctx, "ada.l")
	want := authn.User{
		ID: ada.ID, Username: "Ada.L", Email: "ada@example.com", Name: "Ada", Roles: []string{"a", "b"},
		Active: true, EmailVerified: true, CreatedAt: old, UpdatedAt: start,
	}
	if err != nil || fmt.Sprint(ada) != fmt.Sprint(want) {
		t.Errorf("got %+v (%v), want %+v", ada, err, want)
	}
	off, _ := f.UserByLogin(ctx, "off")
	usual, _ := f.UserByLogin(ctx, "usual")
	if off.Active || len(off.Roles) != 0 || !usual.Active || !slices.Equal(usual.Roles, f.Config.Accounts.DefaultRoles) {
		t.Errorf("got %+v and %+v, want a disabled one without roles and an active one with the default", off, usual)
	}
	if list := f.users(t); list[len(list)-1].Username != "Ada.L" {
		t.Errorf("the oldest account is %s, want the one created first elsewhere", list[len(list)-1].Username)
	}
	_, err = f.Login(ctx, authn.LoginAttempt{Login: "usual", Password: "anything"}, client("192.0.2.1"))
	if !errors.Is(err, authn.ErrInvalidCredentials) {
		t.Errorf("signing in without a password ever set: %v", err)
	}
}

// TestImportMeetsANewcomer: someone takes the name while the import hashes.
func TestImportMeetsANewcomer(t *testing.T) {
	f := newService(t, nil)
	f.onHash(func() {
		f.onHash(nil)
		err := f.Store.Update(context.Background(), func(tx authn.Tx) error {
			return tx.PutUser(authn.User{ID: "00000000000000000000000000", Username: "ada", Active: true, CreatedAt: start, UpdatedAt: start})
		})
		if err != nil {
			t.Error(err)
		}
	})
	got := f.importAll(t, false,
		authn.ImportRow{Username: "ada", PasswordHash: "{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE="},
		authn.ImportRow{Username: "bob"})
	if summary(got[0]) != "skipped username taken" || summary(got[1]) != "created" {
		t.Errorf("got %s and %s, want the first skipped", summary(got[0]), summary(got[1]))
	}
}

// TestImportStops: what was reported before an error is done, the rest is not.
func TestImportStops(t *testing.T) {
	f := newService(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var reported int
	rows := func(yield func(authn.ImportRow) bool) {
		for i := range 2000 {
			if !yield(authn.ImportRow{Line: i + 1, Username: fmt.Sprint("user", i), Active: true}) {
				return
			}
		}
	}
	err := f.ImportUsers(ctx, rows, cli, false, func(batch []authn.ImportResult) error {
		reported += len(batch)
		cancel()
		return nil
	})
	if got := len(f.users(t)); !errors.Is(err, context.Canceled) || reported == 0 || got != reported {
		t.Errorf("%d accounts, %d reported, %v; want the same, and context.Canceled", got, reported, err)
	}
	full := errors.New("nobody listens")
	if err := f.ImportUsers(context.Background(), rows, cli, false, func([]authn.ImportResult) error { return full }); !errors.Is(err, full) {
		t.Errorf("got %v, want the error of the report", err)
	}
}

// bcrypted is a digest as most imports bring it.
const bcrypted = "$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC"

func many(n int) func(func(authn.ImportRow) bool) {
	return func(yield func(authn.ImportRow) bool) {
		for i := range n {
			row := authn.ImportRow{
				Line: i + 1, Username: fmt.Sprintf("user%06d", i), Email: fmt.Sprintf("user%06d@example.com", i),
				Name: fmt.Sprint("User ", i), Active: true, EmailVerified: true, PasswordHash: bcrypted,
				CreatedAt: start.Add(time.Duration(-i) * time.Minute),
			}
			if !yield(row) {
				return
			}
		}
	}
}

func TestImportMany(t *testing.T) {
	f := newService(t, nil)
	hashes, batches := f.hashes(), 0
	err := f.ImportUsers(context.Background(), many(2000), cli, false, func(batch []authn.ImportResult) error {
		batches++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err := f.Users(context.Background(), authn.UserQuery{Limit: 1, CountTo: 5000})
	if err != nil || page.Total != 2000 || page.Users[0].Username != "user000000" {
		t.Errorf("%d accounts, the newest %q, %v; want 2000 and the one created last", page.Total, page.Users[0].Username, err)
	}
	if batches > 4 || f.hashes() != hashes {
		t.Errorf("%d transactions and %d hashes, want 4 and none", batches, f.hashes()-hashes)
	}
}

// BenchmarkImport100000 is an import of that many lines.
func BenchmarkImport100000(b *testing.B) {
	for range b.N {
		f := newService(b, nil)
		if err := f.ImportUsers(context.Background(), many(100_000), cli, false, func([]authn.ImportResult) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
