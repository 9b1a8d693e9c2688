package appio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/store"
)

// A day is what a Flush on a world with one record damaged leads to.
type day struct {
	sent    map[DeliveryID]string
	after   map[place]store.Record
	health  Health
	flushed error
}

func (w *world) live(t *testing.T, records []store.Record, later time.Duration) (d day) {
	t.Helper()
	s := undumpStore(t, records)
	d.sent = map[DeliveryID]string{}
	var mu sync.Mutex
	e, err := New(s, worldOptions(w.ring, func() time.Time { return w.Now.Add(later) }, func(_ context.Context, m Delivery) error {
		mu.Lock()
		defer mu.Unlock()
		d.sent[m.ID] = m.Channel
		return nil
	}))
	require.NoError(t, err)
	defer e.Close()
	_, d.flushed = e.Flush(t.Context())
	d.health, err = e.Health(t.Context())
	require.NoError(t, err)
	d.after = map[place]store.Record{}
	for _, r := range dumpStore(t, s) {
		d.after[placeOf(&r)] = r
	}
	return d
}

// workFlaws lives a day with one piece of due work changed, and says what is wrong with it: the work must not be done, must be
// put aside with its bytes unchanged, or left alone if it is of a later version or another key, and all other work be done.
func (w *world) workFlaws(t *testing.T, want day, changed store.Record, of []DeliveryID, later time.Duration) (flaws []string) {
	t.Helper()
	records := slices.Clone(w.dump)
	for i := range records {
		if placeOf(&records[i]) == placeOf(&changed) {
			records[i] = changed
		}
	}
	got := w.live(t, records, later)
	flaw := func(format string, args ...any) { flaws = append(flaws, fmt.Sprintf(format, args...)) }
	if got.flushed != nil {
		flaw("Flush: %v", got.flushed)
	}
	for id := range want.sent {
		if _, ok := got.sent[id]; !ok && !slices.Contains(of, id) {
			flaw("other work was not done")
		}
	}
	for id := range got.sent {
		if slices.Contains(of, id) {
			flaw("damaged work was done")
		} else if _, ok := want.sent[id]; !ok {
			flaw("work was made up")
		}
	}
	_, err := (&codec{ring: w.ring, plain: w.ring == nil}).of(changed.Owner).payload(&changed)
	left, stays := got.after[placeOf(&changed)]
	switch {
	case errors.Is(err, store.ErrNewer) || errors.Is(err, store.ErrKey):
		if !stays || !bytes.Equal(left.Value, changed.Value) || left.Lane != changed.Lane || !left.Due.Equal(changed.Due) {
			flaw("it was not left alone")
		}
	case changed.Due.After(w.Now.Add(later)): // its time has not come
		if !stays || !bytes.Equal(left.Value, changed.Value) {
			flaw("it was not left for its time")
		}
	default:
		if stays {
			flaw("it was not put aside")
		}
		aside := got.after[place{changed.Owner, quarantineKey(&changed)}]
		if !bytes.Equal(aside.Value, changed.Value) || aside.Lane != laneQuarantined {
			flaw("it was not put aside as it was")
		}
		if got.health.Quarantined != want.health.Quarantined+1 {
			flaw("%d are counted as put aside", got.health.Quarantined)
		}
	}
	return flaws
}

