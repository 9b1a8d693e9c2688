package appio_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// A watcher is an Observer that keeps what it was told, and marks each operation's context.
type watcher struct {
	mu   sync.Mutex
	seen []*observed
}

type observed struct {
	op    appio.Operation
	out   appio.Outcome
	ended int
}

type watcherKey struct{}

func (w *watcher) Observe(ctx context.Context, op appio.Operation) (context.Context, func(appio.Outcome)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o := &observed{op: op}
	w.seen = append(w.seen, o)
	return context.WithValue(ctx, watcherKey{}, op.Name), func(out appio.Outcome) {
		w.mu.Lock()
		defer w.mu.Unlock()
		o.out = out
		o.ended++
	}
}

// take returns the operations of a name that were seen so far, in order, and forgets them.
func (w *watcher) take(name string) (ops []observed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = slices.DeleteFunc(w.seen, func(o *observed) bool {
		if o.op.Name == name {
			ops = append(ops, *o)
		}
		return o.op.Name == name
	})
	return ops
}

// open are the operations that did not end exactly once.
func (w *watcher) open() (ops []observed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.seen {
		if o.ended != 1 {
			ops = append(ops, *o)
		}
	}
	return ops
}

func TestObserver(t *testing.T) {
	t.Parallel()
	watched := func(w *watcher) func(*appio.Options) { return func(o *appio.Options) { o.Observer = w } }

	t.Run("is told of each operation and how it ended", func(t *testing.T) {
		t.Parallel()
		o := &watcher{}
		w, ctx := newTown(t, watched(o)), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		require.Len(t, o.take("revoke"), 3, "a service, a mode, a profile")
		for _, commit := range o.take("commit") {
			require.Equal(t, 1, commit.op.Count)
			require.NoError(t, commit.out.Err)
		}
		_, err := s.SendBatch(ctx, []appio.Message{messageTo(giuseppe), messageTo(matteo), messageTo(giuseppe), messageTo("xyzzy")})
		require.Error(t, err)
		require.Equal(t, []observed{{
			appio.Operation{Name: "send", Service: mensa, Count: 4}, appio.Outcome{Err: err, Processed: 2, Rejected: 1}, 1,
		}}, o.take("send"))
		require.Equal(t, []observed{{appio.Operation{Name: "commit", Count: 2}, appio.Outcome{}, 1}}, o.take("commit"))

		w.push.answer = func(_ context.Context, d appio.Delivery) error {
			return errors.New("no device " + d.Address.Value)
		}
		require.Equal(t, 4, w.flush())
		require.Equal(t, []observed{{appio.Operation{Name: "flush"}, appio.Outcome{}, 1}}, o.take("flush"))
		deliveries := o.take("deliver")
		require.Len(t, deliveries, 4)
		for _, d := range deliveries {
			require.Equal(t, appio.Operation{Name: "deliver", Service: mensa, Channel: d.op.Channel, Count: 1}, d.op)
			if d.op.Channel == appio.Email {
				require.NoError(t, d.out.Err)
				continue
			}
			require.Error(t, d.out.Err)
			require.NotContains(t, d.out.Err.Error(), "token-7")
		}
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{}))
		revoked := o.take("revoke")
		require.Len(t, revoked, 1)
		require.NoError(t, revoked[0].out.Err)
		require.Error(t, c.SetPreference(ctx, "nobody", appio.Preference{}))
		revoked = o.take("revoke")
		require.Len(t, revoked, 1)
		require.ErrorIs(t, revoked[0].out.Err, appio.ErrNotFound)
		require.Empty(t, o.open())
	})

	inBubble(t, "sees each operation end once, whatever channels do", func(t *testing.T) {
		o := &watcher{}
		w := newTown(t, watched(o), func(o *appio.Options) { o.MaxAttempts = 2 })
		gate, open := newGate(t)
		s := w.put()
		for i := range 6 {
			w.enrol(personNumber(i), appio.Auto)
		}
		w.email.answer = func(ctx context.Context, d appio.Delivery) error {
			var k int // not of person 0, who does not wait, is what hangs
			_, err := fmt.Sscanf(d.Subject, "Messaggio numero %d", &k)
			assert.NoError(t, err)
			switch k % 6 {
			case 0:
				panic("x")
			case 1:
				runtime.Goexit()
			case 2:
				<-gate
			case 3:
				return appio.Gone(errProvider)
			case 4:
				return appio.Permanent(errProvider)
			}
			return nil
		}
		end := w.run()
		time.Sleep(time.Second)
		for i := range 30 {
			w.send(s, messageTo(personNumber(i%6), func(m *appio.Message) { m.Subject = fmt.Sprintf("Messaggio numero %d", i) }))
		}
		require.NoError(t, w.person(personNumber(0)).SetMode(t.Context(), appio.Manual))
		time.Sleep(10 * time.Minute)
		open()
		time.Sleep(time.Minute)
		w.flush()
		end()
		require.NoError(t, w.Close())
		synctest.Wait()
		require.Empty(t, o.open())
		require.NotEmpty(t, o.take("deliver"))
	})

	t.Run("gives the context that channel and store get", func(t *testing.T) {
		t.Parallel()
		o := &watcher{}
		h := newHookedStore()
		var mu sync.Mutex
		at := map[string]int{}
		note := func(ctx context.Context) {
			mu.Lock()
			defer mu.Unlock()
			name, _ := ctx.Value(watcherKey{}).(string)
			at[name]++
		}
		w := newTownOn(t, h, watched(o))
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			note(ctx)
			return next(ctx, changes)
		})
		w.email.answer = func(ctx context.Context, d appio.Delivery) error { note(ctx); return nil }
		w.send(s, messageTo(giuseppe))
		w.flush()
		require.Equal(t, 1, at["deliver"])
		require.Positive(t, at["commit"])
		require.Len(t, at, 2)
	})

	t.Run("may give neither a context nor a function", func(t *testing.T) {
		t.Parallel()
		w := newTown(t, func(o *appio.Options) { o.Observer = deafObserver{} })
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe))
		require.Equal(t, 2, w.flush())
	})

	t.Run("and is told nothing of a person", func(t *testing.T) {
		t.Parallel()
		o := &watcher{}
		w := newTown(t, watched(o))
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.email.answer = func(_ context.Context, d appio.Delivery) error {
			return fmt.Errorf("%s %s %s %s", d.Address.Value, d.Subject, d.Markdown, giuseppe)
		}
		w.send(s, messageTo(giuseppe))
		w.flush()
		requireNothingOf(t, fmt.Sprintf("%+v", o.take("deliver"))+fmt.Sprintf("%+v", o.take("send")))
	})
}

