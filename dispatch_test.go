package appio_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/alone"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// inBubble runs a test whose timers take no time.
func inBubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, test)
	})
}

// newGate is a channel that is closed by open, or when the test ends.
func newGate(t *testing.T) (gate chan struct{}, open func()) {
	gate = make(chan struct{})
	open = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(open)
	return gate, open
}

var errProvider = errors.New("provider down")

func TestRun(t *testing.T) {
	t.Parallel()

	inBubble(t, "takes what is sent at once", func(t *testing.T) {
		w := newTown(t)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		time.Sleep(100 * time.Millisecond)
		for i := range 3 {
			sent := time.Now()
			id := w.send(s, messageTo(giuseppe))
			synctest.Wait()
			require.Zero(t, time.Since(sent))
			require.Len(t, w.email.deliveries(), i+1)
			require.Len(t, w.push.deliveries(), i+1)
			require.Len(t, w.explain(giuseppe, id).Outcomes, 2)
		}
		require.Empty(t, openWork(t, w.store))
		end()
	})

	inBubble(t, "takes what was sent before it within a second", func(t *testing.T) {
		w := newTown(t)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe))
		w.advance(30 * time.Minute)
		end := w.run()
		time.Sleep(time.Second)
		require.Len(t, w.email.deliveries(), 1)
		require.Len(t, w.push.deliveries(), 1)
		end()
	})

	inBubble(t, "takes what another engine on the store sent within a second", func(t *testing.T) {
		w := newTown(t)
		elsewhere := newTownOn(t, w.store)
		s := elsewhere.put()
		elsewhere.enrol(giuseppe, appio.Auto)
		end := w.run()
		time.Sleep(time.Second)
		elsewhere.send(s, messageTo(giuseppe))
		time.Sleep(time.Second + 50*time.Millisecond)
		require.Len(t, w.email.deliveries(), 1)
		require.Empty(t, elsewhere.email.deliveries())
		end()
	})

	inBubble(t, "one at a time", func(t *testing.T) {
		w := newTown(t)
		end := w.run()
		synctest.Wait()
		require.ErrorIs(t, w.Run(t.Context()), appio.ErrConflict)
		end()
		end = w.run()
		synctest.Wait()
		end()
	})

	inBubble(t, "with a context that has ended returns nil", func(t *testing.T) {
		w := newTown(t)
		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, w.PutService(ctx, newService()))
		cancel()
		require.NoError(t, w.Run(ctx))
	})

	inBubble(t, "waits for what is under way when its context ends", func(t *testing.T) {
		w := newTown(t)
		var cancelled atomic.Bool
		w.email.answer = func(ctx context.Context, d appio.Delivery) error {
			select {
			case <-ctx.Done():
				cancelled.Store(true)
			case <-time.After(10 * time.Second):
			}
			return nil
		}
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		time.Sleep(100 * time.Millisecond)
		id := w.send(s, messageTo(giuseppe))
		synctest.Wait()
		start := time.Now()
		end()
		require.Equal(t, 10*time.Second, time.Since(start))
		require.False(t, cancelled.Load())
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeDelivered}, w.outcomes(giuseppe, id, appio.Email))
	})

	inBubble(t, "then ends the contexts of what takes longer than the drain", func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) { o.Drain = 3 * time.Second })
		w.email.answer = func(ctx context.Context, d appio.Delivery) error { <-ctx.Done(); return context.Cause(ctx) }
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		time.Sleep(100 * time.Millisecond)
		id := w.send(s, messageTo(giuseppe))
		synctest.Wait()
		start := time.Now()
		end()
		require.Equal(t, 3*time.Second, time.Since(start))
		require.Empty(t, w.outcomes(giuseppe, id, appio.Email))

		w.email.answer = nil
		w.advance(2 * time.Minute)
		require.Equal(t, 1, w.flush(), "it is tried again by who comes next")
		require.Equal(t, 1, w.email.deliveries()[0].Attempt, "it was not the channel's fault")
	})

	inBubble(t, "leaves what is stored after it has returned to who comes next", func(t *testing.T) {
		h := newHookedStore()
		w := newTownOn(t, alone.Store{Store: h}, func(o *appio.Options) { o.Drain = time.Second })
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		synctest.Wait()
		release := h.holdNext()
		done := make(chan error, 1)
		go func() {
			_, err := s.Send(context.Background(), messageTo(giuseppe)) // Run has room for it
			done <- err
		}()
		synctest.Wait()
		end()
		release()
		require.NoError(t, <-done)
		time.Sleep(time.Second)
		require.Empty(t, append(w.email.deliveries(), w.push.deliveries()...))

		defer w.run()()
		time.Sleep(time.Second)
		require.Len(t, append(w.email.deliveries(), w.push.deliveries()...), 2)
	})

	inBubble(t, "does not wait for what is stored while it ends", func(t *testing.T) {
		h := newHookedStore()
		w := newTownOn(t, h, func(o *appio.Options) { o.Channels[0].Rate = 0.01 })
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		synctest.Wait()
		w.send(s, messageTo(giuseppe)) // as much as the rate allows for a while
		synctest.Wait()
		require.Len(t, w.email.deliveries(), 1)
		release := h.holdNext()
		done := make(chan error, 1)
		go func() {
			_, err := s.Send(context.Background(), messageTo(giuseppe))
			done <- err
		}()
		synctest.Wait()
		time.AfterFunc(time.Second, release)
		start := time.Now()
		end()
		require.NoError(t, <-done)
		require.Less(t, time.Since(start), 2*time.Second)
		require.Len(t, w.email.deliveries(), 1)
	})

	inBubble(t, "gives what it did not begin to who comes next, at once", func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) { o.Channels[0].Workers = 1; o.Drain = time.Second })
		block, open := newGate(t)
		w.email.answer = func(ctx context.Context, d appio.Delivery) error {
			select {
			case <-block:
			case <-ctx.Done():
			}
			return nil
		}
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		time.Sleep(100 * time.Millisecond)
		for range 10 {
			w.send(s, messageTo(giuseppe))
		}
		synctest.Wait()
		end()
		open()
		require.Len(t, w.email.deliveries(), 1)
		time.Sleep(time.Second)
		require.Equal(t, 9, w.flush())
		require.Empty(t, openWork(t, w.store))
	})
}

