package appio_test

import (
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	nowhere := netip.Addr{}

	t.Run("a service has two, and each works", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		w.enrol(giuseppe, appio.Auto)
		primary, err := w.NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		secondary, err := w.NewKey(ctx, mensa, appio.Secondary)
		require.NoError(t, err)
		require.NotEqual(t, primary, secondary)
		for _, key := range []string{primary, secondary} {
			require.GreaterOrEqual(t, len(key), 32)
			s, err := w.SenderByKey(ctx, key, nowhere)
			require.NoError(t, err)
			require.Equal(t, mensa, s.ID())
			w.send(s, messageTo(giuseppe))
		}
		_, err = w.NewKey(ctx, mensa, 2)
		requireField(t, err, "KeySlot", "")
		_, err = w.NewKey(ctx, mensa, -1)
		requireField(t, err, "KeySlot", "")
	})

	t.Run("an unknown one is unauthorized", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		for _, key := range []string{"", "short", strings.Repeat("0", 64), strings.Repeat("x", 10_000)} {
			_, err := w.SenderByKey(ctx, key, nowhere)
			require.ErrorIs(t, err, appio.ErrUnauthorized)
		}
	})

	t.Run("a new one ends the one before at once, and not the other", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		w.enrol(giuseppe, appio.Auto)
		old, err := w.NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		other, err := w.NewKey(ctx, mensa, appio.Secondary)
		require.NoError(t, err)
		before, err := w.SenderByKey(ctx, old, nowhere)
		require.NoError(t, err)
		beside, err := w.SenderByKey(ctx, other, nowhere)
		require.NoError(t, err)
		id := w.send(before, messageTo(giuseppe))

		fresh, err := w.NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		_, err = w.SenderByKey(ctx, old, nowhere)
		require.ErrorIs(t, err, appio.ErrUnauthorized)
		_, err = w.SenderByKey(ctx, fresh, nowhere)
		require.NoError(t, err)
		w.send(beside, messageTo(giuseppe))

		_, err = before.Send(ctx, messageTo(giuseppe))
		require.ErrorIs(t, err, appio.ErrUnauthorized, "a sender made before")
		_, err = before.Status(ctx, giuseppe, id)
		require.ErrorIs(t, err, appio.ErrUnauthorized)
		_, err = before.CanContact(ctx, giuseppe)
		require.ErrorIs(t, err, appio.ErrUnauthorized)
		require.ErrorIs(t, before.Activate(ctx, giuseppe, appio.Active, time.Time{}), appio.ErrUnauthorized)
	})

	t.Run("putting the service again leaves them", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		key, err := w.NewKey(ctx, mensa, appio.Secondary)
		require.NoError(t, err)
		w.put(func(s *appio.Service) { s.Name = "Mensa e merende" })
		_, err = w.SenderByKey(ctx, key, nowhere)
		require.NoError(t, err)
	})

	t.Run("one made elsewhere can be put, again too, but is one service's and one slot's", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		w.put(func(s *appio.Service) { s.ID = "tari" })
		key := strings.Repeat("k", 16)
		require.NoError(t, w.PutKey(ctx, mensa, appio.Primary, key))
		require.NoError(t, w.PutKey(ctx, mensa, appio.Primary, key))
		require.ErrorIs(t, w.PutKey(ctx, mensa, appio.Secondary, key), appio.ErrConflict)
		require.ErrorIs(t, w.PutKey(ctx, "tari", appio.Primary, key), appio.ErrConflict)
		s, err := w.SenderByKey(ctx, key, nowhere)
		require.NoError(t, err)
		require.Equal(t, mensa, s.ID())

		require.NoError(t, w.PutKey(ctx, mensa, appio.Primary, strings.Repeat("n", 200)))
		require.NoError(t, w.PutKey(ctx, "tari", appio.Secondary, key), "it was given up")
		s, err = w.SenderByKey(ctx, key, nowhere)
		require.NoError(t, err)
		require.Equal(t, appio.ServiceID("tari"), s.ID())

		requireField(t, w.PutKey(ctx, mensa, appio.Primary, strings.Repeat("s", 15)), "Key", "sss")
		requireField(t, w.PutKey(ctx, mensa, appio.Primary, strings.Repeat("s", 201)), "Key", "sss")
	})

	t.Run("is not in the store", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, func(o *appio.Options) { o.Plain = true }), t.Context()
		w.put()
		key := "a-key-that-can-be-found"
		require.NoError(t, w.PutKey(ctx, mensa, appio.Primary, key))
		for _, r := range recordsOf(t, w.store, "") {
			require.NotContains(t, string(r.Owner)+string(r.Key)+string(r.Value), key)
		}
	})

	t.Run("works from the service's prefixes only", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.enrol(giuseppe, appio.Auto)
		w.put(func(s *appio.Service) {
			s.Prefixes = []netip.Prefix{
				netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.7/32"), netip.MustParsePrefix("2001:db8::/32"),
				netip.MustParsePrefix("::ffff:203.0.113.0/120"), // 203.0.113.0/24
			}
		})
		key, err := w.NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		for addr, allowed := range map[string]bool{
			"192.0.2.1": true, "192.0.2.255": true, "192.0.3.1": false, "::ffff:192.0.2.1": true, "::ffff:192.0.3.1": false,
			"198.51.100.7": true, "198.51.100.8": false, "2001:db8::1": true, "2001:db8::1%eth0": true, "2001:db9::1": false,
			"127.0.0.1": false, "::1": false, "203.0.113.9": true, "::ffff:203.0.113.9": true, "203.0.114.9": false,
		} {
			s, err := w.SenderByKey(ctx, key, netip.MustParseAddr(addr))
			if !allowed {
				require.ErrorIs(t, err, appio.ErrForbidden, addr)
				continue
			}
			require.NoError(t, err, addr)
			w.send(s, messageTo(giuseppe))
		}
		inside, err := w.SenderByKey(ctx, key, netip.MustParseAddr("192.0.2.1"))
		require.NoError(t, err)
		_, err = w.SenderByKey(ctx, key, nowhere)
		require.NoError(t, err, "an address that is not given is not checked")

		w.put(func(s *appio.Service) { s.Prefixes = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} })
		_, err = inside.Send(ctx, messageTo(giuseppe))
		require.ErrorIs(t, err, appio.ErrForbidden, "the prefixes are read again")
		w.send(w.Sender(mensa), messageTo(giuseppe))

		w.put(func(s *appio.Service) { s.Prefixes = nil })
		w.send(inside, messageTo(giuseppe))
	})

	t.Run("only one of many set at once is left in the slot", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.put()
		keys := make([]string, 8)
		errs := make([]error, len(keys))
		var wg sync.WaitGroup
		for i := range keys {
			wg.Go(func() { keys[i], errs[i] = w.NewKey(ctx, mensa, appio.Primary) })
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
		valid := 0
		for _, key := range keys {
			if _, err := w.SenderByKey(ctx, key, nowhere); err == nil {
				valid++
			} else {
				require.ErrorIs(t, err, appio.ErrUnauthorized)
			}
		}
		require.Equal(t, 1, valid)
	})
}
