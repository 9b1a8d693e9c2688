package appio_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
)

// A reminded town has a channel that notes when it was given which reminders.
type reminded struct {
	slowTown
	sent  []reminder
	fails error
}

type reminder struct {
	at   string // in Rome
	kind appio.ReminderKind
	of   appio.MessageID
}

func (r *reminded) Deliver(_ context.Context, d appio.Delivery) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d.Reminder == "" {
		return nil
	}
	if r.fails != nil {
		return r.fails
	}
	r.sent = append(r.sent, reminder{r.clock.In(rome).Format(minutes), d.Reminder, d.Message})
	return nil
}

func newReminded(t *testing.T, start string, changes ...func(*appio.Options)) (*reminded, *appio.Sender, *appio.Citizen) {
	r := &reminded{slowTown: slowTown{clock: at(start)}}
	r.town = newTown(t, append([]func(*appio.Options){func(o *appio.Options) {
		o.Now, o.Payments, o.Reminders = r.now, &gateway{}, &appio.ReminderSchedule{}
		o.Payments = &gateway{verify: func(id pagopa.RPTID) (appio.Debt, error) { return appio.Debt{RPTID: id, Amount: 1}, nil }}
		o.Channels[1].Channel, o.Channels[1].Reminders = r, true
	}}, changes...)...)
	s := r.put()
	c := r.enrol(giuseppe, appio.Auto)
	r.want(c, appio.Reminders{Unread: true, Deadline: true, Unpaid: true})
	return r, s, c
}

func (r *reminded) want(c *appio.Citizen, w appio.Reminders) {
	r.t.Helper()
	require.NoError(r.t, c.UpdateProfile(r.t.Context(), func(p *appio.Profile) error {
		p.Reminders = w
		return nil
	}))
}

func (r *reminded) times(kind appio.ReminderKind) (times []string) {
	for _, s := range r.sent {
		if s.kind == kind {
			times = append(times, s.at)
		}
	}
	return times
}

// noReminders demands that nothing is scheduled any more.
func (r *reminded) noReminders() {
	r.t.Helper()
	for _, rec := range recordsOf(r.t, r.store, "c/") {
		require.False(r.t, strings.HasPrefix(string(rec.Key), "r/") && !rec.Due.IsZero(), rec.Key)
	}
}

