package appio_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

func TestMessageLimits(t *testing.T) {
	t.Parallel()
	pay := func(change func(n *appio.Notice)) func(*appio.Message) {
		return func(m *appio.Message) {
			m.Payment = &appio.Notice{Number: "302032002700000251", Amount: 100}
			change(m.Payment)
		}
	}
	for _, c := range []struct {
		field string // empty: it is valid
		value string
		set   func(*appio.Message)
	}{
		{"To", "", func(m *appio.Message) { m.To = "" }},
		{"To", "grbgpp", func(m *appio.Message) { m.To = "grbgpp87l04l741x" }},
		{"To", "GRBGPP", func(m *appio.Message) { m.To = giuseppe[:15] }},
		{"", "", func(m *appio.Message) { m.Subject = strings.Repeat("a", 10) }},
		{"Subject", "aaa", func(m *appio.Message) { m.Subject = strings.Repeat("a", 9) }},
		{"Subject", "", func(m *appio.Message) { m.Subject = "" }},
		{"", "", func(m *appio.Message) { m.Subject = strings.Repeat("è", 120) }},
		{"Subject", "èè", func(m *appio.Message) { m.Subject = strings.Repeat("è", 121) }},
		{"", "", func(m *appio.Message) { m.Subject = strings.Repeat("😀", 5) }},
		{"Subject", "😀", func(m *appio.Message) { m.Subject = strings.Repeat("😀", 4) + "a" }},
		{"", "", func(m *appio.Message) { m.Subject = strings.Repeat("😀", 60) }},
		{"Subject", "😀", func(m *appio.Message) { m.Subject = strings.Repeat("😀", 60) + "a" }},
		{"", "", func(m *appio.Message) { m.Subject = strings.Repeat("\uffff", 120) }},
		{"Subject", "xyzzy", func(m *appio.Message) { m.Subject = "xyzzy xyzzy\xff" }},
		{"", "", func(m *appio.Message) { m.Markdown = strings.Repeat("a", 80) }},
		{"Markdown", "aaa", func(m *appio.Message) { m.Markdown = strings.Repeat("a", 79) }},
		{"Markdown", "", func(m *appio.Message) { m.Markdown = "" }},
		{"", "", func(m *appio.Message) { m.Markdown = strings.Repeat("a", 10_000) }},
		{"Markdown", "aaa", func(m *appio.Message) { m.Markdown = strings.Repeat("a", 10_001) }},
		{"", "", func(m *appio.Message) { m.Markdown = strings.Repeat("😀", 40) }},
		{"Markdown", "😀", func(m *appio.Message) { m.Markdown = strings.Repeat("😀", 39) + "a" }},
		{"", "", func(m *appio.Message) { m.Markdown = strings.Repeat("😀", 5000) }},
		{"Markdown", "😀", func(m *appio.Message) { m.Markdown = strings.Repeat("😀", 5000) + "a" }},
		{"", "", func(m *appio.Message) { m.Due = time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC) }},
		{"", "", func(m *appio.Message) { m.Due = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }},
		{"Due", "10000", func(m *appio.Message) { m.Due = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{"Due", "9999", func(m *appio.Message) { m.Due = time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3600)) }},
		{"Due", "-1", func(m *appio.Message) { m.Due = time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{"", "", func(m *appio.Message) { m.TimeToLive = time.Hour }},
		{"", "", func(m *appio.Message) { m.TimeToLive = 7 * 24 * time.Hour }},
		{"TimeToLive", "59m", func(m *appio.Message) { m.TimeToLive = time.Hour - 1 }},
		{"TimeToLive", "168h", func(m *appio.Message) { m.TimeToLive = 7*24*time.Hour + 1 }},
		{"TimeToLive", "-", func(m *appio.Message) { m.TimeToLive = -time.Hour }},
		{"", "", func(m *appio.Message) { m.Key = strings.Repeat("k", 200) }},
		{"Key", "kkk", func(m *appio.Message) { m.Key = strings.Repeat("k", 201) }},
		{"Key", "xyzzy", func(m *appio.Message) { m.Key = "xyzzy\xff" }},
		{"", "", pay(func(n *appio.Notice) { n.Amount = 1 })},
		{"", "", pay(func(n *appio.Notice) { n.Amount = 9_999_999_999 })},
		{"Payment.Amount", "", pay(func(n *appio.Notice) { n.Amount = 0 })},
		{"Payment.Amount", "-5", pay(func(n *appio.Notice) { n.Amount = -5 })},
		{"Payment.Amount", "10000000000", pay(func(n *appio.Notice) { n.Amount = 10_000_000_000 })},
		{"Payment.Number", "3020320027000002", pay(func(n *appio.Notice) { n.Number = "30203200270000025" })},
		{"Payment.Number", "402032", pay(func(n *appio.Notice) { n.Number = "402032002700000251" })},
		{"Payment.Number", "", pay(func(n *appio.Notice) { n.Number = "" })},
		{"", "", pay(func(n *appio.Notice) { n.Number = "344012345678901233" })}, // a wrong check digit is let through
		{"", "", pay(func(n *appio.Notice) { n.Payee = "15376371009" })},
		{"", "", func(m *appio.Message) { m.Premium = true }},
		{"", "", func(m *appio.Message) { m.Prescription = &appio.Prescription{NRE: "010A12345678901"} }},
		{"", "", func(m *appio.Message) {
			m.Prescription = &appio.Prescription{NRE: "010A12345678901", IUP: strings.Repeat("1", 16), Prescriber: giuseppe}
		}},
		{"Prescription.NRE", "010A1234567890", func(m *appio.Message) { m.Prescription = &appio.Prescription{NRE: "010A1234567890"} }},
		{"Prescription.IUP", "11111", func(m *appio.Message) {
			m.Prescription = &appio.Prescription{NRE: "010A12345678901", IUP: strings.Repeat("1", 17)}
		}},
		{"Prescription.Prescriber", "doctor", func(m *appio.Message) {
			m.Prescription = &appio.Prescription{NRE: "010A12345678901", Prescriber: "doctor"}
		}},
		{"Payment.Payee", "1537637100", pay(func(n *appio.Notice) { n.Payee = "1537637100" })},
	} {
		w, ctx := newTown(t), t.Context()
		s := w.put(func(s *appio.Service) { s.MaxPayment, s.OtherPayees, s.Premium = 9_999_999_999, true, true })
		citizen := w.enrol(giuseppe, appio.Auto)
		before := len(recordsOf(t, w.store, ""))
		m := messageTo(giuseppe, c.set)
		r, err := s.Send(ctx, m)
		require.Equal(t, m.Validate(), err)
		if c.field == "" {
			require.NoError(t, err)
			require.Equal(t, appio.Processed, r.Status)
			got, err := citizen.Message(ctx, r.ID)
			require.NoError(t, err)
			require.Equal(t, m.Subject, got.Subject)
			require.Equal(t, m.Markdown, got.Markdown)
			require.True(t, m.Due.Equal(got.Due))
			require.Equal(t, m.Premium, got.Premium)
			require.Equal(t, m.Prescription, got.Prescription)
			continue
		}
		requireField(t, err, c.field, c.value)
		require.Equal(t, appio.Result{Err: err}, r)
		require.Len(t, recordsOf(t, w.store, ""), before, "nothing is written")
	}
}

func TestPremiumIsTheServicesToHave(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	w.enrol(giuseppe, appio.Auto)
	premium := messageTo(giuseppe, func(m *appio.Message) { m.Premium = true })
	_, err := w.put().Send(ctx, premium)
	require.ErrorIs(t, err, appio.ErrForbidden)
	_, err = w.put(func(s *appio.Service) { s.Premium = true }).Send(ctx, premium)
	require.NoError(t, err)
}

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

func TestSpecial(t *testing.T) {
	t.Parallel()
	setup := func(t *testing.T) (*town, *appio.Sender) {
		w := newTown(t)
		return w, w.put(func(s *appio.Service) { s.Category = appio.Special })
	}
	status := func(w *town, s *appio.Sender) (appio.Status, appio.Rule) {
		r, err := s.Send(w.t.Context(), messageTo(giuseppe))
		require.NoError(w.t, err)
		may, err := s.CanContact(w.t.Context(), giuseppe)
		require.NoError(w.t, err)
		require.Equal(w.t, r.Status == appio.Processed, may)
		return r.Status, w.explain(giuseppe, r.ID).Decision.Rule
	}

	t.Run("the activation decides, not the citizen's inbox choice", func(t *testing.T) {
		t.Parallel()
		w, s := setup(t)
		ctx := t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		st, rule := status(w, s)
		require.Equal(t, appio.Rejected, st)
		require.Equal(t, appio.RuleNotActivated, rule)
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Active, time.Time{}))
		st, rule = status(w, s)
		require.Equal(t, appio.Processed, st)
		require.Equal(t, appio.RuleActivated, rule)
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: false, Channels: appio.On(appio.Push)}))
		r, err := s.Send(ctx, messageTo(giuseppe))
		require.NoError(t, err)
		d := w.explain(giuseppe, r.ID).Decision
		require.Equal(t, appio.Processed, d.Status)
		require.Equal(t, appio.None, d.Content(appio.Email), "the choice of channels counts")
		require.Equal(t, appio.Full, d.Content(appio.Push))
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Inactive, time.Time{}))
		st, _ = status(w, s)
		require.Equal(t, appio.Rejected, st)
	})

	t.Run("begins only for whom the service may write to, by a key that may", func(t *testing.T) {
		t.Parallel()
		w, s := setup(t)
		ctx := t.Context()
		svc, err := w.Service(ctx, mensa)
		require.NoError(t, err)
		svc.State, svc.Trial = appio.Trial, []fiscalcode.Person{anna}
		require.NoError(t, w.PutService(ctx, svc))
		require.ErrorIs(t, s.Activate(ctx, giuseppe, appio.Active, time.Time{}), appio.ErrForbidden)
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Inactive, time.Time{}))
		require.NoError(t, s.Activate(ctx, anna, appio.Active, time.Time{}))
		svc.State, svc.Scopes = appio.Live, []appio.Scope{appio.ReadMessages}
		require.NoError(t, w.PutService(ctx, svc))
		key, err := w.NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		byKey, err := w.SenderByKey(ctx, key, netip.Addr{})
		require.NoError(t, err)
		require.ErrorIs(t, byKey.Activate(ctx, giuseppe, appio.Active, time.Time{}), appio.ErrForbidden)
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Active, time.Time{}))
		svc.State = appio.Stopped
		require.NoError(t, w.PutService(ctx, svc))
		require.ErrorIs(t, s.Activate(ctx, giuseppe, appio.Active, time.Time{}), appio.ErrForbidden)
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Inactive, time.Time{}))
	})

	t.Run("a pending activation counts for a day", func(t *testing.T) {
		t.Parallel()
		w, s := setup(t)
		ctx := t.Context()
		w.enrol(giuseppe, appio.Manual)
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Pending, time.Time{}))
		for _, c := range []struct {
			age  time.Duration
			want appio.Status
		}{
			{0, appio.Processed}, {24*time.Hour - time.Minute, appio.Processed},
			{24*time.Hour + time.Minute, appio.Rejected}, {1000 * time.Hour, appio.Rejected},
		} {
			w.ahead.Store(int64(c.age))
			st, _ := status(w, s)
			require.Equal(t, c.want, st, c.age)
		}
		w.ahead.Store(0)
		for since, want := range map[time.Duration]appio.Status{
			-23 * time.Hour: appio.Processed, -25 * time.Hour: appio.Rejected,
		} {
			require.NoError(t, s.Activate(ctx, giuseppe, appio.Pending, w.now().Add(since)))
			st, _ := status(w, s)
			require.Equal(t, want, st, since)
			require.NoError(t, s.Activate(ctx, giuseppe, appio.Active, w.now().Add(since)))
			st, _ = status(w, s)
			require.Equal(t, appio.Processed, st, "an active one does not age")
		}
	})

	t.Run("may be said before the citizen comes, and is no consent", func(t *testing.T) {
		t.Parallel()
		w, s := setup(t)
		require.NoError(t, s.Activate(t.Context(), giuseppe, appio.Active, time.Time{}))
		st, rule := status(w, s)
		require.Equal(t, appio.Rejected, st)
		require.Equal(t, appio.RuleUnknown, rule)
		w.enrol(giuseppe, appio.Manual)
		st, _ = status(w, s)
		require.Equal(t, appio.Processed, st)
	})

	t.Run("its end voids what is pending", func(t *testing.T) {
		t.Parallel()
		w, s := setup(t)
		ctx := t.Context()
		w.enrol(giuseppe, appio.Auto)
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Active, time.Time{}))
		id := w.send(s, messageTo(giuseppe))
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Inactive, time.Time{}))
		w.flush()
		require.Empty(t, w.email.deliveries())
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeVoid}, w.outcomes(giuseppe, id, appio.Email))
	})

	t.Run("is for special services", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		require.ErrorIs(t, s.Activate(ctx, giuseppe, appio.Active, time.Time{}), appio.ErrForbidden)
		requireField(t, s.Activate(ctx, giuseppe, "MAYBE", time.Time{}), "Activation", "MAYBE")
		requireField(t, s.Activate(ctx, "xyzzy", appio.Active, time.Time{}), "To", "xyzzy")
		require.Empty(t, keysOf(t, w.store, citizens))
	})
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

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()

	t.Run("the same key and message is the same message", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		first, err := s.Send(ctx, messageTo(giuseppe, withKey("k")))
		require.NoError(t, err)
		require.False(t, first.Repeated)
		again, err := s.Send(ctx, messageTo(giuseppe, withKey("k")))
		require.NoError(t, err)
		require.Equal(t, appio.Result{ID: first.ID, Status: appio.Processed, Repeated: true}, again)
		again, err = s.Send(ctx, messageTo(giuseppe, withKey("k"), func(m *appio.Message) { m.TimeToLive = time.Hour }))
		require.NoError(t, err)
		require.True(t, again.Repeated, "what is left out is the same as its default")
		require.Len(t, collect(t, c.Inbox(nil)), 1)
		require.Equal(t, 2, w.flush())
	})

	t.Run("another message under it is a conflict", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put(func(s *appio.Service) { s.Premium = true })
		c := w.enrol(giuseppe, appio.Auto)
		remote, err := w.Authority(comune).PutRemoteConfiguration(ctx, remoteConfiguration())
		require.NoError(t, err)
		notice := appio.Notice{Number: "302032002700000251", Amount: 100}
		base := messageTo(giuseppe, withKey("k"), func(m *appio.Message) { n := notice; m.Payment = &n })
		w.send(s, base)
		for name, change := range map[string]func(m *appio.Message){
			"subject": func(m *appio.Message) { m.Subject += "." }, "markdown": func(m *appio.Message) { m.Markdown += "." },
			"due": func(m *appio.Message) { m.Due = time.Now() }, "secure": func(m *appio.Message) { m.SecureChannels = true },
			"time to live": func(m *appio.Message) { m.TimeToLive = 2 * time.Hour }, "no payment": func(m *appio.Message) { m.Payment = nil },
			"amount":       func(m *appio.Message) { n := notice; n.Amount++; m.Payment = &n },
			"number":       func(m *appio.Message) { n := notice; n.Number = "301202400000000164"; m.Payment = &n },
			"payee":        func(m *appio.Message) { n := notice; n.Payee = comune; m.Payment = &n },
			"after":        func(m *appio.Message) { n := notice; n.InvalidAfterDue = true; m.Payment = &n },
			"language":     func(m *appio.Message) { m.Language = "it" },
			"translations": func(m *appio.Message) { m.Language, m.Translations = "it", inEnglish },
			"template":     func(m *appio.Message) { m.Template = appio.TemplateRef{ID: "mensa", Version: 1} },
			"premium":      func(m *appio.Message) { m.Premium = true },
			"prescription": func(m *appio.Message) { m.Prescription = &appio.Prescription{NRE: "010A12345678901"} },
			"remote":       func(m *appio.Message) { m.Remote = &appio.RemoteContent{ID: "7", Configuration: remote.ID} },
		} {
			m := base
			change(&m)
			r, err := s.Send(ctx, m)
			require.ErrorIs(t, err, appio.ErrConflict, name)
			require.Equal(t, appio.Result{Err: err}, r)
		}
		require.Equal(t, 15, reflect.TypeFor[appio.Message]().NumField(), "a new field of Message belongs into this test")
		require.Len(t, collect(t, c.Inbox(nil)), 1)
	})

	t.Run("it counts per service and recipient", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s, other := w.put(), w.put(func(s *appio.Service) { s.ID = "tari" })
		w.enrol(giuseppe, appio.Auto)
		w.enrol(matteo, appio.Auto)
		ids := map[appio.MessageID]bool{}
		for _, by := range []*appio.Sender{s, other} {
			for _, to := range []fiscalcode.Person{giuseppe, matteo} {
				for _, key := range []string{"k", "K", "k ", ""} {
					r, err := by.Send(ctx, messageTo(to, withKey(key)))
					require.NoError(t, err)
					require.False(t, r.Repeated)
					ids[r.ID] = true
				}
			}
		}
		require.Len(t, ids, 16)
	})

	t.Run("twice in one batch is one message, and another body in it is a conflict", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		other := messageTo(giuseppe, withKey("k"), func(m *appio.Message) { m.Subject = "Un altro oggetto" })
		rs, err := s.SendBatch(ctx, []appio.Message{
			messageTo(giuseppe, withKey("k")), messageTo(giuseppe, withKey("k")), other, messageTo(giuseppe, withKey("k")), messageTo(giuseppe),
		})
		require.ErrorIs(t, err, appio.ErrConflict)
		require.ErrorIs(t, rs[2].Err, appio.ErrConflict)
		for i, repeated := range []bool{false, true, false, true, false} {
			require.Equal(t, repeated, rs[i].Repeated, i)
		}
		require.Equal(t, rs[0].ID, rs[1].ID)
		require.Equal(t, rs[0].ID, rs[3].ID)
		require.Len(t, collect(t, c.Inbox(nil)), 2)
	})

	t.Run("from many at once it is one message", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		const n = 32
		rs, errs := make([]appio.Result, n), make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { rs[i], errs[i] = s.Send(ctx, messageTo(giuseppe, withKey("k"))) })
		}
		wg.Wait()
		require.NoError(t, errors.Join(errs...))
		first := 0
		for _, r := range rs {
			require.Equal(t, rs[0].ID, r.ID)
			if !r.Repeated {
				first++
			}
		}
		require.Equal(t, 1, first)
		require.Len(t, collect(t, c.Inbox(nil)), 1)
	})

	t.Run("it settles a refusal too", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		r, err := s.Send(ctx, messageTo(giuseppe, withKey("k")))
		require.NoError(t, err)
		require.Equal(t, appio.Rejected, r.Status)
		c := w.enrol(giuseppe, appio.Auto)
		again, err := s.Send(ctx, messageTo(giuseppe, withKey("k")))
		require.NoError(t, err)
		require.Equal(t, appio.Result{ID: r.ID, Status: appio.Rejected, Repeated: true}, again)
		require.Empty(t, collect(t, c.Inbox(nil)))
		_, err = s.Send(ctx, messageTo(giuseppe, withKey("k"), func(m *appio.Message) { m.Subject += "." }))
		require.ErrorIs(t, err, appio.ErrConflict)
	})

	t.Run("an error does not use it up", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		w.enrol(giuseppe, appio.Auto)
		s := w.put(func(s *appio.Service) { s.State = appio.Stopped })
		_, err := s.Send(ctx, messageTo(giuseppe, withKey("k")))
		require.ErrorIs(t, err, appio.ErrForbidden)
		w.put()
		r, err := s.Send(ctx, messageTo(giuseppe, withKey("k")))
		require.NoError(t, err)
		require.Equal(t, appio.Processed, r.Status)
		require.False(t, r.Repeated)
	})

	t.Run("it counts for 30 days, whether the store was cleaned up or not", func(t *testing.T) {
		t.Parallel()
		for _, cleaned := range []bool{true, false} {
			w, ctx := newTown(t), t.Context()
			s := w.put()
			w.enrol(giuseppe, appio.Auto)
			id := w.send(s, messageTo(giuseppe, withKey("k")))
			flush := func() {
				if cleaned {
					w.flush()
				}
			}
			w.advance(30*24*time.Hour - time.Minute)
			flush()
			again, err := s.Send(ctx, messageTo(giuseppe, withKey("k")))
			require.NoError(t, err)
			require.Equal(t, id, again.ID)
			w.advance(2 * time.Minute)
			flush()
			again, err = s.Send(ctx, messageTo(giuseppe, withKey("k")))
			require.NoError(t, err)
			require.False(t, again.Repeated, "cleaned up: %v", cleaned)
			require.NotEqual(t, id, again.ID)
		}
	})

	t.Run("it is nowhere in the store", func(t *testing.T) {
		t.Parallel()
		w := newTown(t, func(o *appio.Options) { o.Plain = true })
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe, withKey("a key to be found")))
		for _, r := range recordsOf(t, w.store, "") {
			require.NotContains(t, string(r.Owner)+string(r.Key)+string(r.Value), "a key to be found")
		}
	})
}

