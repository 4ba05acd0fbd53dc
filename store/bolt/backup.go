package bolt

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// Backup writes a consistent copy of the store to a new file at path, while
// the store goes on. The copy is compacted: it holds what is there now and not
// what lies in freed pages or is hidden by what was written since (recent.go),
// such as the seeds of tokens long rotated. It appears under its name whole or
// not at all, mode 0600, and never replaces a file. Copying is not interrupted; a
// ctx that ends meanwhile leaves no file.
func (s *Store) Backup(ctx context.Context, path string) (err error) {
	defer s.timed("backup", time.Now(), &err)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.usable(); err != nil {
		return err // before there is a file
	}
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("backup: %s exists: name a file that does not", path)
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".doorward-backup-*") // mode 0600
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer os.Remove(tmp.Name())
	if err := tmp.Close(); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := s.copyTo(tmp.Name()); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := publish(tmp.Name(), path); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return nil
}

// copyTo compacts the store into the empty file at path and syncs it.
func (s *Store) copyTo(path string) error {
	o := *bbolt.DefaultOptions
	o.Timeout = lockWait
	o.NoSync = true // once, at the end
	dst, err := bbolt.Open(path, 0o600, &o)
	if err != nil {
		return err
	}
	dst.AllocSize = allocSize // or the copy of a small store is larger than the store
	err = s.copyAll(dst)
	if err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}

// copyAll puts what a reader sees now into an empty file.
func (s *Store) copyAll(dst *bbolt.DB) error {
	btx, places, err := s.begin(false)
	if err != nil {
		return err
	}
	defer btx.Rollback()
	t := &tx{b: btx, places: places}
	return guarded(func() error { return t.copyTo(dst) })
}

const (
	copyAtOnce = 1 << 20 // bytes of a transaction
	copyFill   = 1       // how full its pages are
)

// copyTo copies every bucket, with each entry where it belongs.
func (t *tx) copyTo(dst *bbolt.DB) error {
	for _, b := range buckets {
		if err := dst.Update(func(to *bbolt.Tx) error { _, err := to.CreateBucket([]byte(b)); return err }); err != nil {
			return err
		}
		if b == recentBucket {
			continue
		}
		if err := t.copyBucket(dst, b); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) copyBucket(dst *bbolt.DB, b bucket) (err error) {
	var batch []written
	size := 0
	t.ascend(b, nil, func(k, v []byte) bool {
		if size += len(k) + len(v); size > copyAtOnce {
			err = putAll(dst, b, batch)
			batch, size = batch[:0], len(k)+len(v)
		}
		batch = append(batch, written{b, k, v})
		return err == nil
	})
	if err != nil {
		return err
	}
	return putAll(dst, b, batch)
}

// putAll writes a batch in a transaction of its own: none is open while the
// store is read, for if that cannot be read closing the copy would wait for it.
func putAll(dst *bbolt.DB, b bucket, batch []written) error {
	return dst.Update(func(to *bbolt.Tx) error {
		bb := to.Bucket([]byte(b))
		bb.FillPercent = copyFill
		for _, w := range batch {
			if err := bb.Put(w.key, w.value); err != nil {
				return err
			}
		}
		return nil
	})
}

// publish gives a finished file its name, unless the name is taken by now.
func publish(tmp, path string) error {
	err := os.Link(tmp, path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		// A file system without hard links: rename would replace a file that
		// came meanwhile, so the name is claimed first.
		var f *os.File
		if f, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err == nil {
			err = errors.Join(f.Close(), os.Rename(tmp, path))
		}
	}
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists: name a file that does not", path)
	}
	if err != nil {
		return err
	}
	return syncDir(path)
}
