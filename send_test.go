package appio_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// refusals are the ways in which a person may not agree; each enrols the person so.
var refusals = map[string]func(ctx context.Context, c *appio.Citizen) error{
	"unknown": func(context.Context, *appio.Citizen) error { return nil },
	"undecided": func(ctx context.Context, c *appio.Citizen) error {
		return c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Inbox = true; return nil })
	},
	"inbox off": func(ctx context.Context, c *appio.Citizen) error {
		return errors.Join(join(ctx, c, appio.Auto), c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Inbox = false; return nil }))
	},
	"refused": func(ctx context.Context, c *appio.Citizen) error {
		return errors.Join(join(ctx, c, appio.Auto), c.SetPreference(ctx, mensa, appio.Preference{}))
	},
	"not chosen": func(ctx context.Context, c *appio.Citizen) error { return join(ctx, c, appio.Manual) },
	"being erased": func(ctx context.Context, c *appio.Citizen) error {
		return errors.Join(join(ctx, c, appio.Auto), c.Erase(ctx))
	},
	"not activated": func(ctx context.Context, c *appio.Citizen) error { return join(ctx, c, appio.Auto) },
}

var refusalRules = map[string]appio.Rule{
	"unknown": appio.RuleUnknown, "undecided": appio.RuleUndecided, "inbox off": appio.RuleInboxOff, "refused": appio.RuleServiceRefused,
	"not chosen": appio.RuleModeManual, "being erased": appio.RuleUnknown, "not activated": appio.RuleNotActivated,
}

func TestRejection(t *testing.T) {
	t.Parallel()

	t.Run("looks the same, whatever the reason", func(t *testing.T) {
		t.Parallel()
		type view struct {
			result     appio.Result
			repeated   appio.Result
			status     appio.MessageStatus
			statusErr  error
			later      appio.MessageStatus
			laterErr   error
			may        bool
			mayErr     error
			send       countedCalls
			ask, check countedCalls
			records    int
		}
		views := map[string]view{}
		at := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
		for name, refuse := range refusals {
			counted := &countingStore{Store: memstore.New()}
			w, ctx := newTownOn(t, counted, func(o *appio.Options) { o.Now = func() time.Time { return at } }), t.Context()
			s := w.put(func(s *appio.Service) {
				if name == "not activated" {
					s.Category = appio.Special
				}
			})
			require.NoError(t, refuse(ctx, w.person(giuseppe)))
			before := len(keysOf(t, w.store, citizens))
			counted.take()

			var v view
			var err error
			v.result, err = s.Send(ctx, messageTo(giuseppe, withKey("k")))
			require.NoError(t, err)
			v.send = counted.take()
			require.Equal(t, refusalRules[name], w.explain(giuseppe, v.result.ID).Decision.Rule)
			v.records = len(keysOf(t, w.store, citizens)) - before
			v.repeated, err = s.Send(ctx, messageTo(giuseppe, withKey("k")))
			require.NoError(t, err)
			require.Equal(t, v.result.ID, v.repeated.ID)
			require.Regexp(t, `^[0-7][0-9A-HJKMNP-TV-Z]{25}$`, v.result.ID)
			counted.take()
			v.status, v.statusErr = s.Status(ctx, giuseppe, v.result.ID)
			v.ask = counted.take()
			v.may, v.mayErr = s.CanContact(ctx, giuseppe)
			v.check = counted.take()

			// Whatever the person does, what was rejected stays so.
			w.flush()
			require.NoError(t, join(ctx, w.person(giuseppe), appio.Auto))
			require.NoError(t, w.person(giuseppe).SetPreference(ctx, mensa, appio.Preference{Inbox: true, ReadStatus: true}))
			v.later, v.laterErr = s.Status(ctx, giuseppe, v.result.ID)
			v.result.ID, v.repeated.ID = "", ""
			views[name] = v
		}
		want := views["unknown"]
		require.Equal(t, appio.Result{Status: appio.Rejected}, want.result)
		require.Equal(t, appio.Result{Status: appio.Rejected, Repeated: true}, want.repeated)
		require.Equal(t, appio.MessageStatus{Status: appio.Rejected, At: at}, want.status)
		require.Equal(t, want.status, want.later)
		require.False(t, want.may)
		require.Equal(t, 2, want.records, "the decision and what the key was used for")
		for name, v := range views {
			require.Equal(t, want, v, name)
		}
	})

	t.Run("keeps nothing but the decision", func(t *testing.T) {
		t.Parallel()
		for name, refuse := range refusals {
			w, ctx := newTown(t, func(o *appio.Options) { o.Plain = true }), t.Context()
			s := w.put(func(s *appio.Service) {
				if name == "not activated" {
					s.Category = appio.Special
				}
			})
			c := w.person(giuseppe)
			require.NoError(t, refuse(ctx, c))
			before := keysOf(t, w.store, citizens)
			r, err := s.Send(ctx, messageTo(giuseppe))
			require.NoError(t, err)
			require.ElementsMatch(t, append(before, "d/"+store.Key(r.ID)), keysOf(t, w.store, citizens), name)
			for _, rec := range recordsOf(t, w.store, "") {
				require.NotContains(t, string(rec.Value), subject)
				require.NotContains(t, string(rec.Value), "menù")
			}
			w.flush()
			require.Empty(t, w.email.deliveries())
			require.Empty(t, w.push.deliveries())
			require.Empty(t, w.explain(giuseppe, r.ID).Outcomes)
			if name != "being erased" {
				require.NoError(t, join(ctx, c, appio.Auto))
				require.Empty(t, collect(t, c.Inbox(nil)))
				require.Empty(t, collect(t, c.Inbox(&appio.InboxOptions{Archived: true})))
				_, err = c.Message(ctx, r.ID)
				require.ErrorIs(t, err, appio.ErrNotFound)
				require.ErrorIs(t, c.MarkRead(ctx, r.ID), appio.ErrNotFound)
			}
		}
	})

	t.Run("is known for 90 days", func(t *testing.T) {
		t.Parallel()
		for _, cleaned := range []bool{false, true} {
			w, ctx := newTown(t), t.Context()
			s := w.put()
			r, err := s.Send(ctx, messageTo(giuseppe))
			require.NoError(t, err)
			day := 24 * time.Hour
			flush := func() {
				if cleaned {
					w.flush()
				}
			}
			w.advance(90*day - time.Minute)
			flush()
			st, err := s.Status(ctx, giuseppe, r.ID)
			require.NoError(t, err)
			require.Equal(t, appio.Rejected, st.Status)
			w.advance(2 * time.Minute)
			flush()
			_, err = s.Status(ctx, giuseppe, r.ID)
			require.ErrorIs(t, err, appio.ErrNotFound)
			w.flush()
			require.Empty(t, keysOf(t, w.store, citizens), "and then nothing is left")
		}
	})
}