func TestStatus(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	s, other := w.put(), w.put(func(s *appio.Service) { s.ID = "tari" })
	w.enrol(giuseppe, appio.Auto)
	w.enrol(matteo, appio.Auto)
	id := w.send(s, messageTo(giuseppe))
	rejected, err := s.Send(ctx, messageTo(personNumber(1)))
	require.NoError(t, err)

	t.Run("is for the service that sent it", func(t *testing.T) {
		st, err := s.Status(ctx, giuseppe, id)
		require.NoError(t, err)
		require.Equal(t, appio.Processed, st.Status)
		for to, id := range map[fiscalcode.Person]appio.MessageID{giuseppe: id, personNumber(1): rejected.ID} {
			st, err = other.Status(ctx, to, id)
			require.ErrorIs(t, err, appio.ErrForbidden)
			require.Zero(t, st)
		}
	})

	t.Run("asked by the path of another recipient it is not found", func(t *testing.T) {
		for _, to := range []fiscalcode.Person{matteo, personNumber(1), personNumber(2), "", "xyzzy"} {
			st, err := s.Status(ctx, to, id)
			require.ErrorIs(t, err, appio.ErrNotFound)
			require.Zero(t, st)
		}
		for _, id := range []appio.MessageID{"", "x", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "../" + id, id + "+", "d/" + id} {
			_, err := s.Status(ctx, giuseppe, id)
			require.ErrorIs(t, err, appio.ErrNotFound)
		}
	})

	t.Run("of a processed message is known for good", func(t *testing.T) {
		w := newTown(t)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		id := w.send(s, messageTo(giuseppe))
		w.advance(10 * 365 * 24 * time.Hour)
		w.flush()
		st, err := s.Status(ctx, giuseppe, id)
		require.NoError(t, err)
		require.Equal(t, appio.Processed, st.Status)
	})
}

