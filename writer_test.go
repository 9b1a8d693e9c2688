package appio_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
)

func TestWriter(t *testing.T) {
	t.Parallel()

	// town is with a citizen, a service, and a store whose commits can be come between.
	setup := func(t *testing.T) (*town, *hookedStore, *appio.Sender, *appio.Citizen) {
		h := newHookedStore()
		w := newTownOn(t, h)
		return w, h, w.put(), w.enrol(giuseppe, appio.Auto)
	}
	// once lets the first commit go by f, and the others as they are.
	once := func(f commitHook) commitHook {
		var first sync.Once
		return func(ctx context.Context, changes []store.Change, next commitFunc) (errs []error, err error) {
			mine := false
			first.Do(func() { mine = true })
			if mine {
				return f(ctx, changes, next)
			}
			return next(ctx, changes)
		}
	}

	inBubble(t, "a choice made between the reading of consent and the commit is honoured", func(t *testing.T) {
		w, h, s, _ := setup(t)
		elsewhere := newTownOn(t, h.Store)
		h.onCommit(once(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			if err := elsewhere.person(giuseppe).SetPreference(ctx, mensa, appio.Preference{}); err != nil {
				return nil, err
			}
			return next(ctx, changes)
		}))
		r, err := s.Send(t.Context(), messageTo(giuseppe))
		require.NoError(t, err)
		require.Equal(t, appio.Rejected, r.Status)
		require.Empty(t, collect(t, w.person(giuseppe).Inbox(nil)))
		require.Equal(t, appio.RuleServiceRefused, w.explain(giuseppe, r.ID).Decision.Rule)
	})

	inBubble(t, "a service stopped elsewhere is stopped at the next message", func(t *testing.T) {
		_, h, s, _ := setup(t)
		elsewhere := newTownOn(t, h.Store)
		elsewhere.put(func(s *appio.Service) { s.State = appio.Stopped })
		_, err := s.Send(t.Context(), messageTo(giuseppe))
		require.ErrorIs(t, err, appio.ErrForbidden)
	})

	inBubble(t, "a message sent while the service is being written waits for that", func(t *testing.T) {
		w, h, s, _ := setup(t)
		h.onCommit(once(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			time.Sleep(time.Second)
			return next(ctx, changes)
		}))
		done := make(chan error, 1)
		go func() { done <- stop(context.Background(), w) }()
		synctest.Wait()
		_, err := s.Send(t.Context(), messageTo(giuseppe))
		require.ErrorIs(t, err, appio.ErrForbidden)
		require.NoError(t, <-done)

		h.onCommit(once(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			time.Sleep(time.Hour)
			return next(ctx, changes)
		}))
		go func() { done <- w.PutService(context.Background(), newService()) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err = s.Send(ctx, messageTo(giuseppe))
		require.Error(t, err)
		require.NotErrorIs(t, err, appio.ErrUnknown)
		require.Less(t, time.Since(start), time.Second, "but no longer than its context")
		_, err = s.Send(t.Context(), messageTo(giuseppe))
		require.ErrorIs(t, err, appio.ErrBusy, "nor without end")
		require.NoError(t, <-done)
		w.send(s, messageTo(giuseppe))
	})

	t.Run("a batch larger than a change or a commit may be is stored whole", func(t *testing.T) {
		t.Parallel()
		w, _, s, c := setup(t)
		ctx := t.Context()
		large := strings.Repeat("€", 10_000) // 30,000 bytes
		ms := make([]appio.Message, 300)
		for i := range ms {
			ms[i] = messageTo(giuseppe, func(m *appio.Message) { m.Markdown = large })
		}
		_, err := s.SendBatch(ctx, ms)
		require.NoError(t, err)
		require.Len(t, collect(t, c.Inbox(nil)), len(ms))

		ms = ms[:0]
		for i := range 1200 {
			if i < 300 {
				require.NoError(t, w.person(personNumber(i)).SetMode(ctx, appio.Auto))
			}
			ms = append(ms, messageTo(personNumber(i%300), func(m *appio.Message) { m.Markdown = large }))
		}
		rs, err := s.SendBatch(ctx, ms)
		require.NoError(t, err)
		for _, r := range rs {
			require.Equal(t, appio.Processed, r.Status)
		}
	})

	inBubble(t, "who conflicts without end is busy, and nothing was changed", func(t *testing.T) {
		w, h, s, c := setup(t)
		commits := 0
		h.onCommit(func(_ context.Context, changes []store.Change, _ commitFunc) ([]error, error) {
			commits++
			return []error{store.ErrConflict}, nil
		})
		_, err := s.Send(t.Context(), messageTo(giuseppe, withKey("k")))
		require.ErrorIs(t, err, appio.ErrBusy)
		require.NotErrorIs(t, err, appio.ErrUnknown)
		require.Equal(t, 17, commits)
		require.ErrorIs(t, c.SetMode(t.Context(), appio.Manual), appio.ErrBusy)
		h.onCommit(nil)
		require.Empty(t, collect(t, c.Inbox(nil)))
		r, err := s.Send(t.Context(), messageTo(giuseppe, withKey("k")))
		require.NoError(t, err)
		require.False(t, r.Repeated)
		require.Len(t, collect(t, c.Inbox(nil)), 1)
		require.Equal(t, 2, w.flush())
	})

	inBubble(t, "one owner's conflict does not hold up the others of a commit", func(t *testing.T) {
		w, h, s, _ := setup(t)
		w.enrol(matteo, appio.Auto)
		var last []error
		h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			if len(changes) == 1 {
				return []error{store.ErrConflict}, nil
			}
			_, err := next(ctx, changes[:1])
			last = make([]error, len(changes))
			for i := range changes[1:] {
				last[i+1] = store.ErrConflict
			}
			return last, err
		})
		rs, err := s.SendBatch(t.Context(), []appio.Message{messageTo(giuseppe), messageTo(matteo)})
		require.ErrorIs(t, err, appio.ErrBusy)
		busy := 0
		for _, r := range rs {
			if r.Err != nil {
				busy++
				require.ErrorIs(t, r.Err, appio.ErrBusy)
			}
		}
		require.Equal(t, 1, busy)
	})

	inBubble(t, "a context that ends while a commit is under way is an outcome that is not known, and the key asks again", func(t *testing.T) {
		w, h, s, c := setup(t)
		h.onCommit(once(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			time.Sleep(30 * time.Second)
			return next(ctx, changes)
		}))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		r, err := s.Send(ctx, messageTo(giuseppe, withKey("k")))
		require.ErrorIs(t, err, appio.ErrUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, r.Status)
		require.Equal(t, 4*time.Second, time.Since(start), "it is given a moment")
		r, err = s.Send(t.Context(), messageTo(giuseppe, withKey("k")))
		require.NoError(t, err)
		require.True(t, r.Repeated)
		require.Len(t, collect(t, c.Inbox(nil)), 1)
		require.Equal(t, 2, w.flush())
	})

	inBubble(t, "a context that ends while the operation waits for its turn sends nothing", func(t *testing.T) {
		_, h, s, c := setup(t)
		h.onCommit(once(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			time.Sleep(30 * time.Second)
			return next(ctx, changes)
		}))
		done := make(chan error, 1)
		go func() {
			_, err := s.Send(context.Background(), messageTo(giuseppe, withKey("first")))
			done <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		_, err := s.Send(ctx, messageTo(giuseppe, withKey("second")))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, appio.ErrUnknown)
		require.NoError(t, <-done)
		require.Len(t, collect(t, c.Inbox(nil)), 1)
	})

	inBubble(t, "what of a batch is known is told, though the rest is not when its context ends", func(t *testing.T) {
		w, h, s, _ := setup(t)
		w.enrol(matteo, appio.Auto)
		h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			if len(changes) == 1 {
				time.Sleep(30 * time.Second)
				return next(ctx, changes)
			}
			_, err := next(ctx, changes[:1])
			return []error{nil, store.ErrConflict}, err
		})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		rs, err := s.SendBatch(ctx, []appio.Message{messageTo(giuseppe), messageTo(matteo)})
		require.ErrorIs(t, err, appio.ErrUnknown)
		var known []fiscalcode.Person
		for i, r := range rs {
			if r.Err == nil {
				require.Equal(t, appio.Processed, r.Status)
				known = append(known, []fiscalcode.Person{giuseppe, matteo}[i])
			}
		}
		require.Len(t, known, 1)
		require.Len(t, collect(t, w.person(known[0]).Inbox(nil)), 1)
		time.Sleep(time.Minute)
	})

	inBubble(t, "only those are told that an outcome is not known whose it is", func(t *testing.T) {
		_, h, s, c := setup(t)
		var joined sync.WaitGroup
		var late error
		commits := 0
		h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			if commits++; commits > 1 {
				return next(ctx, changes)
			}
			_, _ = next(ctx, changes) // it is made, and the next try is a conflict
			joined.Go(func() { _, late = s.Send(context.Background(), messageTo(giuseppe, withKey("late"))) })
			time.Sleep(time.Millisecond)
			h.onRead(func() error { return errLost })
			return nil, errLost
		})
		_, err := s.Send(t.Context(), messageTo(giuseppe, withKey("first")))
		joined.Wait()
		require.ErrorIs(t, err, appio.ErrUnknown)
		require.ErrorIs(t, late, errLost)
		require.NotErrorIs(t, late, appio.ErrUnknown)
		h.onRead(nil)
		require.Len(t, collect(t, c.Inbox(nil)), 1)
		r, err := s.Send(t.Context(), messageTo(giuseppe, withKey("first")))
		require.NoError(t, err)
		require.True(t, r.Repeated)
	})

	inBubble(t, "outcomes that were merged into a commit whose answer is lost are recorded once", func(t *testing.T) {
		w, h, s, c := setup(t)
		answer := func(context.Context, appio.Delivery) error { time.Sleep(500 * time.Millisecond); return nil }
		w.email.answer, w.push.answer = answer, answer
		end := w.run()
		time.Sleep(time.Second)
		id := w.send(s, messageTo(giuseppe))
		time.Sleep(200 * time.Millisecond)
		commits := 0
		h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			switch commits++; commits {
			case 1: // of the citizen, while both deliveries end
				time.Sleep(time.Second)
			case 2:
				_, _ = next(ctx, changes)
				return nil, errLost
			}
			return next(ctx, changes)
		})
		require.NoError(t, c.MarkRead(t.Context(), id))
		time.Sleep(5 * time.Second)
		o := w.explain(giuseppe, id).Outcomes
		require.Len(t, o, 2, "%+v", o)
		for i := range o {
			require.False(t, o[i].Late, "%+v", o)
		}
		require.Empty(t, openWork(t, h.Store))
		end()
	})

	inBubble(t, "a citizen's choice goes before the messages that wait", func(t *testing.T) {
		w, h, s, c := setup(t)
		h.onCommit(once(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			time.Sleep(time.Second)
			return next(ctx, changes)
		}))
		const n = 300
		var wg sync.WaitGroup
		results := make([]appio.Result, n)
		for i := range n {
			wg.Go(func() { results[i], _ = s.Send(context.Background(), messageTo(giuseppe)) })
			synctest.Wait()
		}
		require.NoError(t, c.SetPreference(t.Context(), mensa, appio.Preference{}))
		wg.Wait()
		processed := 0
		for _, r := range results {
			require.NoError(t, r.Err)
			if r.Status == appio.Processed {
				processed++
			}
		}
		require.Less(t, processed, n/2, "those that were in the commit under way")
		require.Len(t, collect(t, w.person(giuseppe).Inbox(nil)), processed)
	})

	inBubble(t, "senders wait while too much is under way, and nothing is lost", func(t *testing.T) {
		w, h, s, _ := setup(t)
		gate, open := newGate(t)
		h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			<-gate
			return next(ctx, changes)
		})
		const n = 16384
		done := make(chan error, 1)
		go func() {
			ms := make([]appio.Message, n)
			for i := range ms {
				ms[i] = messageTo(personNumber(i % 2000))
			}
			_, err := s.SendBatch(context.Background(), ms)
			done <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		r, err := s.Send(ctx, messageTo(giuseppe, withKey("k")))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotErrorIs(t, err, appio.ErrUnknown)
		require.Zero(t, r.Status)
		require.Equal(t, time.Minute, time.Since(start))
		choice := make(chan error, 1)
		go func() { choice <- w.person(personNumber(9999)).SetMode(context.Background(), appio.Auto) }()
		synctest.Wait()
		open()
		require.NoError(t, <-done)
		require.NoError(t, <-choice, "a citizen's choice is not held up by senders")
		require.Empty(t, collect(t, w.person(giuseppe).Inbox(nil)))
		w.send(s, messageTo(giuseppe, withKey("k")))
	})

	inBubble(t, "Flush says that the store refuses", func(t *testing.T) {
		w, h, s, _ := setup(t)
		w.send(s, messageTo(giuseppe))
		h.onCommit(func(context.Context, []store.Change, commitFunc) ([]error, error) { return nil, store.ErrFull })
		_, err := w.Flush(t.Context())
		require.ErrorIs(t, err, store.ErrFull)
		h.onCommit(nil)
		require.Equal(t, 2, w.flush())
	})

	inBubble(t, "Run goes on after a store that was away, and ends with one that has failed", func(t *testing.T) {
		w, h, s, _ := setup(t)
		done := make(chan error, 1)
		go func() { done <- w.Run(context.Background()) }()
		time.Sleep(time.Second)
		h.onRead(func() error { return errLost })
		time.Sleep(time.Minute)
		h.onRead(nil)
		time.Sleep(2 * time.Second)
		w.send(s, messageTo(giuseppe))
		time.Sleep(2 * time.Second)
		require.Len(t, w.email.deliveries(), 1)

		h.onCommit(func(context.Context, []store.Change, commitFunc) ([]error, error) { return nil, store.ErrFailed })
		_, err := s.Send(t.Context(), messageTo(giuseppe))
		require.ErrorIs(t, err, store.ErrFailed)
		h.onRead(func() error { return store.ErrFailed })
		require.ErrorIs(t, <-done, store.ErrFailed)
	})
}