func TestReminders(t *testing.T) {
	t.Parallel()
	due := func(text string) func(*appio.Message) { return func(m *appio.Message) { m.Due = at(text) } }

	t.Run("of what is not read: after three, six and nine days", func(t *testing.T) {
		t.Parallel()
		r, s, _ := newReminded(t, "2026-03-10 09:30")
		r.send(s, messageTo(giuseppe))
		r.until("2026-04-10 00:00", 10*time.Minute)
		require.Equal(t, []string{"2026-03-13 09:30", "2026-03-16 09:30", "2026-03-19 09:30"}, r.times(appio.RemindUnread))
		r.noReminders()
		r.sound()
	})
	t.Run("of a notice: every three days of the last thirteen, four times, and on the day before", func(t *testing.T) {
		t.Parallel()
		r, s, _ := newReminded(t, "2026-03-01 09:30")
		r.want(r.person(giuseppe), appio.Reminders{Unpaid: true})
		r.send(s, messageTo(giuseppe, withNotice, due("2026-03-31 23:59")))
		r.until("2026-04-10 00:00", 10*time.Minute)
		require.Equal(t, []string{"2026-03-19 08:00", "2026-03-22 08:00", "2026-03-25 08:00", "2026-03-28 08:00", "2026-03-30 08:00"}, r.times(appio.RemindUnpaid))
		require.Len(t, r.sent, 5)
		r.noReminders()
	})
	t.Run("of a deadline: on the day before", func(t *testing.T) {
		t.Parallel()
		r, s, c := newReminded(t, "2026-03-01 09:30")
		id := r.send(s, messageTo(giuseppe, due("2026-03-20 12:00")))
		require.NoError(t, c.MarkRead(t.Context(), id))
		r.until("2026-04-10 00:00", 10*time.Minute)
		require.Equal(t, []reminder{{"2026-03-19 12:00", appio.RemindDeadline, id}}, r.sent)
		r.noReminders()
	})
	t.Run("two messages with one notice remind once", func(t *testing.T) {
		t.Parallel()
		r, s, c := newReminded(t, "2026-03-01 09:30")
		r.want(c, appio.Reminders{Unpaid: true})
		r.send(s, messageTo(giuseppe, withNotice, due("2026-03-10 23:59")))
		r.until("2026-03-05 00:00", 10*time.Minute)
		second := r.send(s, messageTo(giuseppe, withNotice, due("2026-03-10 23:59")))
		r.until("2026-04-10 00:00", 10*time.Minute)
		require.Equal(t, []string{"2026-03-04 09:30", "2026-03-07 09:30", "2026-03-09 08:00"}, r.times(appio.RemindUnpaid))
		require.Equal(t, second, r.sent[2].of)
	})
	t.Run("which is not ended by one that goes by no channel", func(t *testing.T) {
		t.Parallel()
		r, s, c := newReminded(t, "2026-03-01 09:30", func(o *appio.Options) { o.Backoff = func(int) time.Duration { return 5 * 24 * time.Hour } })
		other := r.put(func(s *appio.Service) { s.ID = "tari" })
		require.NoError(t, c.SetPreference(t.Context(), "tari", appio.Preference{Inbox: true}))
		r.want(c, appio.Reminders{Unpaid: true})
		first := r.send(s, messageTo(giuseppe, withNotice, due("2026-03-20 23:59")))
		r.fails = errors.New("the provider is away")
		r.until("2026-03-12 00:00", 10*time.Minute) // the reminders of the 8th and the 11th come to nothing
		r.fails = nil
		r.send(other, messageTo(giuseppe, withNotice, due("2026-03-20 23:59")))
		r.until("2026-03-31 00:00", 10*time.Minute)
		require.Equal(t, []reminder{{"2026-03-16 08:00", appio.RemindUnpaid, first}}, r.sent)
		r.sound()
	})
	t.Run("also where the first message's reminder is still to be tried again", func(t *testing.T) {
		t.Parallel()
		r, s, c := newReminded(t, "2026-03-01 09:30", func(o *appio.Options) { o.Backoff = func(int) time.Duration { return 5 * 24 * time.Hour } })
		r.want(c, appio.Reminders{Unpaid: true})
		first := r.send(s, messageTo(giuseppe, withNotice, due("2026-03-20 23:59")))
		r.fails = errors.New("the provider is away")
		r.until("2026-03-12 00:00", 10*time.Minute) // the reminders of the 8th and the 11th come to nothing
		r.fails = nil
		second := r.send(s, messageTo(giuseppe, withNotice, due("2026-03-20 23:59")))
		r.until("2026-03-31 00:00", 10*time.Minute)
		require.Equal(t, []reminder{
			{"2026-03-14 08:00", appio.RemindUnpaid, second}, {"2026-03-17 08:00", appio.RemindUnpaid, second}, {"2026-03-19 08:00", appio.RemindUnpaid, second},
		}, r.sent)
		outcomes := r.outcomes(giuseppe, first, appio.Push)
		require.Equal(t, appio.OutcomeDelivered, outcomes[0], "the message itself")
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeVoid, appio.OutcomeVoid}, outcomes[1:])
		r.noReminders()
		r.sound()
	})
	t.Run("only in the day hours, on both days on which the clock changes", func(t *testing.T) {
		t.Parallel()
		r, s, _ := newReminded(t, "2026-03-26 22:30")
		r.send(s, messageTo(giuseppe))
		r.until("2026-03-30 00:00", 10*time.Minute)
		require.Equal(t, []string{"2026-03-30 08:00"}, append(r.times(appio.RemindUnread), "2026-03-30 08:00"))
		r.until("2026-04-20 00:00", 10*time.Minute)
		require.Equal(t, []string{"2026-03-30 08:00", "2026-04-02 08:00", "2026-04-05 08:00"}, r.times(appio.RemindUnread))

		r, s, _ = newReminded(t, "2026-10-22 03:30")
		r.send(s, messageTo(giuseppe))
		r.until("2026-10-25 12:00", 10*time.Minute)
		require.Equal(t, []string{"2026-10-25 08:00"}, r.times(appio.RemindUnread))
	})
	t.Run("a retry waits for the day, too", func(t *testing.T) {
		t.Parallel()
		r, s, _ := newReminded(t, "2026-03-10 19:50", func(o *appio.Options) { o.Backoff = func(int) time.Duration { return 15 * time.Minute } })
		r.send(s, messageTo(giuseppe))
		r.fails = errors.New("the provider is away")
		r.until("2026-03-13 20:30", 5*time.Minute)
		require.Empty(t, r.sent)
		r.fails = nil
		r.until("2026-03-14 12:00", 5*time.Minute)
		require.Equal(t, []string{"2026-03-14 08:00"}, r.times(appio.RemindUnread))
	})
	t.Run("after a time without an engine the latest is sent, and the others are left out", func(t *testing.T) {
		t.Parallel()
		r, s, _ := newReminded(t, "2026-03-10 09:30")
		r.send(s, messageTo(giuseppe))
		r.until("2026-03-18 23:00", 8*24*time.Hour+13*time.Hour+30*time.Minute)
		require.Empty(t, r.sent, "it is night")
		r.until("2026-03-30 00:00", 10*time.Minute)
		require.Equal(t, []string{"2026-03-19 08:00", "2026-03-19 09:30"}, r.times(appio.RemindUnread), "of day 6, and of day 9")
	})
	t.Run("the latest of what still stands: not of a deadline that is over", func(t *testing.T) {
		t.Parallel()
		r, s, _ := newReminded(t, "2026-03-10 09:30")
		id := r.send(s, messageTo(giuseppe, due("2026-03-14 12:00")))
		r.until("2026-03-15 09:30", 5*24*time.Hour)
		require.Equal(t, []reminder{{"2026-03-15 09:30", appio.RemindUnread, id}}, r.sent)
		r.until("2026-04-10 00:00", 10*time.Minute)
		require.Equal(t, []string{"2026-03-15 09:30", "2026-03-16 09:30", "2026-03-19 09:30"}, r.times(appio.RemindUnread))
		require.Empty(t, r.times(appio.RemindDeadline))
		r.noReminders()
	})
	t.Run("or that an outage of the channel spared its attempts", func(t *testing.T) {
		t.Parallel()
		r, s, _ := newReminded(t, "2026-03-10 09:30", func(o *appio.Options) { o.Channels[1].Breaker = appio.Breaker{Least: 1} })
		id := r.send(s, messageTo(giuseppe))
		other := r.send(s, messageTo(giuseppe))
		r.fails = errors.New("the provider is away")
		r.until("2026-03-15 09:30", 10*time.Minute)
		r.fails = nil
		r.until("2026-03-17 09:30", 2*24*time.Hour)
		for _, m := range []appio.MessageID{id, other} {
			require.Equal(t, 1, len(slices.DeleteFunc(slices.Clone(r.sent), func(x reminder) bool { return x.of != m })), "%v", r.sent)
			require.Contains(t, r.outcomes(giuseppe, m, appio.Push), appio.OutcomeVoid)
		}
		r.sound()
	})
	t.Run("so it is of one that was still to be tried again", func(t *testing.T) {
		t.Parallel()
		r, s, _ := newReminded(t, "2026-03-10 09:30")
		id := r.send(s, messageTo(giuseppe))
		r.fails = errors.New("the provider is away")
		r.until("2026-03-13 09:30", 10*time.Minute)
		r.fails = nil
		r.until("2026-03-17 09:30", 4*24*time.Hour)
		require.Equal(t, []string{"2026-03-17 09:30"}, r.times(appio.RemindUnread))
		require.Contains(t, r.outcomes(giuseppe, id, appio.Push), appio.OutcomeVoid)
		r.sound()
	})
	for name, stop := range map[string]func(r *reminded, c *appio.Citizen, id appio.MessageID) error{
		"read": func(r *reminded, c *appio.Citizen, id appio.MessageID) error { return c.MarkRead(r.t.Context(), id) },
		"archived": func(r *reminded, c *appio.Citizen, id appio.MessageID) error {
			return c.Archive(r.t.Context(), id, true)
		},
		"unwanted": func(r *reminded, c *appio.Citizen, _ appio.MessageID) error {
			r.want(c, appio.Reminders{Deadline: true, Unpaid: true})
			return nil
		},
		"erased": func(r *reminded, c *appio.Citizen, _ appio.MessageID) error { return c.Erase(r.t.Context()) },
	} {
		t.Run("none of what is "+name, func(t *testing.T) {
			t.Parallel()
			r, s, c := newReminded(t, "2026-03-10 09:30")
			m := messageTo(giuseppe)
			if name == "archived" {
				m.Due = at("2026-03-20 12:00")
			}
			id := r.send(s, m)
			require.Contains(t, keysOf(t, r.store, "c/"), store.Key("r/m/"+id))
			require.NoError(t, stop(r, c, id))
			if name == "read" || name == "archived" {
				require.NotContains(t, keysOf(t, r.store, "c/"), store.Key("r/m/"+id), "in the same change")
			}
			if name == "erased" {
				r.flush()
				r.noReminders()
			}
			r.until("2026-04-10 00:00", 10*time.Minute)
			require.Empty(t, r.sent)
			r.noReminders()
		})
	}
	t.Run("none by who was refused, until the citizen says otherwise", func(t *testing.T) {
		t.Parallel()
		r, s, c := newReminded(t, "2026-03-10 09:30")
		r.send(s, messageTo(giuseppe))
		require.NoError(t, c.SetPreference(t.Context(), mensa, appio.Preference{}))
		r.until("2026-03-15 00:00", 10*time.Minute)
		require.NoError(t, c.SetPreference(t.Context(), mensa, appio.Preference{Inbox: true, Channels: appio.On(appio.Push)}))
		r.until("2026-03-30 00:00", 10*time.Minute)
		require.Equal(t, []string{"2026-03-16 09:30", "2026-03-19 09:30"}, r.times(appio.RemindUnread))
	})
	t.Run("none of what is paid", func(t *testing.T) {
		t.Parallel()
		r, s, c := newReminded(t, "2026-03-01 09:30")
		r.want(c, appio.Reminders{Unpaid: true})
		r.send(s, messageTo(giuseppe, withNotice, due("2026-03-10 23:59")))
		r.until("2026-03-05 00:00", 10*time.Minute)
		require.Len(t, r.sent, 1)
		require.NoError(t, r.Settle(t.Context(), appio.PaymentEvent{ID: "1", RPTID: rptID, State: appio.Paid, At: r.now()}))
		r.flush()
		r.noReminders()
		r.until("2026-04-10 00:00", 10*time.Minute)
		require.Len(t, r.sent, 1)
	})
	t.Run("none of what is paid while no engine ran", func(t *testing.T) {
		t.Parallel()
		r, s, c := newReminded(t, "2026-03-01 09:30")
		r.want(c, appio.Reminders{Unpaid: true})
		r.send(s, messageTo(giuseppe, withNotice, due("2026-03-10 23:59")))
		r.fails = errors.New("later")
		r.until("2026-03-04 09:30", 10*time.Minute) // one reminder is still to be sent
		r.fails = nil
		require.NoError(t, r.Settle(t.Context(), appio.PaymentEvent{ID: "1", RPTID: rptID, State: appio.Paid, At: r.now()}))
		r.until("2026-04-10 09:30", 24*time.Hour)
		require.Empty(t, r.sent)
		r.noReminders()
	})
	t.Run("one that is under way is void once its message is read or archived", func(t *testing.T) {
		t.Parallel()
		for kind, stop := range map[appio.ReminderKind]func(c *appio.Citizen, id appio.MessageID) error{
			appio.RemindUnread:   func(c *appio.Citizen, id appio.MessageID) error { return c.MarkRead(t.Context(), id) },
			appio.RemindDeadline: func(c *appio.Citizen, id appio.MessageID) error { return c.Archive(t.Context(), id, true) },
		} {
			r, s, c := newReminded(t, "2026-03-10 09:30")
			r.want(c, appio.Reminders{Unread: kind == appio.RemindUnread, Deadline: kind == appio.RemindDeadline})
			id := r.send(s, messageTo(giuseppe, due("2026-03-14 09:30")))
			r.fails = errors.New("later")
			r.until("2026-03-13 09:30", 10*time.Minute)
			require.NoError(t, stop(c, id))
			r.fails = nil
			r.until("2026-03-20 00:00", 10*time.Minute)
			require.Empty(t, r.sent)
			require.Contains(t, r.outcomes(giuseppe, id, appio.Push), appio.OutcomeVoid)
		}
	})
	t.Run("one that was parked can be replayed", func(t *testing.T) {
		t.Parallel()
		r, s, _ := newReminded(t, "2026-03-10 09:30")
		id := r.send(s, messageTo(giuseppe))
		r.fails = appio.Permanent(errors.New("refused"))
		r.until("2026-03-13 09:30", 10*time.Minute)
		require.Len(t, r.parked(), 1)
		r.until("2026-03-15 12:00", 12*time.Hour)
		r.set("2026-03-31 12:00")
		r.fails = nil
		require.NoError(t, r.Replay(t.Context(), r.parked()[0].ID))
		r.flush()
		one := reminder{"2026-03-31 12:00", appio.RemindUnread, id}
		require.Equal(t, []reminder{one, one}, r.sent, "the one that was parked, and the latest since")
	})
	t.Run("the gateway is asked first", func(t *testing.T) {
		t.Parallel()
		g := &gateway{}
		r, s, c := newReminded(t, "2026-03-01 09:30", withPayments(g))
		r.want(c, appio.Reminders{Unpaid: true})
		r.send(s, messageTo(giuseppe, withNotice, due("2026-03-31 23:59")))
		g.verify = func(id pagopa.RPTID) (appio.Debt, error) {
			switch today := r.now().In(rome).Format(time.DateOnly); {
			case today < "2026-03-20":
				return appio.Debt{}, errors.New("away")
			case today < "2026-03-30":
				return appio.Debt{RPTID: id, Amount: 1, Due: time.Date(2026, 4, 8, 0, 0, 0, 0, time.UTC)}, nil
			}
			return appio.Debt{}, pagopa.NewFault("PAA_PAGAMENTO_DUPLICATO")
		}
		r.until("2026-04-20 00:00", 10*time.Minute)
		// Away on the 19th; then the notice is due later, and so is the reminder; before the second one it is paid.
		require.Equal(t, []string{"2026-03-27 08:00"}, r.times(appio.RemindUnpaid))
		bill, err := c.Bill(t.Context(), rptID)
		require.NoError(t, err)
		require.Equal(t, appio.Paid, bill.State)
		r.noReminders()
	})
	t.Run("the creditor sets another day, and the first one again", func(t *testing.T) {
		t.Parallel()
		g := &gateway{}
		r, s, c := newReminded(t, "2026-03-01 09:30", withPayments(g))
		r.want(c, appio.Reminders{Unpaid: true})
		r.send(s, messageTo(giuseppe, withNotice, due("2026-03-31 12:00")))
		g.verify = func(id pagopa.RPTID) (appio.Debt, error) {
			day := time.Date(2026, 3, 31, 0, 0, 0, 0, time.UTC)
			if r.now().In(rome).Format(time.DateOnly) == "2026-03-18" {
				day = time.Date(2026, 4, 9, 0, 0, 0, 0, time.UTC)
			}
			return appio.Debt{RPTID: id, Amount: 1, Due: day}, nil
		}
		r.until("2026-04-20 00:00", 10*time.Minute)
		// What the creditor says is known when a reminder is due: on the 18th of March, then on the 28th.
		require.Equal(t, []string{"2026-03-28 08:00", "2026-03-30 08:00"}, r.times(appio.RemindUnpaid))
	})
	t.Run("while a payment is under way it waits", func(t *testing.T) {
		t.Parallel()
		r, s, c := newReminded(t, "2026-03-01 09:30")
		r.want(c, appio.Reminders{Unpaid: true})
		r.send(s, messageTo(giuseppe, withNotice, due("2026-03-10 23:59")))
		r.until("2026-03-04 09:00", 10*time.Minute)
		_, err := c.Pay(t.Context(), rptID) // and goes away: the checkout lasts an hour
		require.NoError(t, err)
		r.until("2026-04-10 00:00", 10*time.Minute)
		require.Equal(t, []string{"2026-03-04 10:30", "2026-03-07 09:30", "2026-03-09 08:00"}, r.times(appio.RemindUnpaid))
		r.noReminders()
	})
	t.Run("only by routes that take them", func(t *testing.T) {
		t.Parallel()
		r, s, _ := newReminded(t, "2026-03-10 09:30", func(o *appio.Options) { o.Channels[1].Reminders = false })
		r.send(s, messageTo(giuseppe))
		r.until("2026-03-30 00:00", 10*time.Minute)
		require.Empty(t, r.sent)
	})
	t.Run("not of what came before they were wanted", func(t *testing.T) {
		t.Parallel()
		r, s, c := newReminded(t, "2026-03-10 09:30")
		r.want(c, appio.Reminders{})
		r.send(s, messageTo(giuseppe))
		r.want(c, appio.Reminders{Unread: true})
		r.until("2026-03-30 00:00", 10*time.Minute)
		require.Empty(t, r.sent)
	})
}

