// Package ownstore wraps any store with counters.
package ownstore

import (
	"context"
	"errors"
	"expvar"
	"time"

	"github.com/appio-go/appio/store"
)

// Metered counts what goes through a store. Embedding the interface keeps the methods that it does not touch.
type Metered struct {
	store.Store
	Changes, Conflicts, Failures expvar.Int
	CommitTime                   expvar.Float // seconds, of all commits together
}

// New wraps s, which is closed with the wrapper.
func New(s store.Store) *Metered { return &Metered{Store: s} }

// Commit passes on the changes and counts them.
func (m *Metered) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	start := time.Now()
	errs, err := m.Store.Commit(ctx, changes)
	m.CommitTime.Add(time.Since(start).Seconds())
	m.Changes.Add(int64(len(changes)))
	for _, err := range errs {
		if errors.Is(err, store.ErrConflict) {
			m.Conflicts.Add(1)
		}
	}
	if err != nil {
		m.Failures.Add(1)
	}
	return errs, err
}

// Unwrap lets store.Backup find the store behind.
func (m *Metered) Unwrap() store.Store { return m.Store }