// openWork lists the records of deliveries that are not over.
func openWork(t *testing.T, s store.Store) []store.Key {
	t.Helper()
	return slices.DeleteFunc(keysOf(t, s, citizens), func(k store.Key) bool { return !strings.HasPrefix(string(k), "q/") })
}

func TestFlush(t *testing.T) {
	t.Parallel()

	t.Run("delivers what is due, once, and counts what it tried", func(t *testing.T) {
		t.Parallel()
		w := newTown(t)
		s := w.put()
		w.push.answer = func(context.Context, appio.Delivery) error { return errProvider }
		require.Zero(t, w.flush())
		for i := range 10 {
			w.enrol(personNumber(i), appio.Auto)
			w.send(s, messageTo(personNumber(i)))
		}
		require.Equal(t, 20, w.flush())
		require.Len(t, w.email.deliveries(), 10)
		require.Zero(t, w.flush(), "the others wait")
		w.advance(time.Minute + time.Second)
		require.Equal(t, 10, w.flush())
	})

	t.Run("goes through more than fits into one look", func(t *testing.T) {
		t.Parallel()
		w := newTown(t, func(o *appio.Options) { o.Channels[0].Workers = 2 })
		s := w.put()
		ms := make([]appio.Message, 1000)
		for i := range ms {
			if i < 50 {
				w.enrol(personNumber(i), appio.Auto)
			}
			ms[i] = messageTo(personNumber(i % 50))
		}
		_, err := s.SendBatch(t.Context(), ms)
		require.NoError(t, err)
		require.Equal(t, 2000, w.flush())
		require.Len(t, w.email.deliveries(), 1000)
		ids := map[appio.DeliveryID]bool{}
		for _, d := range append(w.email.deliveries(), w.push.deliveries()...) {
			ids[d.ID] = true
		}
		require.Len(t, ids, 2000)
		require.Empty(t, openWork(t, w.store))
	})

	inBubble(t, "gives up when its context ends", func(t *testing.T) {
		w := newTown(t)
		w.email.answer = func(ctx context.Context, d appio.Delivery) error { <-ctx.Done(); return context.Cause(ctx) }
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := w.Flush(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestDelivery(t *testing.T) {
	t.Parallel()

	t.Run("holds what the channel may show, and where", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		require.NoError(t, w.PutOrganization(ctx, appio.Organization{Code: comune, Name: "Comune"}))
		s := w.put(func(s *appio.Service) { s.OtherPayees = true })
		c := w.enrol(giuseppe, appio.Auto)
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Channels[appio.Push] = appio.Generic
			p.Languages = []string{"de", "it"}
			return nil
		}))
		due := time.Date(2027, 1, 31, 22, 59, 59, 0, time.UTC)
		notice := appio.Notice{Number: "302032002700000251", Amount: 100, Payee: "15376371009"}
		sent := w.now()
		id := w.send(s, messageTo(giuseppe, func(m *appio.Message) { n := notice; m.Payment, m.Due, m.TimeToLive = &n, due, 2*time.Hour }))
		require.Equal(t, 2, w.flush())

		full := w.email.deliveries()[0]
		require.WithinDuration(t, sent.Add(2*time.Hour), full.ExpiresAt, time.Minute)
		require.Regexp(t, `^[a-z2-7]{26}$`, full.ID)
		require.NotEmpty(t, full.Withdraw)
		want := appio.Delivery{
			ID: full.ID, Withdraw: full.Withdraw, ExpiresAt: full.ExpiresAt, Channel: appio.Email, Attempt: 1, Content: appio.Full, Language: "de",
			Address: appio.Address{
				ID: "home", Channel: appio.Email, Value: "casa@example.it", ValidatedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
			},
			Message: id, Service: mensa, ServiceName: "Mensa scolastica", OrganizationName: "Comune",
			Subject: subject, Markdown: markdown, Due: due, Payment: &notice,
		}
		require.Equal(t, want, full)

		generic := w.push.deliveries()[0]
		require.NotEqual(t, full.ID, generic.ID)
		want.ID, want.Withdraw = generic.ID, generic.Withdraw
		want.Channel, want.Content, want.Address = appio.Push, appio.Generic, appio.Address{ID: "phone", Channel: appio.Push, Value: "token-7"}
		want.Subject, want.Markdown, want.Payment = "", "", nil
		require.Equal(t, want, generic)
	})

	t.Run("by code has the code and no address", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, func(o *appio.Options) {
			o.Channels[1].ByCode, o.Channels[1].Unvalidated = true, false
		}), t.Context()
		s := w.put()
		require.NoError(t, w.person(giuseppe).SetMode(ctx, appio.Auto))
		w.send(s, messageTo(giuseppe))
		require.Equal(t, 1, w.flush())
		d := w.push.deliveries()[0]
		require.Equal(t, giuseppe, d.To)
		require.Zero(t, d.Address)
		require.Equal(t, appio.Generic, d.Content)
	})

	t.Run("goes to each address of a channel that it may use", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Addresses = append(p.Addresses,
				appio.Address{Channel: appio.Email, Value: "due@example.it", ValidatedAt: time.Now()},
				appio.Address{Channel: appio.Email, Value: "tre@example.it"},
				appio.Address{Channel: appio.Push, Value: "token-8"},
				appio.Address{Channel: "pec", Value: "pec@example.it", ValidatedAt: time.Now()})
			return nil
		}))
		id := w.send(s, messageTo(giuseppe))
		require.Equal(t, 4, w.flush())
		var emails, pushes []string
		for _, d := range w.email.deliveries() {
			emails = append(emails, d.Address.Value)
		}
		for _, d := range w.push.deliveries() {
			pushes = append(pushes, d.Address.Value)
		}
		require.ElementsMatch(t, []string{"casa@example.it", "due@example.it"}, emails)
		require.ElementsMatch(t, []string{"token-7", "token-8"}, pushes)
		require.Len(t, w.explain(giuseppe, id).Outcomes, 4)
	})

	inBubble(t, "has a context that ends at the route's timeout", func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) { o.Channels[1].Timeout = 5 * time.Second })
		var left [2]time.Duration
		note := func(i int) func(context.Context, appio.Delivery) error {
			return func(ctx context.Context, d appio.Delivery) error {
				at, _ := ctx.Deadline()
				left[i] = time.Until(at)
				return nil
			}
		}
		w.email.answer, w.push.answer = note(0), note(1)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe))
		w.flush()
		require.Equal(t, [2]time.Duration{20 * time.Second, 5 * time.Second}, left)
	})

	t.Run("of nobody is none", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		require.NoError(t, w.person(giuseppe).SetMode(ctx, appio.Auto)) // no address
		id := w.send(s, messageTo(giuseppe))
		require.Empty(t, openWork(t, w.store))
		require.Zero(t, w.flush())
		require.Empty(t, w.explain(giuseppe, id).Outcomes)
	})
}

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