func TestCanContact(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	s := w.put()
	n := 0
	for name, refuse := range refusals {
		if name == "not activated" {
			continue
		}
		n++
		require.NoError(t, refuse(ctx, w.person(personNumber(n))))
		may, err := s.CanContact(ctx, personNumber(n))
		require.NoError(t, err, name)
		require.False(t, may, name)
	}
	may, err := s.CanContact(ctx, w.enrolled(giuseppe))
	require.NoError(t, err)
	require.True(t, may)
	_, err = s.CanContact(ctx, "xyzzy")
	requireField(t, err, "To", "xyzzy")

	// It says what Send does, and stores nothing.
	before := len(recordsOf(t, w.store, ""))
	for i := range n {
		may, err := s.CanContact(ctx, personNumber(i+1))
		require.NoError(t, err)
		require.False(t, may)
	}
	require.Len(t, recordsOf(t, w.store, ""), before)
}

func TestRecipient(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	s := w.put()
	c := w.enrol(giuseppe, appio.Auto)
	require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Languages = []string{"it", "de"}; return nil }))
	r, err := s.Recipient(ctx, giuseppe)
	require.NoError(t, err)
	require.Equal(t, appio.Recipient{Allowed: true, Languages: []string{"it", "de"}}, r)

	require.NoError(t, c.SetPreference(ctx, s.ID(), appio.Preference{}))
	r, err = s.Recipient(ctx, giuseppe)
	require.NoError(t, err)
	require.Equal(t, appio.Recipient{Languages: []string{"it", "de"}}, r, "who refused is known")

	require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Inbox = false; return nil }))
	for _, to := range []fiscalcode.Person{giuseppe, matteo} {
		r, err = s.Recipient(ctx, to)
		require.Equal(t, appio.ErrNotFound, err, "whose inbox is closed is as one who never came")
		require.Zero(t, r)
	}
	_, err = s.Recipient(ctx, "xyzzy")
	requireField(t, err, "To", "xyzzy")
	w.put(func(s *appio.Service) { s.State = appio.Trial })
	_, err = s.Recipient(ctx, matteo)
	require.ErrorIs(t, err, appio.ErrForbidden, "in trial nothing is said of who is no recipient of it")

	w.put()
	require.NoError(t, w.person(giuseppe).Erase(ctx))
	_, err = s.Recipient(ctx, giuseppe)
	require.ErrorIs(t, err, appio.ErrNotFound)
}

