package appio_test

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

func TestDerivedKeys(t *testing.T) {
	t.Parallel()
	ctx := t.Context()

	t.Run("are shown again, and end with the next one of their slot", func(t *testing.T) {
		t.Parallel()
		w := newOffice(t)
		a := w.Authority(comune)
		_, err := a.PutDraft(ctx, prepared())
		require.NoError(t, err)
		keys, err := a.Keys(ctx, mensa)
		require.NoError(t, err)
		require.Zero(t, keys)
		seen := map[string]bool{}
		var primary, secondary string
		for range 3 {
			primary, err = a.NewKey(ctx, mensa, appio.Primary)
			require.NoError(t, err)
			secondary, err = a.NewKey(ctx, mensa, appio.Secondary)
			require.NoError(t, err)
			for _, k := range []string{primary, secondary} {
				require.Len(t, k, 64)
				require.False(t, seen[k])
				seen[k] = true
			}
			keys, err = a.Keys(ctx, mensa)
			require.NoError(t, err)
			require.Equal(t, appio.ServiceKeys{Primary: primary, Secondary: secondary}, keys)
		}
		for k := range seen {
			_, err := w.SenderByKey(ctx, k, noAddr)
			if k == primary || k == secondary {
				require.NoError(t, err)
				continue
			}
			require.ErrorIs(t, err, appio.ErrUnauthorized, "an ended one")
		}
		w.flush()
		require.Len(t, keysOf(t, w.store, "k/"), 4, "two keys, each with its use, and nothing of the others")
		require.Equal(t, "secondary", collect(t, a.History(mensa))[0].Reason)
		for _, r := range recordsOf(t, w.store, "") {
			require.NotContains(t, string(r.Value), primary)
		}

		require.NoError(t, w.PutKey(ctx, mensa, appio.Primary, strings.Repeat("k", 32)))
		keys, err = a.Keys(ctx, mensa)
		require.NoError(t, err)
		require.Equal(t, []string{"", secondary}, []string{keys.Primary, keys.Secondary}, "one that was made elsewhere cannot be shown")
		next, err := a.NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		require.False(t, seen[next], "a generation is not used twice")
		require.NoError(t, a.Delete(ctx, mensa))
		_, err = a.NewKey(ctx, mensa, appio.Primary)
		require.ErrorIs(t, err, appio.ErrConflict)
		_, err = w.SenderByKey(ctx, next, noAddr)
		require.ErrorIs(t, err, appio.ErrUnauthorized)
	})

	t.Run("are of their engine key, and of their store", func(t *testing.T) {
		t.Parallel()
		made := map[string]bool{}
		for range 2 { // two stores with the same engine keys
			w := newOffice(t)
			_, err := w.Authority(comune).PutDraft(ctx, prepared())
			require.NoError(t, err)
			key, err := w.Authority(comune).NewKey(ctx, mensa, appio.Primary)
			require.NoError(t, err)
			made[key] = true
		}
		require.Len(t, made, 2)

		s, ring := memstore.New(), &twoKeys{current: 1}
		open := func() *appio.Engine {
			e, err := appio.New(s, &appio.Options{Keys: ring})
			require.NoError(t, err)
			return e
		}
		e := open()
		_, err := e.Authority(comune).PutDraft(ctx, prepared())
		require.NoError(t, err)
		old, err := e.Authority(comune).NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		require.NoError(t, e.Close())
		ring.current = 2
		e = open()
		defer e.Close()
		fresh, err := e.Authority(comune).NewKey(ctx, mensa, appio.Secondary)
		require.NoError(t, err)
		keys, err := e.Authority(comune).Keys(ctx, mensa)
		require.NoError(t, err)
		require.Equal(t, appio.ServiceKeys{Primary: old, Secondary: fresh}, keys, "each by the engine key that it was made with")
	})

	t.Run("need an engine key", func(t *testing.T) {
		t.Parallel()
		w := newOffice(t, func(o *appio.Options) { o.Keys, o.Plain = nil, true })
		_, err := w.Authority(comune).PutDraft(ctx, prepared())
		require.NoError(t, err)
		_, err = w.Authority(comune).NewKey(ctx, mensa, appio.Primary)
		require.ErrorIs(t, err, appio.ErrUnsupported)
	})

	t.Run("are for those who may administer, of the service's organization", func(t *testing.T) {
		t.Parallel()
		w := newOffice(t)
		_, err := w.Authority(comune).PutDraft(ctx, prepared())
		require.NoError(t, err)
		require.NoError(t, w.Authority(comune).PutMember(ctx, appio.Member{ID: "bruno", Role: appio.Editor}))
		editor, err := w.AuthorityFor(ctx, "bruno", comune)
		require.NoError(t, err)
		for a, want := range map[*appio.Authority]error{editor: appio.ErrForbidden, w.Authority(regione): appio.ErrNotFound} {
			_, err = a.NewKey(ctx, mensa, appio.Primary)
			require.ErrorIs(t, err, want)
			_, err = a.Keys(ctx, mensa)
			require.ErrorIs(t, err, want)
		}
	})
}

