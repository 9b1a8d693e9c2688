package appio_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
)

func unique(o *appio.Options) { o.Channels[0].Unique = true }

// at is a person with an e-mail address that is not proved, and the token that would prove it.
func (w *town) at(code fiscalcode.Person, value string) (c *appio.Citizen, token string) {
	w.t.Helper()
	c = w.person(code)
	require.NoError(w.t, c.UpdateProfile(w.t.Context(), func(p *appio.Profile) error {
		p.Addresses = []appio.Address{{ID: "home", Channel: appio.Email, Value: value}}
		return nil
	}))
	v, err := c.ValidateAddress(w.t.Context(), "home")
	require.NoError(w.t, err)
	return c, v.Token
}

func TestUniqueAddress(t *testing.T) {
	t.Parallel()
	taken := func(w *town, c *appio.Citizen, value string) bool {
		taken, err := c.AddressTaken(w.t.Context(), appio.Email, value)
		require.NoError(w.t, err)
		return taken
	}

	t.Run("is proved by the first, and free again when they have another", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, unique), t.Context()
		first, token := w.at(giuseppe, "famiglia@example.it")
		second, other := w.at(matteo, "Famiglia@Example.it")
		require.False(t, taken(w, second, "famiglia@example.it"), "who has not proved it has nothing")
		require.NoError(t, w.ConfirmAddress(ctx, token))
		require.NoError(t, w.ConfirmAddress(ctx, token), "again")
		require.True(t, taken(w, second, "FAMIGLIA@example.it"))
		require.False(t, taken(w, first, "famiglia@example.it"), "not by oneself")
		require.False(t, taken(w, second, "altro@example.it"))
		require.ErrorIs(t, w.ConfirmAddress(ctx, other), appio.ErrTaken)
		require.Zero(t, w.address(second).ValidatedAt)

		w.advance(time.Hour)
		require.ErrorIs(t, w.ConfirmAddress(ctx, other), appio.ErrTaken, "as long as the first has it")
		proved := func(p *appio.Profile) error { p.Addresses[0].ValidatedAt = w.now(); return nil }
		require.ErrorIs(t, second.UpdateProfile(ctx, proved), appio.ErrTaken, "whoever says that it is proved")
		require.NoError(t, first.UpdateProfile(ctx, func(p *appio.Profile) error { p.Languages = []string{"it"}; return nil }))

		require.NoError(t, first.UpdateProfile(ctx, func(p *appio.Profile) error { p.Addresses[0].Value = "nuovo@example.it"; return nil }))
		require.False(t, taken(w, second, "famiglia@example.it"))
		require.NoError(t, w.ConfirmAddress(ctx, other))
		require.NotZero(t, w.address(second).ValidatedAt)
		require.True(t, taken(w, first, "famiglia@example.it"))
		w.sound()
	})

	t.Run("is free again after an erasure, and when mail came back", func(t *testing.T) {
		t.Parallel()
		for _, end := range []func(w *town, c *appio.Citizen) error{
			func(w *town, c *appio.Citizen) error { return c.Erase(w.t.Context()) },
			func(w *town, c *appio.Citizen) error {
				return c.UpdateProfile(w.t.Context(), func(p *appio.Profile) error { p.Addresses[0].ValidatedAt = time.Time{}; return nil })
			},
		} {
			w, ctx := newTown(t, unique), t.Context()
			first, token := w.at(giuseppe, "famiglia@example.it")
			second, other := w.at(matteo, "famiglia@example.it")
			require.NoError(t, w.ConfirmAddress(ctx, token))
			require.NoError(t, end(w, first))
			w.advance(time.Hour)
			require.False(t, taken(w, second, "famiglia@example.it"))
			require.NoError(t, w.ConfirmAddress(ctx, other))
			w.sound()
		}
	})

	t.Run("is one citizen's, however many prove it at once", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, unique), t.Context()
		const people = 8
		for round := range 20 {
			value := string(rune('a'+round)) + "@example.it"
			tokens := make([]string, people)
			for i := range people {
				_, tokens[i] = w.at(personNumber(i), value)
			}
			errs := make([]error, people)
			var wg sync.WaitGroup
			for i := range people {
				wg.Go(func() { errs[i] = w.ConfirmAddress(ctx, tokens[i]) })
			}
			wg.Wait()
			proved := 0
			for i, err := range errs {
				if !w.address(w.person(personNumber(i))).ValidatedAt.IsZero() {
					require.NoError(t, err)
					proved++
				} else {
					require.ErrorIs(t, err, appio.ErrTaken)
				}
			}
			require.Equal(t, 1, proved)
			w.advance(time.Hour)
		}
		w.sound()
	})

	t.Run("is shared where the route does not say so", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		_, token := w.at(giuseppe, "famiglia@example.it")
		second, other := w.at(matteo, "famiglia@example.it")
		require.NoError(t, w.ConfirmAddress(ctx, token))
		require.False(t, taken(w, second, "famiglia@example.it"))
		require.NoError(t, w.ConfirmAddress(ctx, other))
		require.Empty(t, keysOf(t, w.store, "e/"))
	})

	t.Run("leaves nothing behind but for as long as somebody has it", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, unique), t.Context()
		first, token := w.at(giuseppe, "famiglia@example.it")
		require.NoError(t, w.ConfirmAddress(ctx, token))
		for range 3 {
			w.advance(91 * 24 * time.Hour)
			w.flush()
			require.Len(t, keysOf(t, w.store, "e/"), 1)
		}
		require.NoError(t, first.Erase(ctx))
		w.advance(91 * 24 * time.Hour)
		w.flush()
		require.Empty(t, keysOf(t, w.store, "e/"))
		w.sound()
	})

	t.Run("a profile that is changed too late takes it again", func(t *testing.T) {
		t.Parallel()
		h := newHookedStore()
		w, ctx := newTownOn(t, h, unique), t.Context()
		other := newTownOn(t, h.Store, unique)
		first, token := w.at(giuseppe, "famiglia@example.it")
		second, theirs := other.at(matteo, "famiglia@example.it")
		// This process stands still between the two changes for longer than what was taken holds by itself.
		var once sync.Once
		h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			errs, err := next(ctx, changes)
			if strings.HasPrefix(string(changes[0].Owner), "e/") {
				once.Do(func() {
					w.advance(11 * time.Minute)
					other.advance(11 * time.Minute)
					require.NoError(t, other.ConfirmAddress(ctx, theirs))
				})
			}
			return errs, err
		})
		require.ErrorIs(t, w.ConfirmAddress(ctx, token), appio.ErrTaken)
		require.Zero(t, w.address(first).ValidatedAt)
		require.NotZero(t, other.address(second).ValidatedAt)
	})
}