func TestSentMessage(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	s, other := w.put(func(s *appio.Service) { s.Premium, s.MaxPayment = true, 100 }), w.put(func(s *appio.Service) { s.ID = "tari" })
	c := w.enrol(giuseppe, appio.Auto)
	m := messageTo(giuseppe, func(m *appio.Message) {
		m.Premium, m.Payment = true, &appio.Notice{Number: "302032002700000251", Amount: 100}
	})
	id := w.send(s, m)
	sent, err := s.Message(ctx, giuseppe, id)
	require.NoError(t, err)
	st, err := s.Status(ctx, giuseppe, id)
	require.NoError(t, err)
	require.Equal(t, st, sent.MessageStatus)
	m.Payment.Payee, m.TimeToLive = comune, time.Hour
	require.Equal(t, m, *sent.Message)

	for to, by := range map[fiscalcode.Person]*appio.Sender{giuseppe: other, matteo: s} {
		_, err := by.Status(ctx, to, id)
		require.Error(t, err)
		sent, same := by.Message(ctx, to, id)
		require.Equal(t, err, same)
		require.Zero(t, sent)
	}
	rejected, err := s.Send(ctx, messageTo(matteo, func(m *appio.Message) { m.Premium = true }))
	require.NoError(t, err)
	sent, err = s.Message(ctx, matteo, rejected.ID)
	require.NoError(t, err)
	require.Equal(t, appio.Rejected, sent.Status)
	require.True(t, sent.Premium)
	require.Nil(t, sent.Message)

	require.NoError(t, c.Erase(ctx))
	for range 2 { // before and after its records have gone
		sent, err = s.Message(ctx, giuseppe, id)
		require.NoError(t, err)
		require.Equal(t, appio.Processed, sent.Status)
		require.True(t, sent.Premium)
		require.Nil(t, sent.Message)
		w.flush()
	}
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
