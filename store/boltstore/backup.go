package boltstore

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Backup writes a consistent copy of the store as of some moment during the call, a file that [Open] opens. It makes the copy
// beside the file first, as large as it, and gives that to w when nothing of the store is held any more: so a slow w keeps
// nobody waiting, and the file does not grow because of it.
//
// Changes are made meanwhile. So that they do not wait for the disk, a backup rests after each piece for longer than the piece
// took, and takes no more than a quarter of the disk's time; Options.BackupRate makes it slower. Pages that are given up while
// the copy is made are not used again before it is done: the file may grow by what is written in that time.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := s.backup(ctx, w); err != nil {
		return fmt.Errorf("boltstore: backup: %w", pathless(full(err)))
	}
	return nil
}

func (s *Store) backup(ctx context.Context, w io.Writer) error {
	if s.opts.ReadOnly { // nobody waits
		_, err := s.copyTo(ctx, w)
		return err
	}
	made, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+".backup-*")
	if err != nil {
		return err
	}
	defer made.Close()
	if os.Remove(made.Name()) != nil { // some systems cannot while it is open
		defer os.Remove(made.Name())
	}
	size, err := s.copyTo(ctx, made)
	if err != nil {
		return err
	}
	_, err = io.Copy(s.pace(ctx, w), io.NewSectionReader(made, 0, size))
	return err
}

// copyTo writes the file as it is, in one transaction.
func (s *Store) copyTo(ctx context.Context, to io.Writer) (size int64, err error) {
	w := s.pace(ctx, to)
	s.mu.RLock()
	locked := true
	defer func() {
		if locked {
			s.mu.RUnlock()
		}
	}()
	err = s.view(func(tx *bolt.Tx) error {
		s.mu.RUnlock()
		locked = false
		size, err = tx.WriteTo(w)
		return err
	})
	if w.err != nil { // of which bbolt tells the text only
		err = w.err
	}
	return size, err
}

// A pacedWriter writes in pieces, and rests after each, until its context ends or the store is closed.
type pacedWriter struct {
	s    *Store
	ctx  context.Context
	w    io.Writer
	err  error
	left int // bytes until the next rest
	took time.Duration
}

const (
	backupPiece = 1 << 20 // bytes between rests
	restFor     = 3       // times as long as the piece took
	longestRest = 50 * time.Millisecond
)

func (s *Store) pace(ctx context.Context, w io.Writer) *pacedWriter {
	return &pacedWriter{s: s, ctx: ctx, w: w, left: backupPiece}
}

func (p *pacedWriter) Write(b []byte) (n int, err error) {
	for len(b) > 0 && p.err == nil {
		if p.err = p.s.ready(p.ctx); p.err != nil {
			break
		}
		start := time.Now()
		m, err := p.w.Write(b[:min(len(b), p.left)])
		n, b, p.left, p.err = n+m, b[m:], p.left-m, err
		if p.left == 0 && p.err == nil {
			p.err = p.sync()
		}
		p.took += time.Since(start)
		if p.left == 0 && p.err == nil {
			p.rest()
		}
	}
	return n, p.err
}

// sync has what was written go to the disk at once. Otherwise it would gather, and go there while a commit waits for it.
func (p *pacedWriter) sync() error {
	f, ok := p.w.(*os.File)
	if !ok {
		return nil
	}
	return writeOut(f)
}

func (p *pacedWriter) rest() {
	rest := min(restFor*p.took, longestRest)
	if p.s.opts.ReadOnly {
		rest = 0
	}
	if rate := p.s.opts.BackupRate; rate > 0 {
		rest = max(rest, time.Duration(float64(backupPiece)/float64(rate)*float64(time.Second))-p.took)
	}
	p.left, p.took = backupPiece, 0
	for ; rest > 0 && p.err == nil; rest -= longestRest {
		t := time.NewTimer(min(rest, longestRest))
		select {
		case <-t.C:
		case <-p.ctx.Done():
		}
		t.Stop()
		p.err = p.s.ready(p.ctx) // who closes the store waits for its transactions
	}
}