func TestDamagedWorkIsPutAside(t *testing.T) {
	t.Parallel()
	for name, ring := range map[string]Keyring{"sealed": RandomKeys(), "with checksums": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, ring)
			const later = 2 * time.Hour
			want := w.live(t, w.dump, later)
			require.NoError(t, want.flushed)
			require.Len(t, want.sent, 4)
			oc := w.openers(t, &codec{ring: ring, plain: ring == nil})
			some := map[string]int{} // by kind
			for _, r := range w.dump {
				var work workRecord
				switch {
				case strings.HasPrefix(string(r.Key), prefixWaiting), strings.HasPrefix(string(r.Key), prefixLeased):
					require.NoError(t, oc[r.Owner].open(&r, &work))
				case strings.HasPrefix(string(r.Key), prefixCleanUp):
				default:
					continue
				}
				kind := string(r.Key[:min(len(r.Key), 6)])
				some[kind]++
				var of []DeliveryID
				for _, en := range work.Entries {
					of = append(of, en.ID)
				}
				if r.Owner == oc[r.Owner].citizen(elena) && r.Key != taskErase {
					continue // it is erased, or may be before it is looked at
				}
				try := func(what string, change func(r *store.Record)) {
					changed := r
					changed.Value = bytes.Clone(r.Value)
					change(&changed)
					for _, f := range w.workFlaws(t, want, changed, of, later) {
						t.Errorf("%s, %s: %s", placeOf(&r), what, f)
					}
				}
				for n := range r.Value {
					if n >= headerSize && (n+some[kind])%7 != 0 && (ring == nil || some[kind] > 1) {
						continue // every byte of one of each kind
					}
					try(fmt.Sprintf("byte %d", n), func(r *store.Record) { r.Value[n] ^= 1 << (n % 8) })
				}
				try("format of a later version", func(r *store.Record) { r.Value[0]++ })
				try("flags of a later version", func(r *store.Record) { r.Value[1] |= 2 })
				try("cut", func(r *store.Record) { r.Value = r.Value[:len(r.Value)-1] })
				try("due earlier", func(r *store.Record) { r.Due = r.Due.Add(-time.Microsecond) })
				try("due later", func(r *store.Record) { r.Due = w.Now.Add(later - time.Second) })
				try("due much later", func(r *store.Record) { r.Due = w.Now.Add(later + time.Second) })
				try("another lane of the kind", func(r *store.Record) { r.Lane ^= 1 })
				try("another's", func(r *store.Record) {
					for _, o := range w.dump {
						if o.Lane == r.Lane && placeOf(&o) != placeOf(r) {
							r.Value = o.Value
						}
					}
					r.Value = bytes.Clone(r.Value)
					r.Value[len(r.Value)-1] ^= 1 // there may be no other
				})
			}
			for _, kind := range []string{"q/w/01", "q/l/01", "z/void", "z/eras", "z/trim"} {
				require.Positive(t, some[kind], kind)
			}
		})
	}

	t.Run("a tag that leaves out the due time is found out", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, RandomKeys())
		oc := w.openers(t, &codec{ring: w.ring})
		// Now: the next attempt for Bruno is minutes away. A due time that is changed and not noticed makes it come at once.
		want := w.live(t, w.dump, 0)
		for _, r := range w.dump {
			if r.Owner != oc[r.Owner].citizen(bruno) || !strings.HasPrefix(string(r.Key), prefixWaiting) {
				continue
			}
			var work workRecord
			require.NoError(t, oc[r.Owner].open(&r, &work))
			of := []DeliveryID{work.Entries[0].ID}
			require.NotContains(t, want.sent, of[0])
			changed := r
			changed.Due = w.Now
			require.Empty(t, w.workFlaws(t, want, changed, of, 0), "the codec in use")

			forged := changed // what a codec that does not look at the due time would take for its own
			work.Entries[0].Next = toMicro(w.Now)
			forged, err := oc[r.Owner].seal(forged, &work)
			require.NoError(t, err)
			require.Contains(t, w.workFlaws(t, want, forged, of, 0), "damaged work was done")
			return
		}
		t.Fatal("no work that waits")
	})
}

// A record whose lane and due time were changed comes up where it does not belong. Whatever it is, it is not lost, nothing
// stops for it, and what is no work stays where it is, so that who asks for it learns that it is damaged.
func TestRecordsInAnotherLane(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t, RandomKeys())
	c := &codec{ring: w.ring}
	oc := w.openers(t, c)
	whose := map[DeliveryID]store.Owner{}
	for _, r := range w.dump {
		var work workRecord
		if strings.HasPrefix(string(r.Key), "q/") && oc[r.Owner].open(&r, &work) == nil {
			for _, en := range work.Entries {
				whose[en.ID] = r.Owner
			}
		}
	}
	const later = 2 * time.Hour
	want := w.live(t, w.dump, later)
	for i, r := range w.dump {
		if r.Owner == ownerMeta || r.Owner == c.citizen(elena) || strings.HasPrefix(string(r.Key), prefixQuarantine) {
			continue
		}
		for _, lane := range []store.Lane{laneDelivery + 9, laneCleanUp + 3, laneParked} {
			records := slices.Clone(w.dump)
			moved := &records[i]
			moved.Lane, moved.Due = lane, w.Now
			s := undumpStore(t, records)
			sent := map[DeliveryID]bool{}
			var mu sync.Mutex
			e, err := New(s, worldOptions(w.ring, func() time.Time { return w.Now.Add(later) }, func(_ context.Context, d Delivery) error {
				mu.Lock()
				defer mu.Unlock()
				sent[d.ID] = true
				return nil
			}))
			require.NoError(t, err)
			_, err = e.Flush(ctx)
			require.NoError(t, err)
			_, err = gather(ctx, e.Parked())
			require.NoError(t, err)
			at := fmt.Sprintf("%s, in lane %#x", placeOf(moved), lane)
			require.NotPanics(t, func() { require.NoError(t, e.Replay(ctx)) }, at)
			require.NoError(t, e.Close())
			kept := false
			for _, left := range dumpStore(t, s) {
				switch {
				case left.Owner != r.Owner:
				case left.Key == r.Key:
					kept = kept || bytes.Equal(left.Value, r.Value) && left.Lane == lane
				case left.Key == quarantineKey(moved):
					kept = kept || bytes.Equal(left.Value, r.Value)
					if work := strings.HasPrefix(string(r.Key), "q/") || strings.HasPrefix(string(r.Key), prefixParked) ||
						strings.HasPrefix(string(r.Key), prefixCleanUp); !work {
						t.Errorf("%s: it was put aside, and is missing now", at)
					}
				}
			}
			if !kept {
				t.Errorf("%s: it is lost", at)
			}
			for id := range want.sent {
				if !sent[id] && whose[id] != r.Owner && !strings.HasPrefix(string(r.Owner), serviceOwner) {
					t.Errorf("%s: other work was not done", at)
				}
			}
		}
	}
}

