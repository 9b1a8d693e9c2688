package appio_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
)

func TestRetry(t *testing.T) {
	t.Parallel()

	// tries answers with each of errs in turn, then agrees, and notes when it was asked.
	tries := func(p *postbox, errs ...error) (at *[]time.Duration, ds *[]appio.Delivery) {
		at, ds = &[]time.Duration{}, &[]appio.Delivery{}
		start := time.Now()
		p.answer = func(_ context.Context, d appio.Delivery) error {
			n := len(*at)
			*at, *ds = append(*at, time.Since(start)), append(*ds, d)
			if n < len(errs) {
				return errs[n]
			}
			return nil
		}
		return at, ds
	}
	// requireAt requires each to be at its time or the second after, in which due work is looked for.
	requireAt := func(t *testing.T, want, got []time.Duration) {
		t.Helper()
		require.Len(t, got, len(want))
		for i := range want {
			require.GreaterOrEqual(t, got[i], want[i])
			require.Less(t, got[i], want[i]+1100*time.Millisecond)
		}
	}
	setup := func(t *testing.T, changes ...func(*appio.Options)) (*town, *appio.Sender) {
		w := newTown(t, changes...)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		return w, s
	}
	long := func(m *appio.Message) { m.TimeToLive = 7 * 24 * time.Hour }

	inBubble(t, "comes after the backoff, with the same id and one attempt more", func(t *testing.T) {
		w, s := setup(t, func(o *appio.Options) {
			o.Backoff = func(n int) time.Duration { return time.Duration(n) * time.Minute }
		})
		at, ds := tries(w.email, errProvider, errProvider, errProvider)
		end := w.run()
		id := w.send(s, messageTo(giuseppe, long))
		time.Sleep(time.Hour)
		requireAt(t, []time.Duration{0, time.Minute, 3 * time.Minute, 6 * time.Minute}, *at)
		for i, d := range *ds {
			require.Equal(t, i+1, d.Attempt)
			require.Equal(t, (*ds)[0].ID, d.ID)
			require.Equal(t, (*ds)[0].ExpiresAt, d.ExpiresAt)
		}
		o := w.explain(giuseppe, id).Outcomes
		require.Len(t, o, 2)
		require.Equal(t, appio.DeliveryOutcome{ID: (*ds)[0].ID, Channel: appio.Email, Result: appio.OutcomeDelivered, At: o[1].At, Attempts: 4}, o[1])
		require.Len(t, w.push.deliveries(), 1, "the other channel's was delivered once")
		end()
	})

	inBubble(t, "by default comes within an hour, and ever later", func(t *testing.T) {
		w, s := setup(t, func(o *appio.Options) { o.Backoff = nil })
		errs := make([]error, 9)
		for i := range errs {
			errs[i] = errProvider
		}
		at, _ := tries(w.email, errs...)
		end := w.run()
		w.send(s, messageTo(giuseppe, long))
		time.Sleep(10 * time.Hour)
		require.Len(t, *at, 10)
		for i := range errs {
			require.LessOrEqual(t, (*at)[i+1]-(*at)[i], time.Second<<(i+1)+2*time.Second)
		}
		end()
	})

	inBubble(t, "is not before the time that the provider asked for", func(t *testing.T) {
		w, s := setup(t)
		at, _ := tries(w.email, appio.RetryAfter(10*time.Minute, errProvider), appio.RetryAfter(time.Second, errProvider),
			fmt.Errorf("wrapped: %w", appio.RetryAfter(5*time.Minute, errProvider)), appio.RetryAfter(-time.Hour, nil))
		end := w.run()
		w.send(s, messageTo(giuseppe, long))
		time.Sleep(time.Hour)
		requireAt(t, []time.Duration{0, 10 * time.Minute, 11 * time.Minute, 16 * time.Minute, 17 * time.Minute}, *at)
		end()
	})

	inBubble(t, "ends after so many attempts: the delivery is parked with its cause", func(t *testing.T) {
		w, s := setup(t, func(o *appio.Options) { o.MaxAttempts = 3 })
		w.email.answer = func(_ context.Context, d appio.Delivery) error {
			return fmt.Errorf("no mailbox %s at %s %s: %s", d.Address.Value, d.Address.Value, d.Withdraw, strings.Repeat("è", 300))
		}
		end := w.run()
		id := w.send(s, messageTo(giuseppe, long))
		time.Sleep(10 * time.Minute)
		ps := w.parked()
		require.Len(t, ps, 1)
		p := ps[0]
		require.Equal(t, 3, p.Attempts)
		require.Equal(t, appio.Email, p.Channel)
		require.Equal(t, mensa, p.Service)
		require.Equal(t, id, p.Message)
		require.True(t, strings.HasPrefix(p.Cause, "no mailbox *** at *** ***: èè"), p.Cause)
		require.LessOrEqual(t, len(p.Cause), 200)
		require.Greater(t, len(p.Cause), 190)
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeParked}, w.outcomes(giuseppe, id, appio.Email))
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeDelivered}, w.outcomes(giuseppe, id, appio.Push))
		require.Equal(t, p.Cause, w.explain(giuseppe, id).Outcomes[1].Cause)
		require.Empty(t, openWork(t, w.store))
		end()
	})

	inBubble(t, "of a permanent error there is none", func(t *testing.T) {
		for _, err := range []error{appio.Permanent(errProvider), fmt.Errorf("x: %w", appio.Permanent(errProvider)), appio.Permanent(nil)} {
			w, s := setup(t)
			at, _ := tries(w.email, err)
			id := w.send(s, messageTo(giuseppe, long))
			w.flush()
			require.Len(t, *at, 1)
			require.Len(t, w.parked(), 1)
			require.Equal(t, err.Error(), w.parked()[0].Cause)
			require.Equal(t, 1, w.parked()[0].Attempts)
			require.Equal(t, []appio.OutcomeResult{appio.OutcomeParked}, w.outcomes(giuseppe, id, appio.Email))
			w.advance(24 * time.Hour)
			require.Zero(t, w.flush())
		}
	})

	inBubble(t, "there is none once the time to live has passed", func(t *testing.T) {
		w, s := setup(t, func(o *appio.Options) { o.Backoff = func(int) time.Duration { return 25 * time.Minute } })
		w.email.answer = func(context.Context, appio.Delivery) error { return errProvider }
		end := w.run()
		short := w.send(s, messageTo(giuseppe))
		time.Sleep(51 * time.Minute)
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeExpired}, w.outcomes(giuseppe, short, appio.Email), "the next would be too late")
		time.Sleep(2 * time.Hour)
		o := w.explain(giuseppe, short).Outcomes
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeExpired}, w.outcomes(giuseppe, short, appio.Email))
		require.Equal(t, 3, o[1].Attempts, "at 0, 25 and 50 minutes")
		require.Equal(t, errProvider.Error(), o[1].Cause)
		require.Empty(t, w.parked())
		require.Empty(t, openWork(t, w.store))
		end()
	})

	t.Run("what nobody took before its time to live passed is not tried", func(t *testing.T) {
		t.Parallel()
		w, s := setup(t)
		expired := w.send(s, messageTo(giuseppe))
		standing := w.send(s, messageTo(giuseppe, func(m *appio.Message) { m.TimeToLive = 2 * time.Hour }))
		w.advance(time.Hour + time.Minute)
		require.Equal(t, 2, w.flush())
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeExpired}, w.outcomes(giuseppe, expired, appio.Email))
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeExpired}, w.outcomes(giuseppe, expired, appio.Push))
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeDelivered}, w.outcomes(giuseppe, standing, appio.Email))
		require.Len(t, collect(t, w.person(giuseppe).Inbox(nil)), 2, "the inbox has it in any case")
	})
}