func TestReminderSchedule(t *testing.T) {
	t.Parallel()
	for field, change := range map[string]func(*appio.ReminderSchedule){
		"Options.Reminders":        func(s *appio.ReminderSchedule) { s.FromHour = 5 },
		"Options.Reminders ":       func(s *appio.ReminderSchedule) { s.Unread = []time.Duration{0} },
		"Options.Reminders  ":      func(s *appio.ReminderSchedule) { s.ToHour = 25 },
		"Options.Reminders   ":     func(s *appio.ReminderSchedule) { s.Deadline = slices.Repeat([]time.Duration{1}, 101) },
		"Options.Reminders.Unpaid": func(s *appio.ReminderSchedule) { s.Unpaid.Every = -1 },
	} {
		s := appio.ReminderSchedule{}
		change(&s)
		_, err := appio.New(newHookedStore(), &appio.Options{Keys: townKeys, Reminders: &s})
		requireField(t, err, strings.TrimSpace(field), "")
	}
}

// withBills has a citizen be reminded of so many notices at once, on the day before they are due.
func withBills(t *testing.T, n int, g appio.PaymentGateway) *reminded {
	r, s, _ := newReminded(t, "2026-03-02 10:00", func(o *appio.Options) { o.Payments = g })
	for i := range n {
		m := messageTo(giuseppe, withNotice)
		m.Payment.Number = pagopa.NoticeNumber(fmt.Sprintf("302%015d", i))
		m.Due = at("2026-03-05 23:00")
		r.send(s, m)
	}
	r.flush()
	r.set("2026-03-04 09:00")
	return r
}

