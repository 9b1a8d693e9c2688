package appio_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

func bouncing(o *appio.Options) { o.Channels[0].Bounces = true }

// unproved is Giuseppe with an e-mail address that is not validated yet.
func unproved(w *town) (c *appio.Citizen, address string) {
	w.t.Helper()
	c = w.enrol(giuseppe, appio.Auto)
	require.NoError(w.t, c.UpdateProfile(w.t.Context(), func(p *appio.Profile) error {
		p.Addresses[0].ValidatedAt = time.Time{}
		address = p.Addresses[0].ID
		return nil
	}))
	return c, address
}

func (w *town) address(c *appio.Citizen) appio.Address {
	w.t.Helper()
	p, err := c.Profile(w.t.Context())
	require.NoError(w.t, err)
	return p.Addresses[0]
}

func TestValidateAddress(t *testing.T) {
	t.Parallel()

	t.Run("a confirmed address is written to, and the history says how it became that", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c, id := unproved(w)
		require.Equal(t, appio.RuleNotValidated, w.explain(giuseppe, w.send(s, messageTo(giuseppe))).Decision.Channels[0].Rule)
		v, err := c.ValidateAddress(ctx, id)
		require.NoError(t, err)
		require.Equal(t, w.address(c), v.Address)
		require.WithinDuration(t, w.now().Add(appio.ValidationFor), v.ExpiresAt, time.Minute)
		require.Zero(t, w.address(c).ValidatedAt, "to ask is not to prove")

		w.advance(appio.ValidationFor - time.Minute)
		require.NoError(t, w.ConfirmAddress(ctx, v.Token))
		require.WithinDuration(t, w.now(), w.address(c).ValidatedAt, time.Minute)
		w.send(s, messageTo(giuseppe))
		w.flush()
		require.Len(t, w.email.deliveries(), 1)
		h := collect(t, c.Consents())
		require.Equal(t, []any{appio.ValidatedAddress, appio.ByToken}, []any{h[0].What, h[0].By})
		require.Equal(t, []any{appio.AskedValidation, appio.ByCitizen, "cie"}, []any{h[1].What, h[1].By, h[1].Provider})

		require.NoError(t, w.ConfirmAddress(ctx, v.Token), "a link that is followed twice")
		require.Equal(t, h, collect(t, c.Consents()), "and then nothing is changed")
		_, err = c.ValidateAddress(ctx, id)
		require.ErrorIs(t, err, appio.ErrConflict)
	})

	t.Run("after thirty days it is too late", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c, id := unproved(w)
		v, err := c.ValidateAddress(ctx, id)
		require.NoError(t, err)
		w.advance(appio.ValidationFor + time.Second)
		require.ErrorIs(t, w.ConfirmAddress(ctx, v.Token), appio.ErrExpired)
		require.Zero(t, w.address(c).ValidatedAt)
	})

	t.Run("a new token replaces the last, and is not made more often than each minute", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c, id := unproved(w)
		first, err := c.ValidateAddress(ctx, id)
		require.NoError(t, err)
		_, err = c.ValidateAddress(ctx, id)
		require.ErrorIs(t, err, appio.ErrLimited)
		w.advance(time.Minute)
		second, err := c.ValidateAddress(ctx, id)
		require.NoError(t, err)
		require.ErrorIs(t, w.ConfirmAddress(ctx, first.Token), appio.ErrUnauthorized)
		require.NoError(t, w.ConfirmAddress(ctx, second.Token))
	})

	t.Run("whoever enters one address after another is held up after ten", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c, id := unproved(w)
		other := w.enrol(personNumber(7), appio.Auto)
		require.NoError(t, other.UpdateProfile(ctx, func(p *appio.Profile) error { p.Addresses[0].ValidatedAt = time.Time{}; return nil }))
		ask := func(i int) error {
			value := fmt.Sprintf("vittima%d@example.it", i%2)
			require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Addresses[0].Value = value; return nil }))
			_, err := c.ValidateAddress(ctx, id)
			return err
		}
		for i := range 10 {
			require.NoError(t, ask(i))
		}
		err := ask(10)
		require.ErrorIs(t, err, appio.ErrLimited)
		var limited *appio.LimitedError
		require.ErrorAs(t, err, &limited)
		_, err = other.ValidateAddress(ctx, w.address(other).ID)
		require.NoError(t, err, "nobody else is")
		w.advance(limited.After)
		require.NoError(t, ask(12))
		require.ErrorIs(t, ask(13), appio.ErrLimited)
	})

	for name, change := range map[string]func(*appio.Profile){
		"another value":   func(p *appio.Profile) { p.Addresses[0].Value = "altro@example.it" },
		"another channel": func(p *appio.Profile) { p.Addresses[0].Channel = appio.Push },
		"removed":         func(p *appio.Profile) { p.Addresses = p.Addresses[1:] },
		"put in anew":     func(p *appio.Profile) { p.Addresses[0].ID = "" },
	} {
		t.Run("a token is of one address: "+name, func(t *testing.T) {
			t.Parallel()
			w, ctx := newTown(t), t.Context()
			c, id := unproved(w)
			v, err := c.ValidateAddress(ctx, id)
			require.NoError(t, err)
			require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Languages = []string{"en"}; return nil }))
			require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { change(p); return nil }))
			before := collect(t, c.Consents())
			require.ErrorIs(t, w.ConfirmAddress(ctx, v.Token), appio.ErrUnauthorized)
			require.Equal(t, before, collect(t, c.Consents()))
		})
	}

	t.Run("a changed value starts unproved, and a token that is no longer good does not prove it again", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c, id := unproved(w)
		v, err := c.ValidateAddress(ctx, id)
		require.NoError(t, err)
		require.NoError(t, w.ConfirmAddress(ctx, v.Token))
		old := w.address(c).Value
		set := func(value string) {
			require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Addresses[0].Value = value; return nil }))
		}
		set("altro@example.it")
		require.Zero(t, w.address(c).ValidatedAt)
		set(old)
		require.ErrorIs(t, w.ConfirmAddress(ctx, v.Token), appio.ErrUnauthorized)
	})

	t.Run("what is refused says nothing and changes nothing", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, bouncing), t.Context()
		s := w.put()
		c, id := unproved(w)
		v, err := c.ValidateAddress(ctx, id)
		require.NoError(t, err)
		_, err = c.ValidateAddress(ctx, "nobody's")
		require.ErrorIs(t, err, appio.ErrNotFound)
		_, err = w.Citizen(appio.Identity{Code: mario}).ValidateAddress(ctx, id)
		require.ErrorIs(t, err, appio.ErrNotFound)
		require.NotContains(t, fmt.Sprint(v), v.Token)
		require.NotContains(t, fmt.Sprint(v.LogValue()), v.Address.Value)
		require.Equal(t, slog.KindGroup, v.LogValue().Kind())

		w.enrol(mario, appio.Auto)
		w.send(s, messageTo(mario))
		w.flush()
		d := w.email.deliveries()[0]
		elsewhere := newTown(t)
		for _, token := range []string{"", "x", v.Token + "A", v.Token[1:], strings.ToUpper(v.Token), d.Withdraw, d.Bounce} {
			require.ErrorIs(t, w.ConfirmAddress(ctx, token), appio.ErrUnauthorized)
		}
		require.ErrorIs(t, elsewhere.ConfirmAddress(ctx, v.Token), appio.ErrUnauthorized)
		require.ErrorIs(t, w.Withdraw(ctx, v.Token), appio.ErrUnauthorized)
		require.ErrorIs(t, w.Bounced(ctx, v.Token), appio.ErrUnauthorized)
		require.Zero(t, w.address(c).ValidatedAt)

		require.NoError(t, c.Erase(ctx))
		require.ErrorIs(t, w.ConfirmAddress(ctx, v.Token), appio.ErrUnauthorized)
		w.flush()
		require.ErrorIs(t, w.ConfirmAddress(ctx, v.Token), appio.ErrUnauthorized)
	})
}

