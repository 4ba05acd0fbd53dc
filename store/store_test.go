package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/doorward/doorward/authn"
)

func TestPath(t *testing.T) {
	for _, tt := range []struct{ url, want, says string }{
		{url: "bolt:doorward.db", want: "doorward.db"},
		{url: "bolt:/var/lib/doorward/store.db", want: "/var/lib/doorward/store.db"},
		{url: "bolt:a:b.db", want: "a:b.db"},
		{url: "bolt:", says: "no file is named"},
		{url: "bolt://data/x.db", says: `write "bolt:data/x.db"`},
		{url: "bolt:///data/x.db", says: "without slashes"},
		{url: "", says: `write "bolt:"`},
		{url: "doorward.db", says: `write "bolt:"`},
		{url: "postgres://u:hunter2@db/x", says: "not a store this program knows"},
	} {
		got, err := Path(tt.url)
		if got != tt.want || (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("Path(%q): got %q, %v, want %q, an error that says %q", tt.url, got, err, tt.want, tt.says)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Path(%q): the error repeats the password", tt.url)
		}
	}
}

func TestPlace(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if here, err := os.Getwd(); err != nil || Place("bolt:a/b.db") != filepath.Join(here, "a", "b.db") {
		t.Errorf("got %q, want a/b.db in %q (%v)", Place("bolt:a/b.db"), here, err)
	}
	if got := Place("mysql:x"); got != "" || Absent("mysql:x") {
		t.Errorf("another kind: got place %q, absent %v", got, Absent("mysql:x"))
	}
}

func TestOpenAndBackup(t *testing.T) {
	dir := t.TempDir()
	url := "bolt:" + filepath.Join(dir, "doorward.db")
	if !Absent(url) {
		t.Error("Absent before there is a store: got false")
	}
	observed := 0
	s, err := Open(t.Context(), url, Options{Observe: func(string, time.Duration, error) { observed++ }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Update(t.Context(), func(tx authn.Tx) error { return tx.PutUser(authn.User{ID: "u"}) }); err != nil {
		t.Fatal(err)
	}
	if Absent(url) {
		t.Error("Absent of an open store: got true")
	}
	if observed == 0 {
		t.Error("nothing was observed")
	}
	if other, err := Open(t.Context(), url, Options{}); !errors.Is(err, ErrLocked) || other != nil {
		t.Errorf("got %v, %v, want no store and ErrLocked", other, err)
	}
	path := filepath.Join(dir, "copy.db")
	if err := Backup(t.Context(), s, path); err != nil {
		t.Fatal(err)
	}
	copied, err := Open(t.Context(), "bolt:"+path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	err = copied.View(t.Context(), func(tx authn.Tx) error { _, err := tx.User("u"); return err })
	if err != nil {
		t.Errorf("the copy lacks the user: %v", err)
	}
	if _, err := Open(t.Context(), "mysql:x", Options{}); err == nil {
		t.Error("an unknown kind: got no error")
	}
	if err := Backup(t.Context(), nil, path); err == nil {
		t.Error("a store of another kind: got no error")
	}
}