// A gateway that is away is not asked about each of many notices, and none of them is forgotten.
func TestRemindersOfAGatewayThatIsAway(t *testing.T) {
	t.Parallel()
	away := true
	g := &gateway{}
	g.verify = func(id pagopa.RPTID) (appio.Debt, error) {
		if away {
			return appio.Debt{}, errors.New("away")
		}
		return appio.Debt{RPTID: id, Amount: 1}, nil
	}
	r := withBills(t, 60, g)
	r.flush()
	require.NotZero(t, g.verified)
	require.Less(t, g.verified, 60*3/2)
	require.Empty(t, r.sent)
	away = false
	r.until("2026-03-04 10:30", 30*time.Minute)
	require.Len(t, r.times(appio.RemindUnpaid), 60)
}

// At night nobody is reminded, and so nobody is asked about.
func TestNobodyIsAskedAtNight(t *testing.T) {
	t.Parallel()
	g := &gateway{verify: func(id pagopa.RPTID) (appio.Debt, error) { return appio.Debt{RPTID: id, Amount: 1}, nil }}
	r := withBills(t, 1, g)
	r.set("2026-03-04 21:00")
	r.flush()
	require.Zero(t, g.verified)
	r.until("2026-03-05 09:00", time.Hour)
	require.Equal(t, 1, g.verified)
	require.Len(t, r.times(appio.RemindUnpaid), 1)
}