// A countingStore counts what the engine asks of a store.
type countingStore struct {
	store.Store
	mu    sync.Mutex
	calls countedCalls
}

type countedCalls struct{ views, reads, commits, changes, puts, deletes int }

func (c *countingStore) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	c.mu.Lock()
	c.calls.views++
	for _, r := range reads {
		c.calls.reads += len(r.Keys)
	}
	c.mu.Unlock()
	return c.Store.View(ctx, reads)
}

func (c *countingStore) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	c.mu.Lock()
	c.calls.commits++
	c.calls.changes += len(changes)
	for _, ch := range changes {
		c.calls.puts += len(ch.Put)
		c.calls.deletes += len(ch.Delete)
	}
	c.mu.Unlock()
	return c.Store.Commit(ctx, changes)
}

func (c *countingStore) take() countedCalls {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.calls
	c.calls = countedCalls{}
	return got
}

func TestDecisionOfEverySend(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	rules := map[appio.Rule]bool{}
	n := 0
	special := w.put(func(s *appio.Service) { s.ID, s.Category = "bonus", appio.Special })
	secure := w.put(func(s *appio.Service) { s.ID, s.SecureChannels = "salute", true })
	plain := w.put()
	for name, refuse := range refusals {
		for _, s := range []*appio.Sender{plain, special, secure} {
			for _, activation := range []appio.Activation{appio.Inactive, appio.Pending, appio.Active} {
				for _, tighten := range []bool{false, true} {
					code := personNumber(n)
					n++
					c := w.person(code)
					require.NoError(t, special.Activate(ctx, code, activation, w.now().Add(-time.Hour)))
					require.NoError(t, refuse(ctx, c), name)
					id, err := s.Send(ctx, messageTo(code, func(m *appio.Message) { m.SecureChannels = tighten }))
					require.NoError(t, err)
					r := w.explain(code, id.ID)
					require.True(t, appio.Decide(r.Facts).Equal(r.Decision))
					require.Equal(t, id.Status, r.Decision.Status)
					require.Equal(t, s.ID(), r.Service)
					require.Equal(t, tighten || s.ID() == "salute", r.Facts.Secure)
					rules[r.Decision.Rule] = true
				}
			}
		}
	}
	require.Len(t, rules, 8, "each rule but one, of a chosen service, was at work")
}