func TestBadChannel(t *testing.T) {
	t.Parallel()
	// sendAll sends to n people, the first of whom the e-mail channel is bad for.
	sendAll := func(w *town, n int, bad func(ctx context.Context) error) (ids []appio.MessageID) {
		w.email.answer = func(ctx context.Context, d appio.Delivery) error {
			if d.Address.Value == "bad@example.it" {
				return bad(ctx)
			}
			return nil
		}
		s := w.put()
		for i := range n {
			c := w.enrol(personNumber(i), appio.Auto)
			if i == 0 {
				require.NoError(w.t, c.UpdateProfile(w.t.Context(), func(p *appio.Profile) error {
					p.Addresses[0].Value, p.Addresses[0].ValidatedAt = "bad@example.it", time.Now()
					return nil
				}))
			}
		}
		for i := range n {
			ids = append(ids, w.send(s, messageTo(personNumber(i), func(m *appio.Message) { m.TimeToLive = 24 * time.Hour })))
		}
		return ids
	}

	for name, bad := range map[string]func(ctx context.Context) error{
		"one that panics":               func(context.Context) error { panic("no mailbox bad@example.it") },
		"one that panics with an error": func(context.Context) error { panic(errors.New("no mailbox bad@example.it")) },
		"one that ends its goroutine":   func(context.Context) error { runtime.Goexit(); return nil },
		"one that answers errors":       func(context.Context) error { return errors.New("no mailbox bad@example.it") },
	} {
		inBubble(t, name+" hurts only itself, and its delivery is parked", func(t *testing.T) {
			w := newTown(t, func(o *appio.Options) { o.Channels[0].Workers = 1; o.MaxAttempts = 3 })
			end := w.run()
			time.Sleep(time.Second)
			ids := sendAll(w, 20, bad)
			synctest.Wait()
			require.Len(t, w.email.deliveries(), 19)
			require.Len(t, w.push.deliveries(), 20)
			time.Sleep(10 * time.Minute)
			ps := w.parked()
			require.Len(t, ps, 1)
			require.Equal(t, ids[0], ps[0].Message)
			require.Equal(t, 3, ps[0].Attempts)
			require.NotEmpty(t, ps[0].Cause)
			require.NotContains(t, ps[0].Cause, "bad@example.it")
			require.Empty(t, openWork(t, w.store))
			w.email.answer = nil
			require.NoError(t, w.Replay(t.Context()))
			time.Sleep(2 * time.Second)
			require.Len(t, w.email.deliveries(), 20)
			end()
		})
	}

	inBubble(t, "one that hangs and ignores its context is given up, and what it says later is kept", func(t *testing.T) {
		w := newTown(t)
		release, open := newGate(t)
		var hung atomic.Int32
		end := w.run()
		time.Sleep(time.Second)
		ids := sendAll(w, 20, func(context.Context) error {
			if hung.Add(1) == 1 {
				<-release
			}
			return nil
		})
		synctest.Wait()
		require.Len(t, w.email.deliveries(), 19)
		require.Len(t, w.push.deliveries(), 20)
		time.Sleep(20 * time.Second)
		require.Empty(t, w.outcomes(personNumber(0), ids[0], appio.Email))
		time.Sleep(2 * time.Minute)
		require.EqualValues(t, 2, hung.Load(), "it was tried again")
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeDelivered}, w.outcomes(personNumber(0), ids[0], appio.Email))

		open()
		synctest.Wait()
		o := w.explain(personNumber(0), ids[0]).Outcomes
		require.Len(t, o, 3)
		require.Equal(t, appio.OutcomeDelivered, o[2].Result)
		require.True(t, o[2].Late)
		require.False(t, o[1].Late)
		require.Equal(t, 2, o[1].Attempts)
		end()
	})

	inBubble(t, "one that hangs on every worker hurts no other, and what waited behind it is not lost or parked", func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) { o.Channels[0].Workers = 2 })
		release, open := newGate(t)
		w.email.answer = func(context.Context, appio.Delivery) error { <-release; return nil }
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		time.Sleep(time.Second)
		const n = 12
		for range n {
			w.send(s, messageTo(giuseppe, func(m *appio.Message) { m.TimeToLive = 24 * time.Hour }))
		}
		synctest.Wait()
		require.Len(t, w.push.deliveries(), n)
		time.Sleep(15 * time.Minute)
		require.Empty(t, w.parked())
		open()
		time.Sleep(15 * time.Minute)
		require.Empty(t, w.parked())
		seen := map[appio.MessageID]bool{}
		for _, d := range w.email.deliveries() {
			seen[d.Message] = true
		}
		require.Len(t, seen, n)
		require.Empty(t, openWork(t, w.store))
		end()
	})

	inBubble(t, "one that hangs does not hold up Flush, Run or Close for good", func(t *testing.T) {
		w := newTown(t)
		release, open := newGate(t)
		w.email.answer = func(context.Context, appio.Delivery) error { <-release; return nil }
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe))
		start := time.Now()
		require.Equal(t, 2, w.flush())
		require.Equal(t, 21*time.Second, time.Since(start), "the timeout and half the margin")
		end := w.run()
		time.Sleep(2 * time.Minute)
		start = time.Now()
		end()
		require.LessOrEqual(t, time.Since(start), 22*time.Second)
		require.NoError(t, w.Close())
		open()
	})

	inBubble(t, "one that ignores its context holds Run up for the drain and the margin, and no longer", func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) { o.Drain, o.Margin = 3*time.Second, 2*time.Second })
		release, open := newGate(t)
		w.email.answer = func(context.Context, appio.Delivery) error { <-release; return nil }
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		time.Sleep(time.Second)
		w.send(s, messageTo(giuseppe))
		synctest.Wait()
		start := time.Now()
		end()
		require.Equal(t, 5*time.Second, time.Since(start))
		open()
	})

	inBubble(t, "a slow one does not delay a fast one", func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) { o.Channels[0].Workers = 1 })
		w.email.answer = func(context.Context, appio.Delivery) error { time.Sleep(3 * time.Second); return nil }
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		time.Sleep(time.Second)
		start := time.Now()
		for range 40 {
			w.send(s, messageTo(giuseppe))
		}
		synctest.Wait()
		require.Len(t, w.push.deliveries(), 40)
		require.Zero(t, time.Since(start))
		time.Sleep(150 * time.Second)
		require.Len(t, w.email.deliveries(), 40, "and keeps its own pace")
		end()
	})
}

