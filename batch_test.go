package appio_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

// A batchbox is a BatchChannel that keeps the batches it is given.
type batchbox struct {
	answer func(ctx context.Context, ds []appio.Delivery) []error

	mu      sync.Mutex
	batches [][]appio.Delivery
}

func (b *batchbox) Deliver(context.Context, appio.Delivery) error { panic("not called") }

func (b *batchbox) DeliverBatch(ctx context.Context, ds []appio.Delivery) []error {
	b.mu.Lock()
	b.batches = append(b.batches, slices.Clone(ds))
	b.mu.Unlock()
	if b.answer != nil {
		return b.answer(ctx, ds)
	}
	return nil
}

func (b *batchbox) taken() [][]appio.Delivery {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.batches)
}

func TestBatchChannel(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T, people, each int) (*town, *batchbox, []appio.MessageID) {
		b := &batchbox{}
		w := newTown(t, func(o *appio.Options) { o.Channels[0].Channel, o.Channels[0].Workers = b, 1 })
		s := w.put()
		var ms []appio.Message
		for i := range people {
			c := w.enrol(personNumber(i), appio.Auto)
			require.NoError(t, c.UpdateProfile(t.Context(), func(p *appio.Profile) error {
				p.Addresses[0].Value, p.Addresses[0].ValidatedAt = fmt.Sprintf("%d@example.it", i), time.Now()
				return nil
			}))
		}
		for range each {
			for i := range people {
				ms = append(ms, messageTo(personNumber(i)))
			}
		}
		rs, err := s.SendBatch(t.Context(), ms)
		require.NoError(t, err)
		var ids []appio.MessageID
		for _, r := range rs {
			ids = append(ids, r.ID)
		}
		return w, b, ids
	}

	t.Run("is given many at once, one for each citizen at the most", func(t *testing.T) {
		t.Parallel()
		w, b, ids := setup(t, 30, 4)
		require.Equal(t, 240, w.flush())
		seen := map[appio.MessageID]bool{}
		largest := 0
		for _, ds := range b.taken() {
			to := map[string]bool{}
			for _, d := range ds {
				to[d.Address.Value], seen[d.Message] = true, true
				require.Equal(t, 1, d.Attempt)
			}
			require.Len(t, to, len(ds))
			largest = max(largest, len(ds))
		}
		require.Len(t, seen, 120)
		require.Greater(t, largest, 1)
		for i, id := range ids {
			require.Equal(t, []appio.OutcomeResult{appio.OutcomeDelivered}, w.outcomes(personNumber(i%30), id, appio.Email))
		}
	})

	t.Run("is given a hundred at the most", func(t *testing.T) {
		t.Parallel()
		w, b, _ := setup(t, 250, 1)
		require.Equal(t, 500, w.flush())
		n := 0
		for _, ds := range b.taken() {
			require.LessOrEqual(t, len(ds), 100)
			n += len(ds)
		}
		require.Equal(t, 250, n)
	})

	t.Run("answers for each", func(t *testing.T) {
		t.Parallel()
		w, b, ids := setup(t, 10, 1)
		b.answer = func(_ context.Context, ds []appio.Delivery) []error {
			errs := make([]error, len(ds))
			for i, d := range ds {
				switch d.Address.Value {
				case "3@example.it":
					errs[i] = errProvider
				case "4@example.it":
					errs[i] = appio.Permanent(errProvider)
				case "5@example.it":
					errs[i] = appio.Gone(errProvider)
				}
			}
			return errs
		}
		w.flush()
		for i, id := range ids {
			want := []appio.OutcomeResult{appio.OutcomeDelivered}
			switch i {
			case 3:
				want = nil
			case 4:
				want = []appio.OutcomeResult{appio.OutcomeParked}
			case 5:
				want = []appio.OutcomeResult{appio.OutcomeGone}
			}
			require.Equal(t, want, w.outcomes(personNumber(i), id, appio.Email), i)
		}
		w.advance(2 * time.Minute)
		require.Equal(t, 1, w.flush())
		last := b.taken()[len(b.taken())-1]
		require.Len(t, last, 1)
		require.Equal(t, 2, last[0].Attempt)
	})

	for name, answer := range map[string]func(context.Context, []appio.Delivery) []error{
		"too few answers":  func(_ context.Context, ds []appio.Delivery) []error { return make([]error, len(ds)-1) },
		"too many answers": func(_ context.Context, ds []appio.Delivery) []error { return make([]error, len(ds)+1) },
		"a panic":          func(context.Context, []appio.Delivery) []error { panic("x") },
	} {
		t.Run(name+" fail them all", func(t *testing.T) {
			t.Parallel()
			w, b, ids := setup(t, 5, 1)
			b.answer = answer
			w.flush()
			for i, id := range ids {
				require.Empty(t, w.outcomes(personNumber(i), id, appio.Email))
			}
			b.answer = nil
			w.advance(2 * time.Minute)
			require.Equal(t, 5, w.flush())
			for i, id := range ids {
				o := w.explain(personNumber(i), id).Outcomes[1]
				require.Equal(t, appio.OutcomeDelivered, o.Result)
				require.Equal(t, 2, o.Attempts)
			}
		})
	}

	inBubble(t, "a revocation waits for the whole batch, which is not cancelled for one", func(t *testing.T) {
		w, b, _ := setup(t, 5, 1)
		b.answer = func(ctx context.Context, ds []appio.Delivery) []error {
			select {
			case <-ctx.Done():
				panic("cancelled")
			case <-time.After(3 * time.Second):
			}
			return nil
		}
		end := w.run()
		time.Sleep(1500 * time.Millisecond)
		require.NotEmpty(t, b.taken())
		batch := b.taken()[0]
		if len(batch) == 1 { // the worker came before the others were there
			time.Sleep(3 * time.Second)
			batch = b.taken()[1]
		}
		require.Greater(t, len(batch), 1)
		var one int
		_, err := fmt.Sscanf(batch[0].Address.Value, "%d@", &one)
		require.NoError(t, err)
		start := time.Now()
		require.NoError(t, w.person(personNumber(one)).SetPreference(t.Context(), mensa, appio.Preference{}))
		require.Positive(t, time.Since(start))
		end()
	})
}