func TestSendBatch(t *testing.T) {
	t.Parallel()

	t.Run("answers by index, each message for itself", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.enrol(matteo, appio.Manual)
		long := strings.Repeat("a", 121)
		rs, err := s.SendBatch(ctx, []appio.Message{
			messageTo(giuseppe), messageTo(matteo), messageTo(giuseppe, func(m *appio.Message) { m.Subject = long }),
			messageTo(giuseppe), messageTo("xyzzy"), messageTo(personNumber(1)),
			messageTo(giuseppe, func(m *appio.Message) { m.Payment = &appio.Notice{Number: "302032002700000251", Amount: 100_01} }),
		})
		require.Len(t, rs, 7)
		requireField(t, err, "Subject", long)
		require.Contains(t, err.Error(), "message 2")
		for i, want := range []appio.Status{appio.Processed, appio.Rejected, "", appio.Processed, "", appio.Rejected, ""} {
			require.Equal(t, want, rs[i].Status, i)
			require.Equal(t, want == "", rs[i].ID == "", i)
			require.Equal(t, want == "", rs[i].Err != nil, i)
		}
		requireField(t, rs[4].Err, "To", "xyzzy")
		requireField(t, rs[6].Err, "Payment.Amount", "10001")
		require.NotEqual(t, rs[0].ID, rs[3].ID)
		require.Less(t, rs[0].ID, rs[3].ID)
		require.Len(t, collect(t, w.person(giuseppe).Inbox(nil)), 2)
	})

	t.Run("ids grow, though the clock steps back", func(t *testing.T) {
		t.Parallel()
		w := newTown(t)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		var last appio.MessageID
		for range 50 {
			id := w.send(s, messageTo(giuseppe))
			require.Greater(t, id, last)
			last = id
			w.advance(-time.Second)
		}
	})

	t.Run("of nothing is nothing", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		rs, err := w.put().SendBatch(ctx, nil)
		require.NoError(t, err)
		require.Empty(t, rs)
	})

	t.Run("may be large, and many may send at once", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		const people, each = 40, 60
		for i := range people {
			w.enrol(personNumber(i), appio.Auto)
		}
		var wg sync.WaitGroup
		errs := make([]error, 4)
		all := make([][]appio.Result, len(errs))
		for g := range errs {
			wg.Go(func() {
				ms := make([]appio.Message, people*each/len(errs))
				for i := range ms {
					ms[i] = messageTo(personNumber((i + g) % people))
				}
				all[g], errs[g] = s.SendBatch(ctx, ms)
			})
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
		ids := map[appio.MessageID]bool{}
		for _, rs := range all {
			for _, r := range rs {
				require.Equal(t, appio.Processed, r.Status)
				ids[r.ID] = true
			}
		}
		require.Len(t, ids, people*each)
		for i := range people {
			require.Len(t, collect(t, w.person(personNumber(i)).Inbox(nil)), each)
		}
	})

	t.Run("does not keep what it was given", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		m := messageTo(giuseppe, func(m *appio.Message) { m.Payment = &appio.Notice{Number: "302032002700000251", Amount: 100} })
		id := w.send(s, m)
		m.Payment.Amount = 1
		got, err := c.Message(ctx, id)
		require.NoError(t, err)
		require.EqualValues(t, 100, got.Payment.Amount)
		require.Empty(t, m.Payment.Payee, "nor changes it")
	})
}

func TestSendContext(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func() (context.Context, context.CancelFunc, error){
		"cancelled": func() (context.Context, context.CancelFunc, error) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return ctx, cancel, context.Canceled
		},
		"past its deadline": func() (context.Context, context.CancelFunc, error) {
			ctx, cancel := context.WithDeadline(context.Background(), time.Unix(1, 0))
			return ctx, cancel, context.DeadlineExceeded
		},
	} {
		t.Run(fmt.Sprintf("one that is %s sends nothing", name), func(t *testing.T) {
			t.Parallel()
			w := newTown(t)
			s := w.put()
			c := w.enrol(giuseppe, appio.Auto)
			ctx, cancel, want := end()
			defer cancel()
			rs, err := s.SendBatch(ctx, []appio.Message{messageTo(giuseppe), messageTo(giuseppe)})
			require.ErrorIs(t, err, want)
			require.NotErrorIs(t, err, appio.ErrUnknown)
			require.Len(t, rs, 2)
			require.ErrorIs(t, rs[1].Err, want)
			require.Empty(t, collect(t, c.Inbox(nil)))
		})
	}
}
