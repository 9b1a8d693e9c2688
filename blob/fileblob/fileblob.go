// Package fileblob keeps documents in files of a directory, one each, as the default of [appio.Open].
//
// A file is the document, followed by 32 bytes: the SHA-256 of its id, a zero byte, and the document. It is written under another name and synced,
// gets its own name, and the directory is synced: so what has its name is whole, and what Put has returned from is on the disk.
// Several processes may use one directory, as long as all its files are of this package. A backup is a copy of the directory.
//
// [appio.Open]: https://pkg.go.dev/github.com/appio-go/appio#Open
package fileblob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/appio-go/appio/blob"
	"github.com/appio-go/appio/internal/failpoint"
)

// A Store is a [blob.Store] in a directory.
type Store struct {
	dir  string
	once sync.Mutex // of what is made
	made map[string]bool
}

// New is the store in a directory, which the first Put makes if it is missing. It does no I/O.
func New(dir string) *Store { return &Store{dir: dir, made: map[string]bool{}} }

// temporary is where files are written before they have their name. What a crash left there goes when it is this old.
const (
	temporary = "tmp"
	leftAfter = 24 * time.Hour
)

// place is the directory of a document: one of 256, so that none grows too long.
func (s *Store) place(id blob.ID) string {
	sum := sha256.Sum256([]byte(id))
	return filepath.Join(s.dir, hex.EncodeToString(sum[:1]))
}

func (s *Store) path(id blob.ID) string { return filepath.Join(s.place(id), string(id)) }

// Put implements [blob.Store].
func (s *Store) Put(ctx context.Context, id blob.ID, r io.Reader) error {
	if !id.Valid() {
		return blob.ErrInvalid
	}
	place, tmp := s.place(id), filepath.Join(s.dir, temporary)
	for _, dir := range []string{s.dir, tmp, place} {
		if err := s.makeDir(dir); err != nil {
			return clean(err)
		}
	}
	f, err := os.CreateTemp(tmp, "")
	if err != nil {
		return clean(err)
	}
	defer os.Remove(f.Name())
	err = write(ctx, f, id, r)
	if err2 := f.Close(); err == nil {
		err = clean(err2)
	}
	if err != nil {
		return err
	}
	// A name that is taken is not taken away, as renaming would.
	switch err := os.Link(f.Name(), s.path(id)); {
	case errors.Is(err, fs.ErrExist):
		return blob.ErrExists
	case err != nil:
		return clean(err)
	}
	if err := failpoint.Hit("blob/named"); err != nil {
		return err
	}
	if err := syncDir(place); err != nil {
		return clean(err)
	}
	return failpoint.Hit("blob/durable")
}

// write fills a file and has it on the disk.
func write(ctx context.Context, f *os.File, id blob.ID, r io.Reader) error {
	if err := failpoint.Hit("blob/made"); err != nil {
		return err
	}
	h := checksum(id)
	if _, err := io.Copy(io.MultiWriter(h, writer{f}), blob.Reader{Context: ctx, R: r}); err != nil {
		return err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if err := failpoint.Hit("blob/written"); err != nil {
		return err
	}
	if _, err := (writer{f}).Write(h.Sum(nil)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return clean(err)
	}
	return failpoint.Hit("blob/synced")
}

// A writer's errors do not name the file.
type writer struct{ f *os.File }

func (w writer) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	return n, clean(err)
}

// clean takes the path out of an error.
func clean(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return fmt.Errorf("%w: %w", errFile, path.Err)
	case errors.As(err, &link):
		return fmt.Errorf("%w: %w", errFile, link.Err)
	}
	return err
}

var errFile = errors.New("fileblob: a file or directory of documents cannot be used")

func checksum(id blob.ID) hash.Hash {
	h := sha256.New()
	_, _ = io.WriteString(h, string(id)+"\x00")
	return h
}

// makeDir makes a directory that will still be there after a crash, and clears away what crashes left.
func (s *Store) makeDir(dir string) error {
	s.once.Lock()
	defer s.once.Unlock()
	if s.made[dir] {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(dir)); err != nil {
		return err
	}
	if filepath.Base(dir) == temporary {
		s.clear()
	}
	s.made[dir] = true
	return nil
}

// clear removes what crashes left.
func (s *Store) clear() {
	tmp := filepath.Join(s.dir, temporary)
	left, _ := os.ReadDir(tmp)
	for _, e := range left {
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > leftAfter {
			_ = os.Remove(filepath.Join(tmp, e.Name()))
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Open implements [blob.Store].
func (s *Store) Open(ctx context.Context, id blob.ID) (io.ReadCloser, error) {
	if !id.Valid() {
		return nil, blob.ErrInvalid
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	f, err := os.Open(s.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, blob.ErrNotFound
	}
	if err != nil {
		return nil, clean(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() || err == nil && info.Size() < sha256.Size {
		err = blob.ErrCorrupt
	}
	if err != nil {
		_ = f.Close()
		return nil, clean(err)
	}
	return &reader{ctx: ctx, f: f, sum: checksum(id), left: info.Size() - sha256.Size}, nil
}

// A reader compares the checksum before it says that a document has ended.
type reader struct {
	ctx  context.Context
	f    *os.File
	sum  hash.Hash
	left int64
	end  error // what was said at the end
}

func (r *reader) Read(p []byte) (int, error) {
	if r.end != nil {
		return 0, r.end
	}
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	if r.left == 0 {
		var want [sha256.Size]byte
		_, err := io.ReadFull(r.f, want[:])
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF || err == nil && !bytes.Equal(want[:], r.sum.Sum(nil)):
			r.end = blob.ErrCorrupt
		case err != nil:
			return 0, clean(err)
		default:
			r.end = io.EOF
		}
		return 0, r.end
	}
	n, err := r.f.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	r.sum.Write(p[:n])
	if err == io.EOF && r.left > 0 { // it was cut meanwhile
		r.end = blob.ErrCorrupt
		return n, r.end
	}
	if err == io.EOF {
		err = nil
	}
	return n, clean(err)
}

func (r *reader) Close() error { return clean(r.f.Close()) }

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, id blob.ID) error {
	if !id.Valid() {
		return blob.ErrInvalid
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	err := os.Remove(s.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return clean(err)
	}
	return clean(syncDir(s.place(id)))
}

// All implements [blob.Store]. What in the directory is none of its documents is passed over.
func (s *Store) All(ctx context.Context) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		s.clear()
		for i := range 256 {
			if err := context.Cause(ctx); err != nil {
				yield(blob.Info{}, err)
				return
			}
			place := filepath.Join(s.dir, hex.EncodeToString([]byte{byte(i)}))
			entries, err := os.ReadDir(place)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				yield(blob.Info{}, clean(err))
				return
			}
			for _, e := range entries {
				info, err := e.Info()
				id := blob.ID(e.Name())
				if err != nil || !info.Mode().IsRegular() || !id.Valid() || s.place(id) != place {
					continue
				}
				if !yield(blob.Info{ID: id, Size: max(info.Size()-sha256.Size, 0)}, nil) {
					return
				}
			}
		}
	}
}
