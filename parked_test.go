package appio_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
)

// parkMany sends to n people whose e-mail fails for good, one a second.
func parkMany(w *town, n int) (ids []appio.MessageID) {
	w.t.Helper()
	w.email.answer = func(_ context.Context, d appio.Delivery) error { return appio.Permanent(errProvider) }
	s := w.put()
	for i := range n {
		w.enrol(personNumber(i), appio.Auto)
		ids = append(ids, w.send(s, messageTo(personNumber(i))))
		w.flush()
		w.advance(time.Second)
	}
	w.email.answer = nil
	return ids
}

func TestParked(t *testing.T) {
	t.Parallel()

	t.Run("are listed oldest first, in pages, forwards", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		require.Empty(t, w.parked())
		ids := parkMany(w, 7)
		ps := w.parked()
		require.Len(t, ps, 7)
		seen := map[appio.DeliveryID]bool{}
		for i, p := range ps {
			require.Equal(t, appio.ParkedDelivery{
				ID: p.ID, Channel: appio.Email, Service: mensa, Message: ids[i], Attempts: 1, Cause: errProvider.Error(), At: p.At,
			}, p)
			require.WithinDuration(t, w.now(), p.At, time.Minute)
			seen[p.ID] = true
		}
		require.Len(t, seen, 7)
		var got []appio.ParkedDelivery
		var cursor appio.Cursor
		for {
			page, err := w.Parked().Page(ctx, cursor, 3)
			require.NoError(t, err)
			got = append(got, page.Items...)
			if page.Prev != "" {
				_, err := w.Parked().Page(ctx, page.Prev, 3)
				require.ErrorIs(t, err, appio.ErrInvalid)
			}
			if cursor = page.Next; cursor == "" {
				break
			}
			require.Len(t, page.Items, 3)
		}
		require.Equal(t, ps, got)
		_, err := w.Services().Page(ctx, "x", 1)
		require.ErrorIs(t, err, appio.ErrInvalid)
	})

	t.Run("their cause never tells who it was", func(t *testing.T) {
		t.Parallel()
		for name, answer := range map[string]func(d appio.Delivery) string{
			"the address":  func(d appio.Delivery) string { return "no " + d.Address.Value },
			"the code":     func(d appio.Delivery) string { return "no " + string(giuseppe) },
			"the mailbox":  func(d appio.Delivery) string { return "550 5.1.1 no mailbox Casa here" },
			"the notice":   func(d appio.Delivery) string { return "no " + string(d.Payment.Number) },
			"the token":    func(d appio.Delivery) string { return "no " + d.Withdraw },
			"the text":     func(d appio.Delivery) string { return "no " + d.Subject + d.Markdown },
			"across a cut": func(d appio.Delivery) string { return strings.Repeat("x", 195) + d.Address.Value },
			"broken text":  func(d appio.Delivery) string { return "no \xff\xfe" + d.Address.Value },
		} {
			w := newTown(t)
			s := w.put()
			w.enrol(giuseppe, appio.Auto)
			var d appio.Delivery
			w.email.answer = func(_ context.Context, got appio.Delivery) error {
				d = got
				return appio.Permanent(fmt.Errorf("%s", answer(got)))
			}
			id := w.send(s, messageTo(giuseppe, func(m *appio.Message) {
				m.Payment = &appio.Notice{Number: "301000000000000123", Amount: 12_50}
			}))
			w.flush()
			require.Len(t, w.parked(), 1, name)
			cause := w.parked()[0].Cause
			require.LessOrEqual(t, len(cause), 200, name)
			for _, secret := range []string{"casa@example.it", "casa@", "Casa", string(giuseppe), d.Withdraw, subject, markdown, "301000000000000123"} {
				require.NotContains(t, cause, secret, name)
			}
			i := slices.IndexFunc(w.explain(giuseppe, id).Outcomes, func(o appio.DeliveryOutcome) bool { return o.Channel == appio.Email })
			require.Equal(t, cause, w.explain(giuseppe, id).Outcomes[i].Cause)
		}
	})

	t.Run("nor a part of an address that looks like something else", func(t *testing.T) {
		t.Parallel()
		for _, value := range []string{
			"left-RSSMRA85M10H501S-right", "left rssmra85m10h501s right", "left casa@example.it right", "left?a=casa%40example.it&right",
		} {
			w, ctx := newTown(t), t.Context()
			s := w.put()
			c := w.enrol(giuseppe, appio.Auto)
			require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Addresses[1].Value = value; return nil }))
			w.push.answer = func(_ context.Context, d appio.Delivery) error {
				return appio.Permanent(fmt.Errorf("no device %s here", d.Address.Value))
			}
			w.send(s, messageTo(giuseppe))
			w.flush()
			require.Len(t, w.parked(), 1)
			require.Equal(t, "no device *** here", w.parked()[0].Cause)
		}
	})

	t.Run("one whose record cannot be read does not hide the others", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		parkMany(w, 5)
		ps := w.parked()
		var bad store.Record
		for _, r := range recordsOf(t, w.store, citizens) {
			if r.Key == "x/"+store.Key(ps[2].ID) {
				bad = r
			}
		}
		bad.Value[len(bad.Value)-1] ^= 1
		overwrite(t, w.store, bad.Owner, store.Change{Put: []store.Record{bad}})
		require.Equal(t, slices.Concat(ps[:2], ps[3:]), w.parked())
		require.NoError(t, w.Replay(ctx))
		require.Equal(t, 4, w.flush())
		h, err := w.Health(ctx)
		require.NoError(t, err)
		require.Equal(t, 1, h.Quarantined)
		require.Zero(t, h.Parked)
	})
}