func TestClose(t *testing.T) {
	t.Parallel()

	inBubble(t, "ends Run, and a second time does nothing", func(t *testing.T) {
		w := newTown(t)
		w.put()
		done := make(chan error, 1)
		go func() { done <- w.Run(context.Background()) }()
		time.Sleep(time.Second)
		require.NoError(t, w.Close())
		require.NoError(t, <-done)
		require.NoError(t, w.Close())
	})

	inBubble(t, "from many at once waits for the same", func(t *testing.T) {
		h := newHookedStore()
		w := newTownOn(t, h)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		h.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) ([]error, error) {
			time.Sleep(10 * time.Second)
			return next(ctx, changes)
		})
		sent := make(chan error, 1)
		go func() {
			_, err := s.Send(context.Background(), messageTo(giuseppe))
			sent <- err
		}()
		time.Sleep(time.Second)
		start := time.Now()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				_ = w.Close()
				if took := time.Since(start); took != 9*time.Second {
					t.Errorf("closed after %v", took)
				}
			})
		}
		wg.Wait()
		require.NoError(t, <-sent, "what was under way is done")
		require.Len(t, keysOf(t, h.Store, citizens), len(keysOf(t, h.Store, citizens)), "the store is the caller's to close")
	})

	inBubble(t, "leaves nothing to be tried again", func(t *testing.T) {
		h := newHookedStore()
		var mu sync.Mutex
		var log bytes.Buffer
		said := func() string {
			mu.Lock()
			defer mu.Unlock()
			return log.String()
		}
		w := newTownOn(t, h, func(o *appio.Options) {
			o.Drain, o.Margin, o.Logger = time.Second, time.Second, slog.New(slog.NewTextHandler(lockedWriter{&mu, &log}, nil))
		})
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		synctest.Wait()
		w.email.answer = func(context.Context, appio.Delivery) error { h.onCommit(aborts); return nil }
		w.send(s, messageTo(giuseppe))
		synctest.Wait()
		end()
		require.Empty(t, said(), "it is still tried")
		require.NoError(t, w.Close())
		closed := said()
		require.Contains(t, closed, "could not be recorded")
		time.Sleep(time.Minute)
		require.Equal(t, closed, said(), "after Close")
	})

	t.Run("refuses all that comes later", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		key, err := w.NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		id := w.send(s, messageTo(giuseppe))
		w.flush()
		token := w.email.deliveries()[0].Withdraw
		require.NoError(t, w.Close())
		for name, call := range map[string]func() error{
			"PutOrganization": func() error { return w.PutOrganization(ctx, appio.Organization{Code: comune, Name: "Comune"}) },
			"Organization":    func() error { _, err := w.Organization(ctx, comune); return err },
			"PutService":      func() error { return w.PutService(ctx, newService()) },
			"Service":         func() error { _, err := w.Service(ctx, mensa); return err },
			"Services":        func() error { _, err := w.Services().Page(ctx, "", 1); return err },
			"NewKey":          func() error { _, err := w.NewKey(ctx, mensa, appio.Primary); return err },
			"PutKey":          func() error { return w.PutKey(ctx, mensa, appio.Primary, key) },
			"SenderByKey":     func() error { _, err := w.SenderByKey(ctx, key, noAddr); return err },
			"Send":            func() error { _, err := s.Send(ctx, messageTo(giuseppe)); return err },
			"SendBatch":       func() error { rs, _ := s.SendBatch(ctx, make([]appio.Message, 2)); return rs[1].Err },
			"Status":          func() error { _, err := s.Status(ctx, giuseppe, id); return err },
			"CanContact":      func() error { _, err := s.CanContact(ctx, giuseppe); return err },
			"Activate":        func() error { return s.Activate(ctx, giuseppe, appio.Active, time.Time{}) },
			"Profile":         func() error { _, err := c.Profile(ctx); return err },
			"SetMode":         func() error { return c.SetMode(ctx, appio.Auto) },
			"UpdateProfile":   func() error { return c.UpdateProfile(ctx, func(*appio.Profile) error { return nil }) },
			"Preference":      func() error { _, err := c.Preference(ctx, mensa); return err },
			"SetPreference":   func() error { return c.SetPreference(ctx, mensa, appio.Preference{}) },
			"Inbox":           func() error { _, err := c.Inbox(nil).Page(ctx, "", 1); return err },
			"Message":         func() error { _, err := c.Message(ctx, id); return err },
			"MarkRead":        func() error { return c.MarkRead(ctx, id) },
			"Archive":         func() error { return c.Archive(ctx, id, true) },
			"Consents":        func() error { _, err := c.Consents().Page(ctx, "", 1); return err },
			"Citizen.Explain": func() error { _, err := c.Explain(ctx, id); return err },
			"Erase":           func() error { return c.Erase(ctx) },
			"Explain":         func() error { _, err := w.Explain(ctx, giuseppe, id); return err },
			"Withdraw":        func() error { return w.Withdraw(ctx, token) },
			"Parked":          func() error { _, err := w.Parked().Page(ctx, "", 1); return err },
			"Replay":          func() error { return w.Replay(ctx) },
			"Health": func() error {
				h, err := w.Health(ctx)
				if !errors.Is(h.Err, store.ErrClosed) {
					return errors.New("health says nothing")
				}
				return err
			},
			"Run":    func() error { return w.Run(ctx) },
			"Flush":  func() error { _, err := w.Flush(ctx); return err },
			"Backup": func() error { return w.Backup(ctx, io.Discard) },
		} {
			require.ErrorIs(t, call(), store.ErrClosed, name)
		}
		again := newTownOn(t, w.store)
		require.Len(t, collect(t, again.person(giuseppe).Inbox(nil)), 1, "the store is the caller's, and open")
	})

	inBubble(t, "amid senders leaves each message whole or not there, and says which", func(t *testing.T) {
		w := newTown(t)
		s := w.put()
		const people = 8
		for i := range people {
			w.enrol(personNumber(i), appio.Auto)
		}
		end := make(chan error, 1)
		go func() { end <- w.Run(context.Background()) }()
		time.Sleep(time.Second)
		var mu sync.Mutex
		accepted, wrong := map[appio.MessageID]bool{}, []error(nil)
		var wg sync.WaitGroup
		for i := range people {
			wg.Go(func() {
				for {
					r, err := s.Send(context.Background(), messageTo(personNumber(i)))
					mu.Lock()
					switch {
					case err == nil:
						accepted[r.ID] = true
					case !errors.Is(err, store.ErrClosed):
						wrong = append(wrong, err)
					}
					mu.Unlock()
					if err != nil {
						return
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		require.NoError(t, w.Close())
		wg.Wait()
		require.NoError(t, <-end)
		require.Empty(t, wrong)
		again := newTownOn(t, w.store)
		found := 0
		for i := range people {
			for _, m := range collect(t, again.person(personNumber(i)).Inbox(nil)) {
				require.True(t, accepted[m.ID])
				found++
			}
		}
		require.Len(t, accepted, found)
	})
}
