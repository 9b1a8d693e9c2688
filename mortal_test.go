package appio_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
)

// A mortal store is there no more from its n-th commit on, which is made or not.
type mortal struct {
	store.Store
	mu   sync.Mutex
	left int
	made bool // the last commit is
}

func (m *mortal) dead() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.left <= 0
}

func (m *mortal) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	m.mu.Lock()
	m.left--
	left := m.left
	m.mu.Unlock()
	if left < 0 || left == 0 && !m.made {
		return nil, store.ErrFailed
	}
	errs, err := m.Store.Commit(ctx, changes)
	if left == 0 {
		return nil, store.ErrFailed
	}
	return errs, err
}

func (m *mortal) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	if m.dead() {
		return nil, store.ErrFailed
	}
	return m.Store.View(ctx, reads)
}

func (m *mortal) Due(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
	if m.dead() {
		return nil, store.ErrFailed
	}
	return m.Store.Due(ctx, q)
}

// dieOnce is a store whose engine dies at its n-th commit; for those that come after, it goes on.
func dieOnce(disk store.Store, n int, made bool) func() *mortal {
	return func() *mortal {
		m := &mortal{Store: disk, left: n, made: made}
		n = 1 << 30
		return m
	}
}

// lives is an engine that comes back after each crash, as another one on what the store has.
type lives struct {
	*appio.Engine
	t       *testing.T
	run     string // which one it is, for who reads a failure
	next    func() *mortal
	options func(*mortal) *appio.Options
	store   *mortal
	crashes int
}

func newLives(t *testing.T, run string, next func() *mortal, options func(*mortal) *appio.Options) *lives {
	l := &lives{t: t, run: run, next: next, options: options}
	l.begin()
	return l
}

func (l *lives) begin() {
	l.t.Helper()
	l.store = l.next()
	var err error
	l.Engine, err = appio.New(l.store, l.options(l.store))
	require.NoError(l.t, err)
}

// do repeats a step until it succeeds: nothing but a crash may keep it from that. Once there was one, an error of done says that the
// step was taken and its answer not heard.
func (l *lives) do(step func() error, done ...error) {
	l.t.Helper()
	for {
		err := step()
		if err == nil || l.crashes > 0 && slices.ContainsFunc(done, func(d error) bool { return errors.Is(err, d) }) {
			return
		}
		require.True(l.t, l.store.dead(), "%s: %v", l.run, err)
		_ = l.Close()
		l.crashes++
		l.begin()
	}
}

func (l *lives) flush() {
	l.t.Helper()
	l.do(func() error { _, err := l.Flush(l.t.Context()); return err })
}

// dieAtEachCommit plays a run in which the engine dies at its n-th commit, for every n, before the commit is made and after it, until one has
// fewer; it has more than least.
func dieAtEachCommit(t *testing.T, least int, run func(t *testing.T, n int, made bool) (died bool)) {
	t.Helper()
	for _, made := range []bool{false, true} {
		t.Run(fmt.Sprintf("made %t", made), func(t *testing.T) {
			t.Parallel()
			n := 1
			for ; run(t, n, made); n++ {
				require.Less(t, n, 200)
			}
			require.Greater(t, n, least)
		})
	}
}

// dieAtRandom plays a run for each of some seeds; of each the engine dies more often than least, on average.
func dieAtRandom(t *testing.T, least int, run func(t *testing.T, seed uint64) (crashes int)) {
	t.Helper()
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	crashes := 0
	for seed := range uint64(seeds) {
		crashes += run(t, seed)
	}
	require.Greater(t, crashes, least*seeds)
}
