// Package store opens the store a URL names.
//
// There is one kind so far, "bolt:PATH": a bbolt file, see store/bolt. Package
// store/storetest is the contract every kind must pass. Nothing here knows
// rules about people; they are in authn, written over authn.Store.
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/doorward/doorward/authn"
	"github.com/doorward/doorward/store/bolt"
)

// What can be wrong with a store, whatever its kind.
var (
	ErrLocked  = bolt.ErrLocked  // another process has it open
	ErrForeign = bolt.ErrForeign // the file is not a store
	ErrDamaged = bolt.ErrDamaged // it was one and is not whole
	ErrNewer   = bolt.ErrNewer   // a later Doorward wrote it
	ErrClosed  = bolt.ErrClosed  // it was closed before the call
)

// Options are what Open can be told.
type Options struct {
	// Observe, if set, is told how long each operation took and how it ended.
	Observe func(op string, d time.Duration, err error)
}

// Open opens the store, or makes it where there is none.
func Open(ctx context.Context, url string, o Options) (authn.Store, error) {
	path, err := Path(url)
	if err != nil {
		return nil, err
	}
	s, err := bolt.Open(ctx, path, bolt.Options{Observe: o.Observe})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Path is the file of a bolt URL. The control socket stands beside it.
func Path(url string) (string, error) {
	scheme, path, found := strings.Cut(url, ":")
	switch {
	case !found || scheme != "bolt":
		// The URL is not repeated: one of another kind may hold a password.
		return "", errors.New(`store.url: not a store this program knows: write "bolt:" and the path of a file`)
	case path == "":
		return "", errors.New(`store.url: no file is named: write "bolt:" and the path of a file`)
	case strings.HasPrefix(path, "//"):
		return "", fmt.Errorf(`store.url: write "bolt:%s", without slashes before the path`, strings.TrimLeft(path, "/"))
	}
	return path, nil
}

// Absent reports whether there is no store yet, so that Open would make one.
// What cannot be looked at is for Open to judge.
func Absent(url string) bool {
	path, err := Path(url)
	if err != nil {
		return false
	}
	_, err = os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// Place is where the store is, for people: the absolute path of its file, ""
// for a URL that names none.
func Place(url string) string {
	path, err := Path(url)
	if err != nil {
		return ""
	}
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

// Backup writes a copy of the store to a new file at path while the store goes
// on. It never replaces a file.
func Backup(ctx context.Context, s authn.Store, path string) error {
	b, ok := s.(interface {
		Backup(ctx context.Context, path string) error
	})
	if !ok {
		return errors.New("backup: this kind of store is backed up with its own tools")
	}
	return b.Backup(ctx, path)
}