func TestADamagedParkedDeliveryIsLeftOut(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t, RandomKeys())
	oc := w.openers(t, &codec{ring: w.ring})
	var first store.Record
	for _, r := range w.dump {
		if strings.HasPrefix(string(r.Key), prefixParked) {
			first = r
		}
	}
	var p parkedRecord
	require.NoError(t, oc[first.Owner].open(&first, &p))
	for n := range 7 {
		p.Entry.ID = DeliveryID(fmt.Sprintf("d%d", n))
		r, err := oc[first.Owner].seal(store.Record{Key: prefixParked + store.Key(p.Entry.ID), Lane: laneParked, Due: w.Now.Add(time.Duration(n) * time.Second)}, &p)
		require.NoError(t, err)
		if n%3 == 1 {
			r.Value[len(r.Value)-1] ^= 1
		}
		w.dump = append(w.dump, r)
	}
	e, err := New(undumpStore(t, w.dump), worldOptions(w.ring, func() time.Time { return w.Now }, func(context.Context, Delivery) error { return nil }))
	require.NoError(t, err)
	defer e.Close()
	for limit := 1; limit < 10; limit++ {
		ids := []DeliveryID{}
		var c Cursor
		for {
			page, err := e.Parked().Page(ctx, c, limit)
			require.NoError(t, err)
			for _, p := range page.Items {
				ids = append(ids, p.ID)
			}
			if c = page.Next; c == "" {
				break
			}
		}
		require.Equal(t, []DeliveryID{DeliveryID(first.Key[len(prefixParked):]), "d0", "d2", "d3", "d5", "d6"}, ids, "pages of %d", limit)
	}
}

func TestDamagedParkedDeliveries(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t, RandomKeys())
	at := slices.IndexFunc(w.dump, func(r store.Record) bool { return strings.HasPrefix(string(r.Key), prefixParked) })
	for n := range w.dump[at].Value {
		if n < headerSize && n != 0 {
			continue
		}
		records := slices.Clone(w.dump)
		records[at].Value = bytes.Clone(records[at].Value)
		records[at].Value[n] ^= 0x80
		s := undumpStore(t, records)
		e, err := New(s, worldOptions(w.ring, func() time.Time { return w.Now }, func(context.Context, Delivery) error { return nil }))
		require.NoError(t, err)
		before, err := e.Health(ctx)
		require.NoError(t, err)
		require.Equal(t, 1, before.Parked, "it is still counted")
		err = e.Replay(ctx)
		after, herr := e.Health(ctx)
		require.NoError(t, herr)
		if n == 0 { // of a later version
			require.ErrorIs(t, err, store.ErrNewer)
			require.Equal(t, before, after)
			require.Equal(t, records, dumpStore(t, s))
		} else {
			require.NoError(t, err)
			require.Equal(t, 0, after.Parked)
			require.Equal(t, before.Quarantined+1, after.Quarantined)
			aside := quarantineKey(&records[at])
			require.True(t, slices.ContainsFunc(dumpStore(t, s), func(r store.Record) bool {
				return r.Key == aside && bytes.Equal(r.Value, records[at].Value)
			}))
		}
		require.NoError(t, e.Close())
	}
}