func TestBounced(t *testing.T) {
	t.Parallel()

	// delivered is what the e-mail channel got for Giuseppe.
	delivered := func(t *testing.T) (*town, *appio.Sender, *appio.Citizen, appio.Delivery) {
		w := newTown(t, bouncing)
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe))
		w.flush()
		return w, s, c, w.email.deliveries()[0]
	}

	t.Run("stops mail until the address is validated anew", func(t *testing.T) {
		t.Parallel()
		ctx := t.Context()
		w, s, c, d := delivered(t)
		waiting := w.send(s, messageTo(giuseppe))
		require.NoError(t, w.Bounced(ctx, d.Bounce))
		w.flush()
		require.Len(t, w.email.deliveries(), 1, "nor what was accepted before")
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeVoid}, w.outcomes(giuseppe, waiting, appio.Email))
		require.Equal(t, appio.RuleNotValidated, w.explain(giuseppe, w.send(s, messageTo(giuseppe))).Decision.Channels[0].Rule)
		last := collect(t, c.Consents())[0]
		require.Equal(t, []any{appio.BouncedAddress, appio.ByChannel}, []any{last.What, last.By})
		require.Equal(t, last.Before, last.After)

		require.NoError(t, w.Bounced(ctx, d.Bounce), "a second report")
		require.Equal(t, last, collect(t, c.Consents())[0])
		w.advance(time.Second)
		v, err := c.ValidateAddress(ctx, d.Address.ID)
		require.NoError(t, err)
		require.NoError(t, w.ConfirmAddress(ctx, v.Token))
		require.NoError(t, w.Bounced(ctx, d.Bounce), "an old report")
		w.send(s, messageTo(giuseppe))
		w.flush()
		require.Len(t, w.email.deliveries(), 2)
	})

	t.Run("ends the token by which the address was validated", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, bouncing), t.Context()
		s := w.put()
		c, id := unproved(w)
		v, err := c.ValidateAddress(ctx, id)
		require.NoError(t, err)
		require.NoError(t, w.ConfirmAddress(ctx, v.Token))
		w.send(s, messageTo(giuseppe))
		w.flush()
		require.NoError(t, w.Bounced(ctx, w.email.deliveries()[0].Bounce))
		require.ErrorIs(t, w.ConfirmAddress(ctx, v.Token), appio.ErrUnauthorized)
	})

	for name, change := range map[string]func(*appio.Profile){
		"another value": func(p *appio.Profile) {
			p.Addresses[0].Value, p.Addresses[0].ValidatedAt = "altro@example.it", time.Now()
		},
		"validated anew":  func(p *appio.Profile) { p.Addresses[0].ValidatedAt = p.Addresses[0].ValidatedAt.Add(time.Second) },
		"not proved":      func(p *appio.Profile) { p.Addresses[0].ValidatedAt = time.Time{} },
		"removed":         func(p *appio.Profile) { p.Addresses = p.Addresses[1:] },
		"put in anew":     func(p *appio.Profile) { p.Addresses[0].ID = "" },
		"same, elsewhere": func(p *appio.Profile) { p.Addresses[0].ID, p.Addresses[0].Value = "x", "altro@example.it" },
	} {
		t.Run("does nothing to an address that is not the same: "+name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			w, _, c, d := delivered(t)
			require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { change(p); return nil }))
			p, err := c.Profile(ctx)
			require.NoError(t, err)
			require.NoError(t, w.Bounced(ctx, d.Bounce))
			q, err := c.Profile(ctx)
			require.NoError(t, err)
			require.Equal(t, p, q)
		})
	}

	t.Run("does nothing to another value that was validated at the same moment", func(t *testing.T) {
		t.Parallel()
		ctx := t.Context()
		w, _, c, d := delivered(t)
		for _, change := range []func(a *appio.Address){
			func(a *appio.Address) { a.Value = "altro@example.it" },
			func(a *appio.Address) { a.ValidatedAt = d.Address.ValidatedAt },
		} {
			require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { change(&p.Addresses[0]); return nil }))
		}
		require.NoError(t, w.Bounced(ctx, d.Bounce))
		require.Equal(t, d.Address.ValidatedAt, w.address(c).ValidatedAt)
	})

	t.Run("does nothing with a forged token, or after an erasure", func(t *testing.T) {
		t.Parallel()
		ctx := t.Context()
		w, _, c, d := delivered(t)
		for _, token := range []string{"", "x", d.Bounce + "A", d.Bounce[1:], strings.ToLower(d.Bounce), d.Withdraw} {
			require.ErrorIs(t, w.Bounced(ctx, token), appio.ErrUnauthorized)
		}
		require.ErrorIs(t, newTown(t).Bounced(ctx, d.Bounce), appio.ErrUnauthorized)
		require.ErrorIs(t, w.Withdraw(ctx, d.Bounce), appio.ErrUnauthorized)
		require.NotZero(t, w.address(c).ValidatedAt)
		require.NoError(t, c.Erase(ctx))
		require.NoError(t, w.Bounced(ctx, d.Bounce))
		w.flush()
		require.NoError(t, w.Bounced(ctx, d.Bounce))
	})

	t.Run("there is no token for who does not ask for it", func(t *testing.T) {
		t.Parallel()
		w := newTown(t)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe))
		w.flush()
		require.Empty(t, w.email.deliveries()[0].Bounce)
		for _, r := range []appio.Route{{Unvalidated: true}, {ByCode: true}} {
			r.Name, r.Channel, r.Bounces = "a", w.email, true
			_, err := appio.New(w.store, &appio.Options{Plain: true, Channels: []appio.Route{r}})
			require.ErrorIs(t, err, appio.ErrInvalid)
		}
	})
}