// A gateway that changes its mind each time it is asked does not keep the engine busy.
func TestAGatewayThatChangesTheDay(t *testing.T) {
	t.Parallel()
	g := &gateway{}
	g.verify = func(id pagopa.RPTID) (appio.Debt, error) {
		return appio.Debt{RPTID: id, Amount: 1, Due: time.Date(2026, 3, 20+g.verified%2, 0, 0, 0, 0, time.UTC)}, nil
	}
	r, s, _ := newReminded(t, "2026-03-02 10:00", func(o *appio.Options) { o.Payments = g })
	r.send(s, messageTo(giuseppe, withNotice, func(m *appio.Message) { m.Due = at("2026-03-18 23:00") }))
	r.set("2026-03-12 09:00")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := r.Flush(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, g.verified)
	require.Len(t, r.times(appio.RemindUnpaid), 1)
}

// What a reminder depends on may be damaged: it waits, and is not looked at again at once.
func TestRemindersBesideDamage(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]func(k store.Key) bool{
		"profile": func(k store.Key) bool { return k == "P" },
		"key":     func(k store.Key) bool { return k == "K" },
		"bill":    func(k store.Key) bool { return strings.HasPrefix(string(k), "b/") },
		"state":   func(k store.Key) bool { return strings.HasPrefix(string(k), "m/") && strings.HasSuffix(string(k), "+") },
	} {
		g := &gateway{verify: func(id pagopa.RPTID) (appio.Debt, error) { return appio.Debt{RPTID: id, Amount: 1}, nil }}
		r, s, c := newReminded(t, "2026-03-02 10:00", func(o *appio.Options) { o.Payments = g })
		id := r.send(s, messageTo(giuseppe, withNotice, func(m *appio.Message) { m.Due = at("2026-03-05 23:00") }))
		require.NoError(t, c.MarkRead(t.Context(), id))
		r.flush()
		for _, rec := range recordsOf(t, r.store, "c/") {
			if of(rec.Key) {
				rec.Value = append([]byte(nil), rec.Value...)
				rec.Value[len(rec.Value)-1] ^= 1
				overwrite(t, r.store, rec.Owner, store.Change{Put: []store.Record{rec}})
			}
		}
		r.set("2026-03-04 09:00")
		r.flush()
		some := false
		for _, rec := range recordsOf(t, r.store, "c/") {
			if strings.HasPrefix(string(rec.Key), "r/") {
				some = true
				require.True(t, rec.Due.After(r.now()), "%s: %s", name, rec.Key)
			}
		}
		require.True(t, some, name)
	}
}

// Of a restored backup nobody knows whether the reminders that have become due since were sent: they are not sent again.
func TestRemindersAfterRestore(t *testing.T) {
	t.Parallel()
	r, s, _ := newReminded(t, "2026-03-02 10:00")
	r.send(s, messageTo(giuseppe))
	r.flush()
	r.set("2026-03-05 10:30")
	require.NoError(t, appio.MarkRestored(t.Context(), r.store))
	r.town = newTownOn(t, r.store, func(o *appio.Options) {
		o.Now, o.Reminders = r.now, &appio.ReminderSchedule{}
		o.Channels[1].Channel, o.Channels[1].Reminders = r, true
	})
	r.until("2026-03-10 12:00", time.Hour)
	require.Equal(t, []string{"2026-03-08 10:30"}, r.times(appio.RemindUnread))
}

// A day that no store has is not taken for one.
func TestAGatewayWithADayFarAway(t *testing.T) {
	t.Parallel()
	g := &gateway{verify: func(id pagopa.RPTID) (appio.Debt, error) {
		return appio.Debt{RPTID: id, Amount: 1, Due: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)}, nil
	}}
	r := withBills(t, 1, g)
	r.flush()
	require.Len(t, r.times(appio.RemindUnpaid), 1)
}