func TestRate(t *testing.T) {
	t.Parallel()

	inBubble(t, "is so many deliveries a second", func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) { o.Channels[0].Rate = 10 })
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		var mu sync.Mutex
		var at []time.Time
		w.email.answer = func(context.Context, appio.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Now())
			return nil
		}
		for range 60 {
			w.send(s, messageTo(giuseppe))
		}
		start := time.Now()
		w.flush()
		require.Len(t, at, 60)
		for i := range at {
			n := 0
			for j := i; j < len(at) && at[j].Sub(at[i]) < time.Second; j++ {
				n++
			}
			require.LessOrEqual(t, n, 20, "ten, and ten at once after a pause")
		}
		require.GreaterOrEqual(t, time.Since(start), 5*time.Second)
		require.Less(t, time.Since(start), 8*time.Second)
		require.Len(t, w.push.deliveries(), 60)
	})

	inBubble(t, "below one a second keeps its pace, whatever room other channels have", func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) { o.Channels[0].Rate = 0.5; o.Channels[0].Workers = 1 })
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		time.Sleep(time.Second)
		const n = 40
		for range n {
			w.send(s, messageTo(giuseppe))
		}
		synctest.Wait()
		require.Len(t, w.push.deliveries(), n)
		time.Sleep(time.Minute)
		require.GreaterOrEqual(t, len(w.email.deliveries()), 27)
		time.Sleep(time.Minute)
		require.Len(t, w.email.deliveries(), n)
		end()
	})
}