// twoKeys is a ring that can be rotated.
type twoKeys struct{ current uint32 }

func (k *twoKeys) Current() (uint32, []byte, error) {
	key, err := k.Key(k.current)
	return k.current, key, err
}

func (k *twoKeys) Key(id uint32) ([]byte, error) {
	return []byte(strings.Repeat(string(rune('0'+id)), 32)), nil
}

// The use of a key is noted once an hour, whatever the calls.
// A key that was used, and ended, after a backup was made does not come again with the next rotation of the store that is restored from it.
func TestEndedKeysDoNotComeBack(t *testing.T) {
	t.Parallel()
	ctx, path, restored := t.Context(), filepath.Join(t.TempDir(), "io.db"), filepath.Join(t.TempDir(), "io.db")
	e, err := appio.Open(path, nil)
	require.NoError(t, err)
	a := e.Authority(comune)
	_, err = a.PutDraft(ctx, prepared())
	require.NoError(t, err)
	kept, err := a.NewKey(ctx, mensa, appio.Primary)
	require.NoError(t, err)
	var backup bytes.Buffer
	require.NoError(t, e.Backup(ctx, &backup))
	ended := map[string]bool{}
	for range 3 {
		k, err := a.NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		ended[k] = true
	}
	require.NoError(t, e.Close())

	require.NoError(t, appio.Restore(ctx, &backup, restored))
	copyKeys(t, path, restored)
	e, err = appio.Open(restored, nil)
	require.NoError(t, err)
	defer e.Close()
	a = e.Authority(comune)
	keys, err := a.Keys(ctx, mensa)
	require.NoError(t, err)
	require.Equal(t, kept, keys.Primary)
	for range 3 {
		k, err := a.NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		require.False(t, ended[k])
	}
}

func TestUseOfKeys(t *testing.T) {
	t.Parallel()
	h := newHookedStore()
	w, ctx := newTownOn(t, h), t.Context()
	a := w.Authority(comune)
	_, err := a.PutDraft(ctx, prepared())
	require.NoError(t, err)
	key, err := a.NewKey(ctx, mensa, appio.Primary)
	require.NoError(t, err)
	commits := make(chan struct{}, 1000)
	h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
		commits <- struct{}{}
		return next(ctx, changes)
	})
	for n := 1; n <= 2; n++ {
		now := w.now().Truncate(time.Microsecond)
		for range 100 {
			_, err = w.SenderByKey(ctx, key, noAddr)
			require.NoError(t, err)
		}
		require.Len(t, commits, n-1, "none for a call")
		w.flush()
		w.flush()
		require.Len(t, commits, n)
		keys, err := a.Keys(ctx, mensa)
		require.NoError(t, err)
		require.False(t, keys.PrimaryUsed.Before(now))
		require.Zero(t, keys.SecondaryUsed)
		w.advance(time.Hour)
	}
	_, err = w.SenderByKey(ctx, key, noAddr)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.Len(t, commits, 3, "the last one, with the end")
}