type deafObserver struct{}

func (deafObserver) Observe(context.Context, appio.Operation) (context.Context, func(appio.Outcome)) {
	return nil, nil
}

// requireNothingOf requires that a text tells nothing of giuseppe or what was written to him.
func requireNothingOf(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{string(giuseppe), "casa@example.it", "token-7", subject, "menù"} {
		require.NotContains(t, text, secret)
	}
}

func TestLogger(t *testing.T) {
	t.Parallel()
	inBubble(t, "gets what no caller can be told, and never who or what", func(t *testing.T) {
		var mu sync.Mutex
		var out bytes.Buffer
		h := newHookedStore()
		w := newTownOn(t, h, func(o *appio.Options) {
			o.MaxAttempts = 2
			o.Logger = slog.New(slog.NewJSONHandler(lockedWriter{&mu, &out}, &slog.HandlerOptions{Level: slog.LevelDebug}))
		})
		ctx := t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		secret := func(d appio.Delivery) string {
			return fmt.Sprint(d.Address.Value, " ", d.Subject, " ", d.Markdown, " ", string(giuseppe))
		}
		n := 0
		w.email.answer = func(_ context.Context, d appio.Delivery) error {
			switch n++; n % 4 {
			case 0:
				panic(secret(d))
			case 1:
				return errors.New(secret(d))
			case 2:
				return appio.Permanent(errors.New(secret(d)))
			}
			return appio.Gone(errors.New(secret(d)))
		}
		end := w.run()
		time.Sleep(time.Second)
		for range 8 {
			require.NoError(t, join(ctx, c, appio.Auto)) // the address may be gone
			w.send(s, messageTo(giuseppe))
			time.Sleep(2 * time.Minute)
		}
		h.onRead(func() error { return errLost })
		time.Sleep(10 * time.Second)
		h.onRead(nil)
		for _, r := range recordsOf(t, h.Store, citizens) { // damage all that is there
			r.Value[len(r.Value)-1] ^= 1
			overwrite(t, h.Store, r.Owner, store.Change{Put: []store.Record{r}})
		}
		w.advance(time.Hour)
		time.Sleep(10 * time.Second)
		_, _ = s.Send(ctx, messageTo(giuseppe))
		_ = c.SetPreference(ctx, mensa, appio.Preference{})
		_, err := c.Profile(ctx)
		require.ErrorIs(t, err, store.ErrCorrupt)
		requireNothingOf(t, err.Error())
		end()
		mu.Lock()
		defer mu.Unlock()
		require.Contains(t, out.String(), "panicked")
		require.Contains(t, out.String(), errLost.Error())
		requireNothingOf(t, out.String())
	})

	t.Run("may call the engine", func(t *testing.T) {
		t.Parallel()
		form.Watch(t, time.Minute)
		synctest.Test(t, func(t *testing.T) {
			var w *town
			told := map[string]bool{}
			var mu sync.Mutex
			h := newHookedStore()
			w = newTownOn(t, h, func(o *appio.Options) {
				o.Logger = slog.New(slog.NewTextHandler(writerFunc(func(line []byte) (int, error) {
					_ = w.person(matteo).SetMode(context.Background(), appio.Manual)
					mu.Lock()
					defer mu.Unlock()
					told[string(line)] = true
					return len(line), nil
				}), &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
					if a.Key == slog.MessageKey {
						return a
					}
					return slog.Attr{}
				}}))
			})
			s := w.put()
			w.enrol(giuseppe, appio.Auto)
			w.send(s, messageTo(giuseppe))
			for _, r := range recordsOf(t, h.Store, citizens) {
				if strings.HasPrefix(string(r.Key), "q/") {
					r.Value[len(r.Value)/2] ^= 0x40
					overwrite(t, h.Store, r.Owner, store.Change{Put: []store.Record{r}})
				}
			}
			w.send(s, messageTo(giuseppe))
			w.push.answer = func(context.Context, appio.Delivery) error {
				h.onCommit(func(context.Context, []store.Change, commitFunc) ([]error, error) { return nil, store.ErrFailed })
				return nil
			}
			_, _ = w.Flush(t.Context())
			time.Sleep(time.Second)
			mu.Lock()
			defer mu.Unlock()
			require.Contains(t, told, "msg=\"a record could not be read and was put aside\"\n")
			require.Contains(t, told, "msg=\"what became of a delivery could not be recorded\"\n")
		})
	})
}