func TestGone(t *testing.T) {
	t.Parallel()

	t.Run("the address is out of the profile when a flush returns", func(t *testing.T) {
		t.Parallel()
		h := newHookedStore()
		w, ctx := newTownOn(t, h), t.Context()
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		w.push.answer = func(context.Context, appio.Delivery) error { return appio.Gone(errProvider) }
		h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			if slices.ContainsFunc(changes, func(c store.Change) bool {
				return slices.ContainsFunc(c.Put, func(r store.Record) bool { return r.Key == "P" })
			}) {
				time.Sleep(50 * time.Millisecond) // longer than what comes after the outcome
			}
			return next(ctx, changes)
		})
		w.send(s, messageTo(giuseppe))
		w.flush()
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		require.False(t, slices.ContainsFunc(p.Addresses, func(a appio.Address) bool { return a.Channel == appio.Push }))
	})

	inBubble(t, "removes the address, with an event in the history", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		before, err := c.Profile(ctx)
		require.NoError(t, err)
		w.push.answer = func(context.Context, appio.Delivery) error { return appio.Gone(errProvider) }
		id := w.send(s, messageTo(giuseppe))
		w.flush()
		synctest.Wait()
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeGone}, w.outcomes(giuseppe, id, appio.Push))
		require.Empty(t, w.parked())
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		before.Addresses, before.Version, before.Moves = before.Addresses[:1], before.Version+1, before.Moves+1
		require.Equal(t, before, p, "and nothing else")
		last := collect(t, c.Consents())[0]
		require.Equal(t, appio.RemovedAddress, last.What)
		require.Equal(t, appio.ByChannel, last.By)
		require.Equal(t, last.Before, last.After)

		id = w.send(s, messageTo(giuseppe))
		require.Equal(t, appio.RuleNoAddress, w.explain(giuseppe, id).Decision.Channels[1].Rule)
	})

	inBubble(t, "leaves an address that took its place", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		w.push.answer = func(ctx context.Context, d appio.Delivery) error {
			if d.Address.Value == "token-8" {
				return nil
			}
			if err := c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Addresses[1].Value = "token-8"; return nil }); err != nil {
				return err
			}
			return appio.Gone(errProvider)
		}
		w.send(s, messageTo(giuseppe))
		w.flush()
		synctest.Wait()
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		require.Len(t, p.Addresses, 2)
		require.Equal(t, "token-8", p.Addresses[1].Value)
	})

	inBubble(t, "of a route by code removes nothing", func(t *testing.T) {
		w, ctx := newTown(t, func(o *appio.Options) { o.Channels[1].ByCode = true }), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		w.push.answer = func(context.Context, appio.Delivery) error { return appio.Gone(errProvider) }
		id := w.send(s, messageTo(giuseppe))
		w.flush()
		synctest.Wait()
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeGone}, w.outcomes(giuseppe, id, appio.Push))
		p, err := c.Profile(ctx)
		require.NoError(t, err)
		require.Len(t, p.Addresses, 2)
	})
}
