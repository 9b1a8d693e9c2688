package appio_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

// newFallback is a town where e-mail goes a day after push, and "sms" a day after that, to one citizen who wants all of them.
func newFallback(t *testing.T, start string, changes ...func(*appio.Options)) (*patient, *appio.Sender, *appio.Citizen) {
	p, s, c := newPatient(t, start, append([]func(*appio.Options){func(o *appio.Options) {
		o.Channels = append(o.Channels, appio.Route{Name: "sms", Channel: o.Channels[0].Channel, ByCode: true, Default: appio.Full})
		o.Channels[0].Fallback = appio.Fallback{Of: appio.Push, After: 24 * time.Hour}
		o.Channels[2].Fallback = appio.Fallback{Of: appio.Email, After: 24 * time.Hour}
	}}, changes...)...)
	require.NoError(t, c.UpdateProfile(t.Context(), func(p *appio.Profile) error {
		p.Channels["sms"] = appio.Full
		return nil
	}))
	return p, s, c
}

func failing(channels ...string) func(appio.Delivery) error {
	return func(d appio.Delivery) error {
		for _, c := range channels {
			if d.Channel == c {
				return appio.Permanent(errors.New("no such user"))
			}
		}
		return nil
	}
}

func TestFallback(t *testing.T) {
	t.Parallel()

	t.Run("is sent when the message was not read by then", func(t *testing.T) {
		t.Parallel()
		p, s, c := newFallback(t, "2026-03-10 09:00")
		id := p.send(s, messageTo(giuseppe))
		p.until("2026-03-14 00:00", 10*time.Minute)
		require.Equal(t, []string{"push 2026-03-10 09:10", "email 2026-03-11 09:00", "sms 2026-03-12 09:00"}, p.got)
		r, err := c.Explain(t.Context(), id)
		require.NoError(t, err)
		require.True(t, appio.Decide(r.Facts).Equal(r.Decision))
		require.Equal(t, []appio.ChannelDecision{
			{Name: appio.Email, Content: appio.Full, After: 24 * time.Hour, For: appio.Push}, {Name: appio.Push, Content: appio.Full},
			{Name: "sms", Content: appio.Full, After: 48 * time.Hour, For: appio.Email},
		}, r.Decision.Channels)
		p.sound()
	})
	t.Run("is not sent once it was read, archived, refused or erased", func(t *testing.T) {
		t.Parallel()
		for name, end := range map[string]func(c *appio.Citizen, id appio.MessageID) error{
			"read":     func(c *appio.Citizen, id appio.MessageID) error { return c.MarkRead(t.Context(), id) },
			"archived": func(c *appio.Citizen, id appio.MessageID) error { return c.Archive(t.Context(), id, true) },
			"refused": func(c *appio.Citizen, id appio.MessageID) error {
				return c.SetPreference(t.Context(), mensa, appio.Preference{})
			},
			"erased": func(c *appio.Citizen, id appio.MessageID) error { return c.Erase(t.Context()) },
		} {
			p, s, c := newFallback(t, "2026-03-10 09:00")
			id := p.send(s, messageTo(giuseppe))
			p.until("2026-03-11 08:00", 10*time.Minute)
			require.Len(t, p.got, 1)
			require.NoError(t, end(c, id), name)
			if name == "read" || name == "archived" { // in the same change
				require.Equal(t, []appio.OutcomeResult{appio.OutcomeVoid}, p.outcomes(giuseppe, id, appio.Email))
				require.Equal(t, []appio.OutcomeResult{appio.OutcomeVoid}, p.outcomes(giuseppe, id, "sms"))
			}
			p.until("2026-03-14 00:00", 10*time.Minute)
			require.Len(t, p.got, 1, name)
			p.sound()
		}
	})
	t.Run("nor where it was read while it waited for a worker", func(t *testing.T) {
		t.Parallel()
		first, release := make(chan struct{}, 1), make(chan struct{})
		p, s, c := newFallback(t, "2026-03-10 09:00", func(o *appio.Options) { o.Channels[0].Workers = 1 })
		other := p.enrol(matteo, appio.Auto)
		p.fails = nil
		ids := []appio.MessageID{p.send(s, messageTo(giuseppe)), p.send(s, messageTo(matteo))}
		p.flush()
		p.got = nil
		p.mu.Lock()
		p.clock = p.clock.Add(24 * time.Hour)
		p.fails = func(d appio.Delivery) error {
			if d.Channel == appio.Email {
				p.mu.Unlock()
				first <- struct{}{}
				<-release
				p.mu.Lock()
			}
			return nil
		}
		p.mu.Unlock()
		flushed := make(chan struct{})
		go func() { defer close(flushed); p.flush() }()
		<-first // one is being sent, and the other may wait behind it under the same engine's lease
		require.NoError(t, c.MarkRead(t.Context(), ids[0]))
		require.NoError(t, other.MarkRead(t.Context(), ids[1]))
		close(release)
		<-flushed
		require.Len(t, p.of(appio.Email), 1)
		p.sound()
	})
	t.Run("nor where it was refused, and is allowed again, while the other was being sent", func(t *testing.T) {
		t.Parallel()
		first, release := make(chan struct{}, 1), make(chan struct{})
		p, s, c := newFallback(t, "2026-03-10 09:00")
		p.send(s, messageTo(giuseppe))
		p.fails = func(d appio.Delivery) error {
			if d.Channel == appio.Push {
				p.mu.Unlock()
				first <- struct{}{}
				<-release
				p.mu.Lock()
			}
			return nil
		}
		end := p.run()
		<-first
		wants := func(on ...string) {
			require.NoError(t, c.SetPreference(t.Context(), mensa, appio.Preference{Inbox: true, Channels: appio.On(on...)}))
		}
		wants(appio.Push, "sms")
		require.Eventually(t, func() bool { return !slices.Contains(keysOf(t, p.store, "c/"), "z/void") }, 10*time.Second, time.Millisecond)
		wants(appio.Push, appio.Email, "sms")
		close(release)
		end()
		p.until("2026-03-14 00:00", 10*time.Minute)
		require.Empty(t, p.of(appio.Email), "what is refused is void, whatever the citizen wants later")
		p.sound()
	})
	t.Run("does not come before what quiet hours have put off", func(t *testing.T) {
		t.Parallel()
		p, s, c := newPatient(t, "2026-03-10 22:00", func(o *appio.Options) {
			o.Channels[0].Fallback = appio.Fallback{Of: appio.Push, After: 2 * time.Hour}
		})
		p.quiet(c, appio.QuietHours{From: 22 * time.Hour, To: 7 * time.Hour})
		p.send(s, messageTo(giuseppe))
		p.until("2026-03-11 01:00", 10*time.Minute)
		p.quiet(c, appio.QuietHours{From: 22 * time.Hour, To: 11 * time.Hour}) // while it waits
		p.until("2026-03-11 22:00", 10*time.Minute)
		require.Equal(t, []string{"push 2026-03-11 11:00", "email 2026-03-11 13:00"}, p.got)

		p.got = nil
		p.quiet(c, appio.QuietHours{})
		p.send(s, messageTo(giuseppe))
		p.quiet(c, appio.QuietHours{From: 22 * time.Hour, To: 7 * time.Hour}) // before it was looked at
		p.until("2026-03-12 22:00", 10*time.Minute)
		require.Equal(t, []string{"push 2026-03-12 07:00", "email 2026-03-12 09:00"}, p.got)
		p.sound()
	})
	t.Run("goes at once where what it stands in for may not be used", func(t *testing.T) {
		t.Parallel()
		p, s, c := newFallback(t, "2026-03-10 09:00")
		require.NoError(t, c.SetPreference(t.Context(), mensa, appio.Preference{Inbox: true, Channels: appio.On(appio.Email, "sms")}))
		p.send(s, messageTo(giuseppe))
		p.until("2026-03-14 00:00", 10*time.Minute)
		require.Equal(t, []string{"email 2026-03-10 09:10", "sms 2026-03-11 09:00"}, p.got)
		p.got = nil
		require.NoError(t, c.SetPreference(t.Context(), mensa, appio.Preference{Inbox: true, Channels: appio.On(appio.Push, "sms")}))
		p.send(s, messageTo(giuseppe))
		p.until("2026-03-18 00:00", 10*time.Minute)
		require.Equal(t, []string{"push 2026-03-14 00:10", "sms 2026-03-15 00:00"}, p.got, "which was not allowed e-mail by it")
	})
	t.Run("or refused meanwhile", func(t *testing.T) {
		t.Parallel()
		p, s, c := newFallback(t, "2026-03-10 09:00")
		p.send(s, messageTo(giuseppe))
		require.NoError(t, c.SetPreference(t.Context(), mensa, appio.Preference{Inbox: true, Channels: appio.On(appio.Email, "sms")}))
		p.until("2026-03-11 00:00", 10*time.Minute)
		require.Equal(t, []string{"email 2026-03-10 09:10"}, p.got)
	})
	t.Run("or fails for good", func(t *testing.T) {
		t.Parallel()
		p, s, c := newFallback(t, "2026-03-10 09:00")
		p.fails = failing(appio.Push)
		id := p.send(s, messageTo(giuseppe))
		p.until("2026-03-14 00:00", 10*time.Minute)
		require.Equal(t, []string{"email 2026-03-10 09:10", "sms 2026-03-12 09:00"}, p.got, "the next keeps its time")
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeParked}, p.outcomes(giuseppe, id, appio.Push))

		p.got, p.fails = nil, failing(appio.Push, appio.Email)
		id = p.send(s, messageTo(giuseppe))
		p.until("2026-03-18 00:00", 10*time.Minute)
		require.Equal(t, []string{"sms 2026-03-14 00:10"}, p.got)
		// What is replayed once it was read is not sent.
		p.fails = nil
		require.NoError(t, c.MarkRead(t.Context(), id))
		require.NoError(t, p.Replay(t.Context()))
		p.flush()
		require.Equal(t, []string{"sms 2026-03-14 00:10", "push 2026-03-18 00:00", "push 2026-03-18 00:00"}, p.got)
		p.sound()
	})
	t.Run("but not where its time has passed", func(t *testing.T) {
		t.Parallel()
		p, s, _ := newFallback(t, "2026-03-10 09:00")
		p.fails = func(d appio.Delivery) error {
			if d.Channel == appio.Push {
				return errors.New("the provider is away")
			}
			return nil
		}
		id := p.send(s, messageTo(giuseppe)) // with an hour to live
		p.until("2026-03-14 00:00", 10*time.Minute)
		require.Empty(t, p.got)
		for _, c := range []string{appio.Push, appio.Email, "sms"} {
			require.Equal(t, []appio.OutcomeResult{appio.OutcomeExpired}, p.outcomes(giuseppe, id, c), c)
		}
	})
	t.Run("waits for what waits for quiet hours", func(t *testing.T) {
		t.Parallel()
		p, s, c := newFallback(t, "2026-03-10 23:00")
		p.quiet(c, hours("22:00", "07:00"))
		p.send(s, messageTo(giuseppe))
		p.until("2026-03-14 00:00", 10*time.Minute)
		require.Equal(t, []string{"push 2026-03-11 07:00", "email 2026-03-12 07:00", "sms 2026-03-13 07:00"}, p.got)
	})
	t.Run("keeps quiet hours itself", func(t *testing.T) {
		t.Parallel()
		p, s, c := newFallback(t, "2026-03-10 21:00", func(o *appio.Options) {
			o.Channels[0].Fallback.After, o.Channels[0].Interrupts = 2*time.Hour, true
		})
		p.quiet(c, hours("22:00", "07:00"))
		id := p.send(s, messageTo(giuseppe))
		p.until("2026-03-11 06:00", 10*time.Minute)
		require.Equal(t, []string{"push 2026-03-10 21:10"}, p.got)
		require.NoError(t, c.MarkRead(t.Context(), id))
		p.until("2026-03-12 00:00", 10*time.Minute)
		require.Equal(t, []string{"push 2026-03-10 21:10"}, p.got)
	})
	t.Run("keeps its time where the store was restored meanwhile", func(t *testing.T) {
		t.Parallel()
		for _, delivered := range []bool{true, false} { // what it stands in for, when the backup was made
			for _, first := range []string{appio.Push, appio.Email} { // of the routes
				var opts appio.Options
				p, s, _ := newFallback(t, "2026-03-10 09:00", func(o *appio.Options) {
					if first == appio.Push {
						o.Channels[0], o.Channels[1] = o.Channels[1], o.Channels[0]
					}
					opts = *o
				})
				id, other := p.send(s, messageTo(giuseppe)), p.send(s, messageTo(giuseppe))
				if delivered {
					p.flush()
				}
				p.got = nil
				require.NoError(t, p.Close())
				require.NoError(t, appio.MarkRestored(t.Context(), p.store))
				var err error
				p.Engine, err = appio.New(p.store, &opts)
				require.NoError(t, err)
				c := p.person(giuseppe)
				p.until("2026-03-10 10:00", 10*time.Minute)
				require.Empty(t, p.got)
				require.NoError(t, p.Replay(t.Context()))
				p.until("2026-03-10 11:00", 10*time.Minute)
				require.NoError(t, c.MarkRead(t.Context(), other))
				p.until("2026-03-14 00:00", 10*time.Minute)
				want := []string{"email 2026-03-11 09:00", "sms 2026-03-12 09:00"}
				if !delivered {
					want = append([]string{"push 2026-03-10 10:10", "push 2026-03-10 10:10"}, want...)
				}
				require.Equal(t, want, p.got, "%t %s", delivered, first)
				require.Equal(t, []appio.OutcomeResult{appio.OutcomeParked, appio.OutcomeDelivered}, p.outcomes(giuseppe, id, appio.Email))
				p.sound()
			}
		}
	})
	t.Run("reminders know none", func(t *testing.T) {
		t.Parallel()
		p, s, c := newFallback(t, "2026-03-10 09:00", func(o *appio.Options) {
			o.Reminders = &appio.ReminderSchedule{Unread: []time.Duration{72 * time.Hour}}
			o.Channels[0].Reminders, o.Channels[1].Reminders = true, true
		})
		require.NoError(t, c.UpdateProfile(t.Context(), func(p *appio.Profile) error { p.Reminders.Unread = true; return nil }))
		p.send(s, messageTo(giuseppe))
		p.until("2026-03-12 23:00", 10*time.Minute)
		p.got = nil
		p.until("2026-03-20 23:00", 10*time.Minute)
		require.ElementsMatch(t, []string{"push 2026-03-13 09:00", "email 2026-03-13 09:00"}, p.got)
		p.sound()
	})
	t.Run("of a channel that never is", func(t *testing.T) {
		t.Parallel()
		for _, f := range [][3]appio.Fallback{
			{{Of: "fax", After: 1}}, {{Of: appio.Email, After: 1}}, {{Of: appio.Push}}, {{After: time.Hour}}, {{Of: appio.Push, After: -1}},
			{{Of: appio.Push, After: 31 * 24 * time.Hour}}, {{Of: appio.Push, After: 1}, {Of: "sms", After: 1}, {Of: appio.Email, After: 1}},
		} {
			channel := &postbox{}
			o := &appio.Options{Keys: townKeys}
			for i, name := range []string{appio.Email, appio.Push, "sms"} {
				o.Channels = append(o.Channels, appio.Route{Name: name, Channel: channel, Fallback: f[i]})
			}
			_, err := appio.New(nil, o)
			require.ErrorIs(t, err, appio.ErrInvalid)
			require.ErrorContains(t, err, "Fallback", "%v", f)
		}
	})
}
