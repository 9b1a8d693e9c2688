package appio_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// A hookedStore lets a test come between the engine and its store.
type hookedStore struct {
	store.Store
	mu     sync.Mutex
	read   func() error // before View, Due and Owners
	commit commitHook
}

type (
	commitFunc func(ctx context.Context, changes []store.Change) ([]error, error)
	commitHook func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error)
)

func newHookedStore() *hookedStore { return &hookedStore{Store: memstore.New()} }

func (h *hookedStore) onRead(f func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.read = f
}

func (h *hookedStore) onCommit(f commitHook) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.commit = f
}

func (h *hookedStore) reading() error {
	h.mu.Lock()
	f := h.read
	h.mu.Unlock()
	if f == nil {
		return nil
	}
	return f()
}

func (h *hookedStore) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	if err := h.reading(); err != nil {
		return nil, err
	}
	return h.Store.View(ctx, reads)
}

func (h *hookedStore) Due(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
	if err := h.reading(); err != nil {
		return nil, err
	}
	return h.Store.Due(ctx, q)
}

func (h *hookedStore) Owners(ctx context.Context, after store.Owner, limit int) ([]store.Owner, error) {
	if err := h.reading(); err != nil {
		return nil, err
	}
	return h.Store.Owners(ctx, after, limit)
}

func (h *hookedStore) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	h.mu.Lock()
	f := h.commit
	h.mu.Unlock()
	if f == nil {
		return h.Store.Commit(ctx, changes)
	}
	return f(ctx, changes, h.Store.Commit)
}

var (
	errLost   = errors.New("connection lost")
	errNotYet = errors.New("nothing was delivered yet")
)

// A fault is what goes wrong in one call of the store, or in all from one on.
type fault struct {
	name    string
	read    bool // of a read; otherwise of a commit
	unknown bool // callers cannot know what became of the commit
	lasting bool
	commit  commitHook
}

var faults = []fault{
	{name: "a read fails", read: true},
	{name: "reads fail", read: true, lasting: true},
	{name: "a commit is aborted", commit: aborts},
	{name: "commits are aborted", commit: aborts, lasting: true},
	{name: "there is no room", commit: isFull},
	{name: "there is no room any more", commit: isFull, lasting: true},
	{name: "somebody else was faster", commit: conflicts},
	{name: "an answer is lost, and the change with it", commit: losesAll, unknown: true},
	{name: "an answer is lost, and the change is made", commit: losesAnswer, unknown: true},
	{name: "an answer is lost, and the change is made a moment later", commit: isLate, unknown: true},
	{name: "an answer is lost, and every other owner is changed", commit: losesHalf, unknown: true},
	{name: "answers are lost, and the changes with them", commit: losesAll, unknown: true, lasting: true},
	{name: "answers are lost, and the changes are made", commit: losesAnswer, unknown: true, lasting: true},
}

func aborts(context.Context, []store.Change, commitFunc) ([]error, error) {
	return nil, fmt.Errorf("%w: deadlock", store.ErrAborted)
}

func isFull(context.Context, []store.Change, commitFunc) ([]error, error) { return nil, store.ErrFull }

func conflicts(_ context.Context, changes []store.Change, _ commitFunc) ([]error, error) {
	return slices.Repeat([]error{store.ErrConflict}, len(changes)), nil
}

func losesAll(context.Context, []store.Change, commitFunc) ([]error, error) { return nil, errLost }

func losesAnswer(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
	_, _ = next(ctx, changes)
	return nil, errLost
}

func losesHalf(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
	for i := 0; i < len(changes); i += 2 {
		_, _ = next(ctx, changes[i:i+1])
	}
	return nil, errLost
}

func isLate(_ context.Context, changes []store.Change, next commitFunc) ([]error, error) {
	time.AfterFunc(time.Millisecond, func() { _, _ = next(context.Background(), changes) })
	return nil, errLost
}
