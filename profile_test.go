package appio_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

func TestUpdateProfile(t *testing.T) {
	t.Parallel()

	t.Run("is retried until nothing came between, so that no update is lost", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		before, err := c.Profile(ctx)
		require.NoError(t, err)
		const writers, each = 6, 5
		errs := make([]error, writers)
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				for j := range each {
					errs[i] = errors.Join(errs[i], w.person(giuseppe).UpdateProfile(ctx, func(p *appio.Profile) error {
						p.Addresses = append(p.Addresses, appio.Address{Channel: appio.Push, Value: fmt.Sprintf("token-%d-%d", i, j)})
						return nil
					}))
				}
			})
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		require.Equal(t, before.Version+writers*each, p.Version)
		values, ids := map[string]bool{}, map[string]bool{}
		for _, a := range p.Addresses {
			values[a.Value], ids[a.ID] = true, true
		}
		require.Len(t, values, 2+writers*each)
		require.Len(t, ids, 2+writers*each)
	})

	inBubble(t, "sees what came between, and gives up when that has no end", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		calls := 0
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
			if calls++; calls == 1 {
				require.Empty(t, p.Languages)
				if err := c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Languages = []string{"it"}; return nil }); err != nil {
					return err
				}
			}
			p.Languages = append(p.Languages, "de")
			return nil
		}))
		require.Equal(t, 2, calls)
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		require.Equal(t, []string{"it", "de"}, p.Languages)

		calls = 0
		require.ErrorIs(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
			calls++
			p.Inbox = false
			return c.UpdateProfile(ctx, func(p *appio.Profile) error { return nil })
		}), appio.ErrBusy)
		require.Equal(t, 17, calls)
		p, err = c.Profile(ctx)
		require.NoError(t, err)
		require.True(t, p.Inbox)
	})

	t.Run("does not bring back what was erased in between", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		for range 2 { // the new life is made as long as the old one, too
			calls := 0
			require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
				if calls++; calls > 1 {
					return nil
				}
				if err := c.Erase(ctx); err != nil {
					return err
				}
				w.flush()
				version := p.Version
				for range version {
					if err := c.UpdateProfile(ctx, func(*appio.Profile) error { return nil }); err != nil {
						return err
					}
				}
				return nil
			}))
			require.Equal(t, 2, calls)
			p, err := c.Profile(ctx)
			require.NoError(t, err)
			require.Equal(t, appio.Undecided, p.Mode)
			require.Empty(t, p.Addresses)
		}
	})

	t.Run("the caller's error ends it, and nothing is changed", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		before, err := c.Profile(ctx)
		require.NoError(t, err)
		mine := errors.New("mine")
		require.ErrorIs(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Inbox = false
			p.Addresses[0].Value = "changed"
			p.Channels[appio.Email] = appio.None
			return mine
		}), mine)
		after, err := c.Profile(ctx)
		require.NoError(t, err)
		require.Equal(t, before, after)
	})

	t.Run("what is the engine's to set cannot be set", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
			p.SettingsVersion, p.Version = 70, 700
			return nil
		}))
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		require.Equal(t, 1, p.SettingsVersion)
		require.Equal(t, 3, p.Version)
	})

	t.Run("what an app does by itself is told from what the citizen chooses, whatever the route of push is", func(t *testing.T) {
		t.Parallel()
		for _, route := range []func(o *appio.Options){
			func(o *appio.Options) { o.Channels = o.Channels[:1] },
			func(o *appio.Options) { o.Channels[1].ByCode, o.Channels[1].Unvalidated = true, false },
		} {
			w, ctx := newTown(t, route), t.Context()
			c := w.person(giuseppe)
			for _, channel := range []string{appio.Push, appio.Email} {
				require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
					p.Addresses = append(p.Addresses, appio.Address{Channel: channel, Value: "somewhere"})
					return nil
				}))
			}
			p, err := c.Profile(ctx)
			require.NoError(t, err)
			require.Equal(t, []int{2, 1}, []int{p.Version, p.Moves})
		}
		w, ctx := newTown(t), t.Context()
		c := w.person(giuseppe)
		chosen := func() int {
			p, err := c.Profile(ctx)
			require.NoError(t, err)
			return p.Version - p.Moves
		}
		update := func(f func(p *appio.Profile)) int {
			require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { f(p); return nil }))
			return chosen()
		}
		require.Zero(t, update(func(p *appio.Profile) {
			p.Addresses = []appio.Address{{ID: "app", Channel: appio.Push, Value: "token-1"}}
		}), "the first that is kept of a person")
		require.Equal(t, 1, update(func(p *appio.Profile) {
			p.Addresses = append(p.Addresses, appio.Address{ID: "home", Channel: appio.Email, Value: "casa@example.it"})
		}))
		require.Equal(t, 1, update(func(p *appio.Profile) { p.Addresses[0].Value = "token-2" }))
		_, err := c.ValidateAddress(ctx, "home")
		require.NoError(t, err)
		require.Equal(t, 1, chosen())
		require.Equal(t, 2, update(func(p *appio.Profile) { p.Addresses[0].Value, p.Languages = "token-3", []string{"it"} }), "and something else")
		require.Equal(t, 3, update(func(p *appio.Profile) { p.App.Shown = appio.On(appio.Push) }))
		require.Equal(t, 4, update(func(p *appio.Profile) {}), "nothing at all, which is no move")
		require.Equal(t, 4, update(func(p *appio.Profile) { p.Addresses = p.Addresses[1:] }))
		require.Equal(t, 5, update(func(p *appio.Profile) { p.Addresses[0].Value = "lavoro@example.it" }))
		require.Equal(t, 6, update(func(p *appio.Profile) { p.Addresses = nil }))
	})

	t.Run("what an app keeps comes back, and is bounded", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.person(giuseppe)
		app := appio.AppSettings{Terms: "2.4", Version: "2.14.0.1", RemindersAsked: true, Shown: appio.Channels{appio.Push: appio.Generic}}
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { p.App = app; return nil }))
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		require.Equal(t, app, p.App)
		for _, set := range []func(*appio.AppSettings){
			func(a *appio.AppSettings) { a.Terms = strings.Repeat("1", 101) },
			func(a *appio.AppSettings) { a.Version = "\xff" },
			func(a *appio.AppSettings) { a.Shown = appio.Channels{"No Name": appio.Full} },
		} {
			require.ErrorIs(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { set(&p.App); return nil }), appio.ErrInvalid)
		}
	})

	t.Run("an address with another value starts unproved", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		proved := time.Date(2026, 5, 1, 12, 0, 0, 123_456_789, time.UTC)
		update := func(f func(a *appio.Address)) appio.Address {
			require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { f(&p.Addresses[0]); return nil }))
			p, err := c.Profile(ctx)
			require.NoError(t, err)
			return p.Addresses[0]
		}
		require.False(t, update(func(a *appio.Address) {}).ValidatedAt.IsZero())
		require.Zero(t, update(func(a *appio.Address) { a.Value = "lavoro@example.it" }).ValidatedAt)
		require.Equal(t, proved.Truncate(time.Microsecond), update(func(a *appio.Address) { a.ValidatedAt = proved }).ValidatedAt)
		require.Zero(t, update(func(a *appio.Address) { a.Channel = "pec" }).ValidatedAt, "another channel is another address")
		require.Equal(t, proved.Add(time.Hour).Truncate(time.Microsecond),
			update(func(a *appio.Address) { a.Value, a.ValidatedAt = "casa@example.it", proved.Add(time.Hour) }).ValidatedAt,
			"unless it was proved since")
	})

	t.Run("its limits", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		addresses := func(n int) []appio.Address {
			as := make([]appio.Address, n)
			for i := range as {
				as[i] = appio.Address{Channel: appio.Push, Value: fmt.Sprint("token-", i)}
			}
			return as
		}
		one := func(a appio.Address) func(*appio.Profile) {
			return func(p *appio.Profile) {
				p.Addresses = []appio.Address{{ID: "first", Channel: appio.Push, Value: "token"}, a}
			}
		}
		for i, c := range []struct {
			field string // empty: it is valid
			value string
			set   func(*appio.Profile)
		}{
			{"", "", func(p *appio.Profile) { p.Addresses = addresses(50) }},
			{"Addresses", "token", func(p *appio.Profile) { p.Addresses = addresses(51) }},
			{"", "", one(appio.Address{ID: strings.Repeat("i", 100), Channel: appio.Email, Value: strings.Repeat("v", 2000)})},
			{"Addresses[1].ID", "iii", one(appio.Address{ID: strings.Repeat("i", 101), Channel: appio.Email, Value: "v"})},
			{"Addresses[1].ID", "first", one(appio.Address{ID: "first", Channel: appio.Email, Value: "v"})},
			{"Addresses[1].Channel", "xyZZy", one(appio.Address{Channel: "xyZZy", Value: "v"})},
			{"Addresses[1].Channel", "", one(appio.Address{Value: "v"})},
			{"Addresses[1].Value", "", one(appio.Address{Channel: appio.Email})},
			{"Addresses[1].Value", "vvv", one(appio.Address{Channel: appio.Email, Value: strings.Repeat("v", 2001)})},
			{"Addresses[1].Value", "xyzzy", one(appio.Address{Channel: appio.Email, Value: "xyzzy\r\nBcc: x"})},
			{"Addresses[1].Value", "xyzzy", one(appio.Address{Channel: appio.Email, Value: "xyzzy\x7f"})},
			{"", "", func(p *appio.Profile) {
				p.Languages = []string{"it", "de-AT", "en", "es", "fr", "sl", "sc", "fur", "lld", strings.Repeat("xxxxxxxx-", 3) + "xxxxxxxx"}
			}},
			{"Languages", "it", func(p *appio.Profile) { p.Languages = strings.Split(strings.Repeat("it,", 10)+"it", ",") }},
			{"Languages[1]", "q", func(p *appio.Profile) { p.Languages = []string{"it", "q"} }},
			{"Languages[0]", "xxx", func(p *appio.Profile) { p.Languages = []string{strings.Repeat("xxxxxxxx-", 3) + "xxxxxxx-x"} }},
			{"Languages[0]", "it--", func(p *appio.Profile) { p.Languages = []string{"it--IT"} }},
			{"Languages[0]", "it_IT", func(p *appio.Profile) { p.Languages = []string{"it_IT"} }},
		} {
			p := w.person(personNumber(i))
			err := p.UpdateProfile(ctx, func(p *appio.Profile) error { c.set(p); return nil })
			got, readErr := p.Profile(ctx)
			require.NoError(t, readErr)
			if c.field != "" {
				requireField(t, err, c.field, c.value)
				require.Zero(t, got, "nothing is written")
				continue
			}
			require.NoError(t, err)
			require.Equal(t, 1, got.Version)
		}
	})

	t.Run("what a caller does to a profile it was given changes nothing", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		kept, err := json.Marshal(p)
		require.NoError(t, err)
		p.Channels[appio.Email], p.Addresses[0].Value = appio.None, "changed"
		p, err = c.Profile(ctx)
		require.NoError(t, err)
		again, err := json.Marshal(p)
		require.NoError(t, err)
		require.Equal(t, string(kept), string(again))
	})

	t.Run("a context that has ended changes nothing", func(t *testing.T) {
		t.Parallel()
		w := newTown(t)
		c := w.enrol(giuseppe, appio.Auto)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, c.SetMode(ctx, appio.Manual), context.Canceled)
		p, err := c.Profile(t.Context())
		require.NoError(t, err)
		require.Equal(t, appio.Auto, p.Mode)
	})
}
