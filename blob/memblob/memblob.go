// Package memblob keeps documents in memory, for tests. They are gone with the process.
package memblob

import (
	"bytes"
	"context"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/appio-go/appio/blob"
)

// A Store is a [blob.Store] in memory. The zero one is empty and ready.
type Store struct {
	mu sync.RWMutex
	m  map[blob.ID][]byte
}

// New is an empty Store.
func New() *Store { return &Store{} }

// Put implements [blob.Store].
func (s *Store) Put(ctx context.Context, id blob.ID, r io.Reader) error {
	if !id.Valid() {
		return blob.ErrInvalid
	}
	b, err := io.ReadAll(blob.Reader{Context: ctx, R: r})
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.m[id]; ok {
		return blob.ErrExists
	}
	if s.m == nil {
		s.m = map[blob.ID][]byte{}
	}
	s.m[id] = b
	return nil
}

// Open implements [blob.Store].
func (s *Store) Open(ctx context.Context, id blob.ID) (io.ReadCloser, error) {
	if !id.Valid() {
		return nil, blob.ErrInvalid
	}
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	b, ok := s.m[id]
	if !ok {
		return nil, blob.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(b)), nil
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, id blob.ID) error {
	if !id.Valid() {
		return blob.ErrInvalid
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.m, id)
	return nil
}

// All implements [blob.Store].
func (s *Store) All(ctx context.Context) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		s.mu.RLock()
		ids := slices.Collect(maps.Keys(s.m))
		s.mu.RUnlock()
		for _, id := range ids {
			if err := context.Cause(ctx); err != nil {
				yield(blob.Info{}, err)
				return
			}
			s.mu.RLock()
			b, ok := s.m[id]
			s.mu.RUnlock()
			if ok && !yield(blob.Info{ID: id, Size: int64(len(b))}, nil) {
				return
			}
		}
	}
}