type lockedWriter struct {
	mu *sync.Mutex
	w  *bytes.Buffer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func TestHealth(t *testing.T) {
	t.Parallel()

	t.Run("of an engine with nothing to do is zero", func(t *testing.T) {
		t.Parallel()
		w := newTown(t)
		h, err := w.Health(t.Context())
		require.NoError(t, err)
		require.Equal(t, appio.Health{}, h)
	})

	t.Run("counts what waits, since when, and what gave up", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		for i := range 5 {
			w.enrol(personNumber(i), appio.Auto)
			w.send(s, messageTo(personNumber(i)))
			w.advance(time.Minute)
		}
		h, err := w.Health(ctx)
		require.NoError(t, err)
		require.Equal(t, 5, h.Waiting)
		require.InDelta(t, 5*time.Minute, h.OldestDue, float64(20*time.Second))
		require.Zero(t, h.Parked)

		w.email.answer = func(context.Context, appio.Delivery) error { return appio.Permanent(errProvider) }
		w.push.answer = func(context.Context, appio.Delivery) error { return appio.RetryAfter(10*time.Minute, errProvider) }
		w.flush()
		h, err = w.Health(ctx)
		require.NoError(t, err)
		require.Equal(t, appio.Health{Parked: 5}, h, "what is tried again later does not wait")
		w.advance(11 * time.Minute)
		h, err = w.Health(ctx)
		require.NoError(t, err)
		require.Equal(t, 5, h.Waiting)
		require.InDelta(t, time.Minute, h.OldestDue, float64(20*time.Second))
	})

	t.Run("counts a queue of some hundreds whole", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		ms := make([]appio.Message, 700)
		for i := range ms {
			ms[i] = messageTo(giuseppe)
		}
		_, err := s.SendBatch(ctx, ms)
		require.NoError(t, err)
		h, err := w.Health(ctx)
		require.NoError(t, err)
		require.Equal(t, 700, h.Waiting)
	})

	t.Run("reads the store four times, however many services there are", func(t *testing.T) {
		t.Parallel()
		hooked := newHookedStore()
		w, ctx := newTownOn(t, hooked), t.Context()
		for i := range 30 {
			s := w.put(func(s *appio.Service) { s.ID = appio.ServiceID(fmt.Sprintf("s%d", i)) })
			w.enrol(personNumber(i), appio.Auto)
			for range i%3 + 1 {
				w.send(s, messageTo(personNumber(i)))
			}
			w.advance(time.Minute)
		}
		reads := 0
		hooked.onRead(func() error { reads++; return nil })
		h, err := w.Health(ctx)
		require.NoError(t, err)
		require.Equal(t, 60, h.Waiting)
		require.InDelta(t, 30*time.Minute, h.OldestDue, float64(20*time.Second))
		require.Equal(t, 4, reads)
	})

	t.Run("says why the store refuses changes, until it does no more", func(t *testing.T) {
		t.Parallel()
		hooked := newHookedStore()
		w, ctx := newTownOn(t, hooked), t.Context()
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		hooked.onCommit(func(context.Context, []store.Change, commitFunc) ([]error, error) { return nil, store.ErrFull })
		_, err := s.Send(ctx, messageTo(giuseppe))
		require.ErrorIs(t, err, store.ErrFull)
		for range 2 {
			_, err = w.person(giuseppe).Profile(ctx)
			require.NoError(t, err, "reads go on")
			h, err := w.Health(ctx)
			require.NoError(t, err)
			require.ErrorIs(t, h.Err, store.ErrFull)
		}
		hooked.onCommit(nil)
		w.send(s, messageTo(giuseppe))
		h, err := w.Health(ctx)
		require.NoError(t, err)
		require.NoError(t, h.Err)

		hooked.onCommit(func(context.Context, []store.Change, commitFunc) ([]error, error) { return nil, store.ErrFailed })
		_, err = s.Send(ctx, messageTo(giuseppe))
		require.ErrorIs(t, err, store.ErrFailed)
		hooked.onCommit(nil)
		w.send(s, messageTo(giuseppe))
		h, err = w.Health(ctx)
		require.NoError(t, err)
		require.ErrorIs(t, h.Err, store.ErrFailed, "a store that has failed stays so until it is opened anew")
	})

	t.Run("of a store that cannot be read is an error", func(t *testing.T) {
		t.Parallel()
		hooked := newHookedStore()
		w := newTownOn(t, hooked)
		w.put()
		hooked.onRead(func() error { return errLost })
		_, err := w.Health(t.Context())
		require.ErrorIs(t, err, errLost)
	})

	t.Run("of a store under another key says so", func(t *testing.T) {
		t.Parallel()
		s := memstore.New()
		newTownOn(t, s).put()
		w := newTownOn(t, s, func(o *appio.Options) { o.Keys = appio.RandomKeys() })
		h, err := w.Health(t.Context())
		require.ErrorIs(t, err, store.ErrKey)
		require.ErrorIs(t, h.Err, store.ErrKey)
		_, err = w.Sender(mensa).Send(t.Context(), messageTo(fiscalcode.Sandbox))
		require.ErrorIs(t, err, store.ErrKey)
		plain := newTownOn(t, s, func(o *appio.Options) { o.Plain = true })
		_, err = plain.Health(t.Context())
		require.ErrorIs(t, err, store.ErrKey, "a sealed store is not a plain one")
	})
}
