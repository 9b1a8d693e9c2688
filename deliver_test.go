package appio_test

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

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