func TestUnknownChannel(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	w := newTownOn(t, s)
	sender := w.put()
	w.enrol(giuseppe, appio.Auto)
	id := w.send(sender, messageTo(giuseppe))

	without := newTownOn(t, s, func(o *appio.Options) { o.Channels = o.Channels[:1] })
	require.Equal(t, 1, without.flush())
	ps := without.parked()
	require.Len(t, ps, 1)
	require.Equal(t, appio.Push, ps[0].Channel)
	require.Equal(t, "unknown channel", ps[0].Cause)
	require.Zero(t, ps[0].Attempts)
	require.Equal(t, []appio.OutcomeResult{appio.OutcomeParked}, without.outcomes(giuseppe, id, appio.Push))

	require.NoError(t, w.Replay(t.Context()))
	require.Equal(t, 1, w.flush(), "with the channel back it is delivered")
	require.Len(t, w.push.deliveries(), 1)
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	ok := appio.ChannelFunc(func(context.Context, appio.Delivery) error { return nil })
	fifty := make([]appio.Route, 51)
	for i := range fifty {
		fifty[i] = appio.Route{Name: fmt.Sprintf("c%d", i), Channel: ok}
	}
	for name, c := range map[string]struct {
		field string
		o     appio.Options
	}{
		"no name":                     {"Options.Channels[0].Name", appio.Options{Channels: []appio.Route{{Channel: ok}}}},
		"a name that is none":         {"Options.Channels[0].Name", appio.Options{Channels: []appio.Route{{Name: "E-mail", Channel: ok}}}},
		"the same name twice":         {"Options.Channels[1].Name", appio.Options{Channels: []appio.Route{{Name: "a", Channel: ok}, {Name: "a", Channel: ok}}}},
		"no channel":                  {"Options.Channels[0].Channel", appio.Options{Channels: []appio.Route{{Name: "a"}}}},
		"too much":                    {"Options.Channels[0]", appio.Options{Channels: []appio.Route{{Name: "a", Channel: ok, Default: 3}}}},
		"too much when secure":        {"Options.Channels[0]", appio.Options{Channels: []appio.Route{{Name: "a", Channel: ok, Secure: 3}}}},
		"a timeout beyond the lease":  {"Options.Channels[0].Timeout", appio.Options{Channels: []appio.Route{{Name: "a", Channel: ok, Timeout: 28*time.Second + 1}}}},
		"a timeout below 0":           {"Options.Channels[0].Timeout", appio.Options{Channels: []appio.Route{{Name: "a", Channel: ok, Timeout: -1}}}},
		"workers below 0":             {"Options.Channels[0].Workers", appio.Options{Channels: []appio.Route{{Name: "a", Channel: ok, Workers: -1}}}},
		"a rate below 0":              {"Options.Channels[0].Rate", appio.Options{Channels: []appio.Route{{Name: "a", Channel: ok, Rate: -1}}}},
		"too many":                    {"Options.Channels", appio.Options{Channels: fifty}},
		"a lease below the timeout":   {"Options.DeliverTimeout", appio.Options{Lease: 20 * time.Second}},
		"a duration below 0":          {"Options", appio.Options{Drain: -1}},
		"attempts below 0":            {"Options.MaxAttempts", appio.Options{MaxAttempts: -1}},
		"a rate of questions below 0": {"Options.ContactRate", appio.Options{ContactRate: -1}},
	} {
		c.o.Keys = townKeys
		_, err := appio.New(memstore.New(), &c.o)
		require.Error(t, err, name)
		requireField(t, err, c.field, "")
	}
	_, err := appio.New(nil, &appio.Options{Keys: townKeys})
	requireField(t, err, "store", "")
	_, err = appio.New(memstore.New(), nil)
	requireField(t, err, "Options.Keys", "")
	_, err = appio.New(memstore.New(), &appio.Options{Keys: townKeys, Channels: fifty[:50]})
	require.NoError(t, err)
}
