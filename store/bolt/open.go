package bolt

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
)

// How a file comes to be trusted. bbolt maps the file into memory and believes
// what it reads there: a file cut short kills the process with SIGBUS. So the
// header is read with plain reads first, then the mark of the format through a
// read-only bbolt, and only a file that is ours is opened for writing. Whatever
// is refused has not been changed by a byte.

// lockWait is how long to wait for another process to let go of the file: one
// that is just ending, not one that runs.
const lockWait = time.Second

// Open opens the store at path, or makes one. ErrLocked, ErrForeign,
// ErrDamaged, ErrNewer say what is wrong with the file.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	s, err := open(ctx, path, o, ordinaryRoom)
	if err == nil {
		go s.write()
	}
	return s, err
}

// open opens a store whose writer is to be started yet.
func open(ctx context.Context, path string, o Options, r room) (*Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	isNew, err := inspect(path)
	if err != nil {
		return nil, err
	}
	if !isNew {
		if err := readMark(path); err != nil {
			return nil, err
		}
	}
	db, err := openBolt(path, false)
	if err != nil {
		return nil, err
	}
	s := &Store{
		db: db, path: path, observe: o.Observe,
		calls: make(chan *call), closing: make(chan struct{}), stopped: make(chan struct{}),
		recent: recent{room: r},
	}
	err = s.prepare()
	if err == nil && isNew {
		// Without this a power failure could take the whole file back.
		err = syncDir(path)
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	return s, nil
}

// prepare makes the file private, marks it if it is new, and remembers which
// file it is and what stands apart in it.
func (s *Store) prepare() error {
	info, err := os.Stat(s.path)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	s.file = info
	if open := info.Mode().Perm() & 0o077; open != 0 {
		if err := os.Chmod(s.path, 0o600); err != nil && open&0o007 != 0 {
			return fmt.Errorf("store: %s holds secrets and others may read it (mode %04o), make it 0600: %w", s.path, info.Mode().Perm(), err)
		}
	}
	err = guarded(func() error {
		err := s.db.View(checkMark)
		switch {
		case errors.Is(err, errUnmarked):
			err = s.db.Update(mark)
		case err == nil && s.outdated():
			err = s.db.Update(upgrade)
		}
		if err != nil {
			return err
		}
		return s.db.View(s.recall)
	})
	if err != nil {
		return fmt.Errorf("store: %s: %w", s.path, err)
	}
	return nil
}

// recall makes the index of what stands apart.
func (s *Store) recall(btx *bbolt.Tx) error {
	p, last, err := readRecent(btx)
	if err != nil {
		return err
	}
	s.recent.committed, s.recent.last = p, last
	s.states.now = p.Copy()
	return nil
}

// syncDir makes the name of a new file last.
func syncDir(path string) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// openBolt opens the file with bbolt and says in our words what is wrong.
func openBolt(path string, readOnly bool) (db *bbolt.DB, err error) {
	o := *bbolt.DefaultOptions
	o.Timeout = lockWait
	o.ReadOnly = readOnly
	// As a list, free pages are given out from the front, so that a commit's
	// pages lie together, and written as they are. bbolt's map gives them out
	// from anywhere and sorts all of them at every commit: with 36,000 free
	// pages that took 7 ms of a write, and this 2.
	o.FreelistType = bbolt.FreelistArrayType
	if !readOnly {
		o.InitialMmapSize = initialMap
	}
	err = guarded(func() error {
		db, err = bbolt.Open(path, 0o600, &o)
		return err
	})
	switch {
	case errors.Is(err, bbolt.ErrTimeout):
		return nil, locked(path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("store: %w: it must be readable and writable by the user that runs this", err)
	case err != nil:
		return nil, fmt.Errorf("store: %s: %w", path, err)
	}
	db.AllocSize = allocSize
	return db, nil
}

// locked says which file is meant, wherever the reader stands.
func locked(path string) error {
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	return fmt.Errorf("%w: another process has %s open: if it is the server, use it as it is (commands reach it by its socket) or stop it; a second server needs a store.url of its own", ErrLocked, path)
}

// allocSize is by how much the file grows at a time.
const allocSize = 1 << 20

// initialMap is how much address space the file gets from the start. Growing
// past it means waiting until every reader has finished, a backup for example.
// On 32-bit machines there is none to spare.
const initialMap = (1 << 30) * (strconv.IntSize / 64)

// guarded turns a panic or a memory fault inside bbolt, which does not expect
// a damaged file, into ErrDamaged.
func guarded(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v: restore a backup", ErrDamaged, p)
		}
	}()
	return fn()
}

// errUnmarked means that a bbolt file is empty: made, but not marked yet.
var errUnmarked = errors.New("no mark")

// readMark looks at a file that is there already without being able to change
// it.
func readMark(path string) error {
	db, err := openBolt(path, true)
	if err != nil {
		return err
	}
	defer db.Close()
	err = guarded(func() error { return db.View(checkMark) })
	if err != nil && !errors.Is(err, errUnmarked) {
		return fmt.Errorf("store: %s: %w", path, err)
	}
	return nil
}