func TestReplay(t *testing.T) {
	t.Parallel()

	t.Run("of some makes these due again, with attempts from one and the same id", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		parkMany(w, 4)
		ps := w.parked()
		require.NoError(t, w.Replay(ctx, ps[1].ID, ps[3].ID, ps[1].ID))
		require.Equal(t, []appio.ParkedDelivery{ps[0], ps[2]}, w.parked())
		require.Equal(t, 2, w.flush())
		ds := w.email.deliveries()
		require.Len(t, ds, 2)
		got := []appio.DeliveryID{ds[0].ID, ds[1].ID}
		require.ElementsMatch(t, []appio.DeliveryID{ps[1].ID, ps[3].ID}, got)
		require.Equal(t, 1, ds[0].Attempt)
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeParked, appio.OutcomeDelivered}, w.outcomes(personNumber(1), ps[1].Message, appio.Email))
	})

	t.Run("of what is not parked is not found, after the others were replayed", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		parkMany(w, 2)
		ps := w.parked()
		require.ErrorIs(t, w.Replay(ctx, "nobody"), appio.ErrNotFound)
		require.Len(t, w.parked(), 2)
		require.ErrorIs(t, w.Replay(ctx, "nobody", ps[0].ID), appio.ErrNotFound)
		require.Equal(t, ps[1:], w.parked())
		require.ErrorIs(t, w.Replay(ctx, ps[0].ID), appio.ErrNotFound, "it is not parked any more")
		require.Equal(t, 1, w.flush())
	})

	t.Run("without ids is of all", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		require.NoError(t, w.Replay(ctx))
		w.email.answer = func(context.Context, appio.Delivery) error { return appio.Permanent(errProvider) }
		s := w.put()
		ms := make([]appio.Message, 600)
		for i := range ms {
			if i < 20 {
				w.enrol(personNumber(i), appio.Auto)
			}
			ms[i] = messageTo(personNumber(i % 20))
		}
		_, err := s.SendBatch(ctx, ms)
		require.NoError(t, err)
		w.flush()
		require.Len(t, w.parked(), 600)
		w.email.answer = nil
		require.NoError(t, w.Replay(ctx))
		require.Empty(t, w.parked())
		require.Equal(t, 600, w.flush())
		require.Len(t, w.email.deliveries(), 600)
	})

	t.Run("gives as much time as there was left, and an hour at least", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.email.answer = func(context.Context, appio.Delivery) error { return appio.Permanent(errProvider) }
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe, func(m *appio.Message) { m.TimeToLive = 48 * time.Hour }))
		w.advance(24 * time.Hour)
		w.flush()
		w.send(s, messageTo(giuseppe))
		w.advance(30 * time.Minute)
		w.flush()
		w.email.answer = nil
		w.advance(1000 * time.Hour)
		require.NoError(t, w.Replay(ctx))
		at := w.now()
		require.Equal(t, 2, w.flush())
		var left []time.Duration
		for _, d := range w.email.deliveries() {
			left = append(left, d.ExpiresAt.Sub(at).Round(time.Minute))
		}
		require.ElementsMatch(t, []time.Duration{24 * time.Hour, time.Hour}, left)
	})

	t.Run("reads consent again", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		ids := parkMany(w, 1)
		require.NoError(t, w.person(personNumber(0)).SetPreference(ctx, mensa, appio.Preference{}))
		w.flush()
		require.Len(t, w.parked(), 1, "what is parked stays so")
		require.NoError(t, w.Replay(ctx))
		require.Zero(t, w.flush())
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeParked, appio.OutcomeVoid}, w.outcomes(personNumber(0), ids[0], appio.Email))
	})

	t.Run("finds by its id what was parked while the clock was ahead", func(t *testing.T) {
		t.Parallel()
		w := newTown(t)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.email.answer = func(context.Context, appio.Delivery) error { return appio.Permanent(errProvider) }
		w.advance(time.Hour)
		w.send(s, messageTo(giuseppe))
		require.Equal(t, 2, w.flush())
		w.advance(-time.Hour)
		w.email.answer = nil
		require.NoError(t, w.Replay(t.Context(), w.parked()[0].ID))
		require.Equal(t, 1, w.flush())
		require.Len(t, w.email.deliveries(), 1)
	})

	t.Run("of all has what was parked while the clock was ahead, and each once", func(t *testing.T) {
		t.Parallel()
		for name, replay := range map[string]func(w *town) error{
			"Replay": func(w *town) error { return w.Replay(t.Context()) },
			"ReplayParked": func(w *town) error {
				done, err := w.ReplayParked(t.Context(), appio.ParkedReplay{})
				require.Equal(t, appio.Replayed{Count: 2}, done)
				return err
			},
			"ReplayParked, one at a time": func(w *town) error {
				var err error
				for r, n := (appio.ParkedReplay{Limit: 1}), 0; err == nil; n++ {
					require.Less(t, n, 4)
					var done appio.Replayed
					done, err = w.ReplayParked(t.Context(), r)
					w.advance(time.Minute)
					w.flush() // it is parked again, before the others and after them
					if r.After = done.Next; r.After == "" {
						break
					}
				}
				return err
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				w := newTown(t)
				s := w.put()
				w.enrol(giuseppe, appio.Auto)
				var tries atomic.Int64
				w.email.answer = func(context.Context, appio.Delivery) error {
					tries.Add(1)
					return appio.Permanent(errProvider)
				}
				w.send(s, messageTo(giuseppe))
				require.Equal(t, 2, w.flush())
				w.advance(2 * time.Minute)
				w.send(s, messageTo(giuseppe))
				require.Equal(t, 2, w.flush())
				w.advance(-time.Minute) // between the two
				require.NoError(t, replay(w))
				w.flush()
				require.EqualValues(t, 4, tries.Load())
				require.Len(t, w.parked(), 2)
				require.NoError(t, w.Replay(t.Context()))
				w.flush()
				require.EqualValues(t, 6, tries.Load(), "another replay has them all again")
			})
		}
	})

	t.Run("of all, twice at the same time, comes to an end", func(t *testing.T) {
		t.Parallel()
		w := newTown(t)
		parkMany(w, 3)
		before := w.now()
		var tries atomic.Int64
		w.email.answer = func(context.Context, appio.Delivery) error {
			tries.Add(1)
			return appio.Permanent(errProvider)
		}
		runs := []*appio.ParkedReplay{{Limit: 1}, {Limit: 1}}
		for steps := 0; len(runs) > 0; steps++ {
			require.Less(t, steps, 20)
			r := runs[0]
			done, err := w.ReplayParked(t.Context(), *r)
			require.NoError(t, err)
			w.advance(time.Minute)
			w.flush() // it is parked again, after the others
			if runs = runs[1:]; done.Next != "" {
				r.After = done.Next
				runs = append(runs, r)
			}
		}
		require.LessOrEqual(t, tries.Load(), int64(6))
		require.Len(t, w.parked(), 3)
		for _, p := range w.parked() {
			require.True(t, p.At.After(before), "each was replayed")
		}
	})

	t.Run("can park again", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		parkMany(w, 1)
		first := w.parked()[0]
		w.email.answer = func(context.Context, appio.Delivery) error { return appio.Permanent(fmt.Errorf("still down")) }
		require.NoError(t, w.Replay(ctx))
		w.flush()
		again := w.parked()
		require.Len(t, again, 1)
		require.Equal(t, first.ID, again[0].ID)
		require.Equal(t, "still down", again[0].Cause)
		require.True(t, again[0].At.After(first.At))
	})

	inBubble(t, "while another delivery of the message is under way leaves that alone", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		gate, open := newGate(t)
		w.email.answer = func(context.Context, appio.Delivery) error { return appio.Permanent(errProvider) }
		w.push.answer = func(context.Context, appio.Delivery) error { <-gate; return nil }
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		time.Sleep(time.Second)
		id := w.send(s, messageTo(giuseppe))
		synctest.Wait()
		require.Len(t, w.parked(), 1)
		w.email.answer = nil
		require.NoError(t, w.Replay(ctx))
		synctest.Wait()
		open()
		time.Sleep(5 * time.Second)
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeParked, appio.OutcomeDelivered}, w.outcomes(giuseppe, id, appio.Email))
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeDelivered}, w.outcomes(giuseppe, id, appio.Push))
		require.Len(t, w.push.deliveries(), 1)
		require.Empty(t, openWork(t, w.store))
		end()
	})

	inBubble(t, "with Run at work is delivered at once", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		parkMany(w, 3)
		end := w.run()
		time.Sleep(10 * time.Second)
		require.NoError(t, w.Replay(ctx))
		time.Sleep(50 * time.Millisecond)
		require.Len(t, w.email.deliveries(), 3)
		end()
	})
}