// checkMark says whether the file is ours and of a version we know.
func checkMark(btx *bbolt.Tx) error {
	meta := btx.Bucket([]byte(metaBucket))
	if meta == nil {
		if k, _ := btx.Cursor().First(); k == nil {
			return errUnmarked
		}
		return fmt.Errorf("%w: a bbolt file of another program: name another file in store.url", ErrForeign)
	}
	if string(meta.Get(metaFormat)) != storeFormat {
		return fmt.Errorf("%w: a bbolt file of another program: name another file in store.url", ErrForeign)
	}
	version, err := strconv.Atoi(string(meta.Get(metaVersion)))
	switch {
	case err != nil || version < 1:
		return fmt.Errorf("%w: its version cannot be read: restore a backup", ErrDamaged)
	case version > storeVersion:
		return fmt.Errorf("%w: it has version %d, this program reads up to %d: run the newer Doorward, or restore a backup from before the upgrade", ErrNewer, version, storeVersion)
	}
	for _, b := range buckets {
		if btx.Bucket([]byte(b)) == nil && since[b] <= version {
			return fmt.Errorf("%w: %s is missing: restore a backup", ErrDamaged, b)
		}
	}
	return nil
}

// mark makes an empty bbolt file a store.
func mark(btx *bbolt.Tx) error {
	for _, b := range buckets {
		if _, err := btx.CreateBucket([]byte(b)); err != nil {
			return err
		}
	}
	meta := btx.Bucket([]byte(metaBucket))
	if err := meta.Put(metaFormat, []byte(storeFormat)); err != nil {
		return err
	}
	return meta.Put(metaVersion, []byte(strconv.Itoa(storeVersion)))
}

// outdated reports whether an older version made the file.
func (s *Store) outdated() (old bool) {
	_ = s.db.View(func(btx *bbolt.Tx) error { // fn does not fail
		old = string(btx.Bucket([]byte(metaBucket)).Get(metaVersion)) != strconv.Itoa(storeVersion)
		return nil
	})
	return old
}

// upgrade makes a file of an older version one of today's, in one transaction:
// every version so far has added buckets, or said more in a record.
func upgrade(btx *bbolt.Tx) error {
	for _, b := range buckets {
		if _, err := btx.CreateBucketIfNotExists([]byte(b)); err != nil {
			return err
		}
	}
	return btx.Bucket([]byte(metaBucket)).Put(metaVersion, []byte(strconv.Itoa(storeVersion)))
}

// inspect reads the header of the file without bbolt. A server may be writing
// to it: of the two headers one is always whole, and the file only grows, so
// its size is read after them.
func inspect(path string) (isNew bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		dir := filepath.Dir(path)
		if info, err := os.Stat(dir); err != nil || !info.IsDir() {
			return false, fmt.Errorf("store: the directory %s does not exist: create it, or name another file in store.url", dir)
		}
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("store: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return false, fmt.Errorf("store: %w", err)
	case !info.Mode().IsRegular():
		return false, fmt.Errorf("store: %s is not a file: name a file in store.url", path)
	case info.Size() == 0:
		return true, nil
	}
	h, err := readHeader(f, info.Size())
	if err != nil {
		return false, fmt.Errorf("store: %s: %w", path, err)
	}
	if info, err = f.Stat(); err != nil {
		return false, fmt.Errorf("store: %w", err)
	}
	if need := h.pages * uint64(h.pageSize); uint64(info.Size()) < need {
		return false, fmt.Errorf("store: %s: %w: it is cut short, %d of at least %d bytes: restore a backup", path, ErrDamaged, info.Size(), need)
	}
	return false, nil
}

// header is what we need of a bbolt meta page.
type header struct {
	pageSize uint32
	pages    uint64 // in use, from the start of the file
	txid     uint64
}

const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2
	pageHeader  = 16 // bytes before the meta on its page
	metaSize    = 64
)

// readHeader returns the newer of the two headers that is whole. The second
// stands one page into the file, and if the first is not whole the size of a
// page has to be guessed, as bbolt does.
func readHeader(f io.ReaderAt, size int64) (header, error) {
	first, magic, ok := readMeta(f, 0)
	var offsets []int64
	if ok {
		offsets = []int64{int64(first.pageSize)}
	} else {
		for page := int64(1 << 10); page <= 1<<24 && page < size; page <<= 1 {
			offsets = append(offsets, page)
		}
	}
	for _, at := range offsets {
		h, _, whole := readMeta(f, at)
		if whole && int64(h.pageSize) == at && (!ok || h.txid > first.txid) {
			return h, nil
		}
	}
	switch {
	case ok:
		return first, nil
	case magic:
		return header{}, fmt.Errorf("%w: its header is not whole: restore a backup", ErrDamaged)
	default:
		return header{}, fmt.Errorf("%w: name another file in store.url", ErrForeign)
	}
}

// readMeta reads the meta page at an offset, and reports whether it carries
// bbolt's magic number and whether it is whole.
func readMeta(f io.ReaderAt, at int64) (h header, magic, whole bool) {
	b := make([]byte, metaSize)
	n, _ := f.ReadAt(b, at+pageHeader)
	e := binary.NativeEndian
	magic = n >= 4 && e.Uint32(b) == boltMagic
	if n < metaSize || !magic || e.Uint32(b[4:]) != boltVersion {
		return header{}, magic, false
	}
	h = header{pageSize: e.Uint32(b[8:]), pages: e.Uint64(b[40:]), txid: e.Uint64(b[48:])}
	sum := fnv.New64a()
	sum.Write(b[:56])
	whole = sum.Sum64() == e.Uint64(b[56:])
	// Bounds within which the size of the file can be reckoned.
	sane := h.pageSize >= 1<<10 && h.pageSize <= 1<<24 && h.pages < 1<<36
	return h, magic, whole && sane
}
