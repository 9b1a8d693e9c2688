package appio_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/alone"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// A reader is a patient town whose citizen gets the e-mail of the canteen once a day, and that keeps what was delivered.
type reader struct {
	*patient
	s   *appio.Sender
	c   *appio.Citizen
	all []appio.Delivery
}

func newReader(t *testing.T, start string, changes ...func(*appio.Options)) *reader {
	r := &reader{}
	r.patient, r.s, r.c = newPatient(t, start, changes...)
	r.fails = func(d appio.Delivery) error { r.all = append(r.all, d); return nil }
	r.choose(true, appio.On(appio.Email, appio.Push))
	return r
}

func (r *reader) choose(digest bool, on appio.Channels) {
	r.t.Helper()
	require.NoError(r.t, r.c.SetPreference(r.t.Context(), mensa, appio.Preference{Inbox: true, Channels: on, Digest: digest}))
}

func (r *reader) gets(subject string, changes ...func(*appio.Message)) appio.MessageID {
	r.t.Helper()
	return r.send(r.s, messageTo(giuseppe, append(changes, func(m *appio.Message) {
		if m.Subject = subject; m.TimeToLive == 0 {
			m.TimeToLive = 24 * time.Hour
		}
	})...))
}

// emails are what went by e-mail: "2026-03-11 08:00: first, second", by the digest's items or the message's subject.
func (r *reader) emails() (all []string) {
	times := r.of(appio.Email)
	for _, d := range r.all {
		if d.Channel != appio.Email {
			continue
		}
		what := []string{d.Subject}
		if d.Digest != nil {
			what = nil
			for _, i := range d.Digest.Items {
				what = append(what, i.Subject)
			}
		}
		all = append(all, times[len(all)]+": "+strings.Join(what, ", "))
	}
	return all
}

// fate is what became of a message by e-mail: results and causes.
func (r *reader) fate(id appio.MessageID) (all []string) {
	for _, o := range r.explain(giuseppe, id).Outcomes {
		if o.Channel == appio.Email {
			all = append(all, strings.TrimSpace(string(o.Result)+" "+o.Cause))
		}
	}
	return all
}

func TestDigest(t *testing.T) {
	t.Parallel()
	archived := func(r *reader, id appio.MessageID) {
		require.NoError(r.t, r.c.Archive(r.t.Context(), id, true))
	}
	due := func(when string) func(*appio.Message) { return func(m *appio.Message) { m.Due = at(when) } }
	lives := func(d time.Duration) func(*appio.Message) { return func(m *appio.Message) { m.TimeToLive = d } }
	const first, second, third = "Prima comunicazione", "Seconda comunicazione", "Terza comunicazione"

	t.Run("is one delivery a day, beside what interrupts", func(t *testing.T) {
		t.Parallel()
		r := newReader(t, "2026-03-10 12:00")
		a, b := r.gets(first), r.gets(second)
		r.flush()
		require.Equal(t, []string{"2026-03-10 12:00", "2026-03-10 12:00"}, r.of(appio.Push))
		inbox, err := r.c.Inbox(nil).Page(t.Context(), "", 10)
		require.NoError(t, err)
		require.Len(t, inbox.Items, 2)
		r.until("2026-03-10 20:00", time.Hour)
		c := r.gets(third)
		r.until("2026-03-11 09:00", 10*time.Minute)
		d := r.gets("Quarta comunicazione")
		r.until("2026-03-13 00:00", 30*time.Minute)
		require.Equal(t, []string{"2026-03-11 08:00: " + strings.Join([]string{first, second, third}, ", "), "2026-03-12 08:00: Quarta comunicazione"}, r.emails())
		var one appio.Delivery
		for _, d := range r.all {
			if d.Channel == appio.Email && one.ID == "" {
				one = d
			}
		}
		require.Equal(t, 3, one.Digest.Count)
		require.Equal(t, []appio.MessageID{a, b, c}, []appio.MessageID{one.Digest.Items[0].Message, one.Digest.Items[1].Message, one.Digest.Items[2].Message})
		require.Equal(t, "3 nuovi messaggi da "+one.ServiceName, one.Subject)
		require.Equal(t, "Messaggi da leggere:\n\n- "+first+"\n- "+second+"\n- "+third+"\n", one.Markdown)
		require.Equal(t, "it", one.TextLanguage)
		require.Nil(t, one.Payment)
		require.Zero(t, one.Due)
		require.Equal(t, at("2026-03-12 08:00"), one.ExpiresAt.UTC())
		_, err = r.c.Message(t.Context(), one.Message)
		require.ErrorIs(t, err, appio.ErrNotFound)
		for _, id := range []appio.MessageID{a, b, c, d} {
			x := r.explain(giuseppe, id)
			require.Equal(t, appio.RuleSet, x.RuleSet)
			require.True(t, appio.Decide(x.Facts).Equal(x.Decision))
			require.Equal(t, []string{"delivered"}, r.fate(id))
			for _, o := range x.Outcomes {
				require.Equal(t, o.Channel == appio.Email, o.Digest != "")
				require.NotEmpty(t, x.Digest)
				if id != d && o.Channel == appio.Email {
					require.Equal(t, one.ID, o.ID)
					require.Equal(t, one.Message, o.Digest)
				}
			}
		}
		require.NoError(t, r.Withdraw(t.Context(), one.Withdraw))
		p, err := r.c.Preference(t.Context(), mensa)
		require.NoError(t, err)
		require.Equal(t, appio.Preference{Inbox: true, Channels: appio.On(appio.Push), Digest: true, SettingsVersion: 1}, withoutNone(p))
		for x, err := range r.c.Consents().All(t.Context()) {
			require.NoError(t, err)
			require.True(t, x.Before.Digest && x.After.Digest)
			break
		}
		r.sound()
	})
	t.Run("at eight by the clock, or the hour that the platform chose", func(t *testing.T) {
		t.Parallel()
		for _, start := range []string{"2026-03-28 12:00", "2026-10-24 12:00"} {
			r := newReader(t, start)
			r.gets(first)
			r.until(start[:8]+"27 00:00", time.Hour)
			r.until(start[:8]+"30 00:00", time.Hour)
			want := map[string]string{"03": "2026-03-29 08:00: ", "10": "2026-10-25 08:00: "}[start[5:7]]
			require.Equal(t, []string{want + first}, r.emails())
		}
		r := newReader(t, "2026-03-28 12:00", func(o *appio.Options) { o.DigestHour = 2 }) // which the next day does not have
		r.gets(first)
		r.until("2026-03-30 00:00", 10*time.Minute)
		require.Equal(t, []string{"2026-03-29 03:00: " + first}, r.emails())
		for _, h := range []int{-1, 24} {
			_, err := appio.New(r.store, &appio.Options{Keys: townKeys, DigestHour: h})
			require.ErrorIs(t, err, appio.ErrInvalid)
		}
	})
	t.Run("without what the citizen knows of or whose time has passed", func(t *testing.T) {
		t.Parallel()
		r := newReader(t, "2026-03-10 12:00")
		away := true
		r.fails = func(d appio.Delivery) error {
			if d.Channel == appio.Email && away {
				return errors.New("the provider is away")
			}
			r.all = append(r.all, d)
			return nil
		}
		a, b, c, d := r.gets(first), r.gets(second), r.gets(third, lives(time.Hour)), r.gets("Quarta comunicazione")
		require.NoError(t, r.c.MarkRead(t.Context(), a))
		archived(r, b)
		r.until("2026-03-11 09:00", 10*time.Minute)
		away = false
		r.until("2026-03-11 12:00", 10*time.Minute)
		require.Equal(t, []string{"2026-03-11 09:10: Quarta comunicazione"}, r.emails())
		for _, id := range []appio.MessageID{a, b, c} {
			require.Equal(t, []string{"void left-out"}, r.fate(id))
		}
		require.Equal(t, []string{"delivered"}, r.fate(d))

		a, b = r.gets(first), r.gets(second)
		require.NoError(t, r.c.MarkRead(t.Context(), a))
		archived(r, b)
		r.until("2026-03-12 12:00", 30*time.Minute)
		require.Len(t, r.emails(), 1)
		require.Equal(t, []string{"void nothing-left"}, r.fate(a))
		require.Equal(t, []string{"void nothing-left"}, r.fate(b))
		r.sound()
	})
	t.Run("and not of what is due before the day after it", func(t *testing.T) {
		t.Parallel()
		r := newReader(t, "2026-03-10 12:00")
		now := []string{"2026-03-09 10:00", "2026-03-10 12:00", "2026-03-10 20:00", "2026-03-12 07:59"}
		for _, when := range now {
			r.gets(when, due(when))
		}
		r.gets(first, due("2026-03-12 08:00"))
		r.until("2026-03-12 00:00", time.Hour)
		want := []string{}
		for _, when := range now {
			want = append(want, "2026-03-10 13:00: "+when)
		}
		require.ElementsMatch(t, append(want, "2026-03-11 08:00: "+first), r.emails())
		r.sound()
	})
	t.Run("goes at once where it is not wanted any more, and later messages go by themselves", func(t *testing.T) {
		t.Parallel()
		for name, off := range map[string]func(r *reader){
			"by preference": func(r *reader) { r.choose(false, appio.On(appio.Email, appio.Push)) },
			"by mode": func(r *reader) {
				require.NoError(t, r.c.SetMode(t.Context(), appio.Manual))
				r.choose(false, appio.On(appio.Email))
			},
		} {
			r := newReader(t, "2026-03-10 12:00")
			before := r.gets(first, lives(time.Hour))
			r.gets(second)
			r.until("2026-03-10 13:00", 10*time.Minute)
			off(r)
			after := r.gets(third)
			r.until("2026-03-11 12:00", 10*time.Minute)
			require.ElementsMatch(t, []string{"2026-03-10 13:10: " + first + ", " + second, "2026-03-10 13:10: " + third}, r.emails(), name)
			require.Equal(t, []string{"delivered"}, r.fate(before))
			require.Equal(t, []string{"delivered"}, r.fate(after))
			r.sound()
		}
		r := newReader(t, "2026-03-10 12:00")
		r.choose(false, appio.On(appio.Email))
		r.gets(first)
		r.choose(true, appio.On(appio.Email))
		r.until("2026-03-10 13:00", 10*time.Minute)
		require.Equal(t, []string{"2026-03-10 12:10: " + first}, r.emails())
	})
	t.Run("is void where it is not allowed any more", func(t *testing.T) {
		t.Parallel()
		for why, end := range map[string]func(r *reader){
			"channel-refused": func(r *reader) { r.choose(true, appio.On(appio.Push)) },
			"service-refused": func(r *reader) {
				require.NoError(t, r.c.SetPreference(t.Context(), mensa, appio.Preference{Digest: true}))
			},
			"service-stopped": func(r *reader) { r.put(func(s *appio.Service) { s.State = appio.Stopped }) },
			"unknown":         func(r *reader) { require.NoError(t, r.person(giuseppe).Erase(t.Context())) },
		} {
			r := newReader(t, "2026-03-10 12:00")
			id := r.gets(first)
			end(r)
			r.until("2026-03-12 00:00", time.Hour)
			require.Empty(t, r.emails(), why)
			require.Equal(t, []string{"void " + why}, r.fate(id))
			r.sound()
		}
	})
	t.Run("shows no more than the citizen and the service allow", func(t *testing.T) {
		t.Parallel()
		r := newReader(t, "2026-03-10 12:00", func(o *appio.Options) { o.Channels[0].Secure = appio.Generic })
		require.NoError(t, r.c.UpdateProfile(t.Context(), func(p *appio.Profile) error { p.Languages = []string{"en-GB"}; return nil }))
		r.gets("Una_riga\n*con* [segni](https://a.example)")
		r.gets("3. la rata (n. 1)")
		r.gets(first, func(m *appio.Message) { m.SecureChannels = true })
		r.gets(second, func(m *appio.Message) { m.SecureChannels = true })
		r.until("2026-03-11 12:00", time.Hour)
		var full, generic appio.Delivery
		for _, d := range r.all {
			switch {
			case d.Channel != appio.Email:
			case d.Content == appio.Full:
				full = d
			default:
				generic = d
			}
		}
		require.Equal(t, "2 new messages from "+full.ServiceName, full.Subject)
		require.Equal(t, "Messages to read:\n\n- Una\\_riga \\*con\\* \\[segni\\](https://a.example)\n- 3\\. la rata (n. 1)\n", full.Markdown)
		require.Equal(t, &appio.Digest{Count: 2}, generic.Digest)
		require.Empty(t, generic.Subject+generic.Markdown+generic.TextLanguage)

		r = newReader(t, "2026-03-10 12:00")
		id := r.gets(first)
		r.choose(true, appio.Channels{appio.Email: appio.Generic})
		r.until("2026-03-11 12:00", time.Hour)
		require.Equal(t, []string{"delivered"}, r.fate(id))
		require.Equal(t, &appio.Digest{Count: 1}, r.all[len(r.all)-1].Digest)
		r.choose(true, appio.On(appio.Email))
		r.gets(second)
		r.until("2026-03-12 12:00", time.Hour)
		require.Equal(t, "1 nuovo messaggio da "+full.ServiceName, r.all[len(r.all)-1].Subject)
		r.sound()
	})
	t.Run("lists fifty, and is followed by another after a hundred", func(t *testing.T) {
		t.Parallel()
		r := newReader(t, "2026-03-10 12:00")
		var ms []appio.Message
		for i := range 151 {
			ms = append(ms, messageTo(giuseppe, func(m *appio.Message) { m.Subject, m.TimeToLive = fmt.Sprintf("Messaggio numero %d", i), 24*time.Hour }))
		}
		results, err := r.s.SendBatch(t.Context(), ms)
		require.NoError(t, err)
		r.until("2026-03-11 12:00", time.Hour)
		var counts []int
		for _, d := range r.all {
			if d.Digest == nil {
				continue
			}
			counts = append(counts, d.Digest.Count)
			require.Len(t, d.Digest.Items, 50)
			more := "- e altri 50\n"
			if d.Digest.Count == 51 {
				more = "- e un altro\n"
			}
			require.True(t, strings.HasSuffix(d.Markdown, more), d.Markdown)
		}
		require.ElementsMatch(t, []int{100, 51}, counts)
		for _, res := range results {
			require.Equal(t, []string{"delivered"}, r.fate(res.ID))
		}
		r.sound()
	})
	t.Run("is of what goes to the same addresses", func(t *testing.T) {
		t.Parallel()
		r := newReader(t, "2026-03-10 12:00", func(o *appio.Options) { o.Channels[0].ByCode = false })
		live := func(values ...string) {
			require.NoError(t, r.c.UpdateProfile(t.Context(), func(p *appio.Profile) error {
				p.Addresses = nil
				for _, v := range values {
					p.Addresses = append(p.Addresses, appio.Address{ID: v, Channel: appio.Email, Value: v + "@example.it", ValidatedAt: r.now()})
				}
				return nil
			}))
		}
		live()
		none := r.gets("Senza indirizzo")
		live("a")
		r.gets(first)
		live("a", "b")
		r.gets(second)
		r.until("2026-03-11 12:00", time.Hour)
		require.ElementsMatch(t, []string{"2026-03-11 08:00: " + first, "2026-03-11 08:00: " + second, "2026-03-11 08:00: " + second}, r.emails())
		require.Empty(t, r.fate(none))
		live("a")
		r.until("2026-03-11 13:00", time.Hour)
		id := r.gets(third)
		live("b")
		r.until("2026-03-12 13:00", time.Hour)
		require.Equal(t, []string{"void no-address"}, r.fate(id))
		r.sound()
	})
	t.Run("is parked, replayed and expires as any delivery", func(t *testing.T) {
		t.Parallel()
		r := newReader(t, "2026-03-10 12:00")
		refuses, away := true, false
		r.fails = func(d appio.Delivery) error {
			switch {
			case d.Channel == appio.Email && refuses:
				return appio.Permanent(errors.New("550"))
			case d.Channel == appio.Email && away:
				return errors.New("away")
			}
			r.all = append(r.all, d)
			return nil
		}
		a, b := r.gets(first), r.gets(second)
		r.until("2026-03-11 09:00", 30*time.Minute)
		parked := r.parked()
		require.Len(t, parked, 1)
		require.Equal(t, []string{"parked 550"}, r.fate(a))
		require.Equal(t, []string{"parked 550"}, r.fate(b))
		require.NoError(t, r.c.MarkRead(t.Context(), a))
		refuses = false
		later := r.gets(third)
		require.NoError(t, r.Replay(t.Context(), parked[0].ID))
		r.gets("Quarta comunicazione")
		r.until("2026-03-12 09:00", 30*time.Minute)
		require.Equal(t, []string{"2026-03-11 09:30: " + second, "2026-03-12 08:00: " + third + ", Quarta comunicazione"}, r.emails())
		require.Equal(t, []string{"parked 550", "void left-out"}, r.fate(a))
		require.Equal(t, []string{"parked 550", "delivered"}, r.fate(b))
		require.Equal(t, []string{"delivered"}, r.fate(later))
		away = true
		c := r.gets("Quinta comunicazione", lives(time.Hour))
		r.until("2026-03-13 12:00", 10*time.Minute)
		require.Equal(t, []string{"expired away"}, r.fate(c))
		r.sound()
	})
	t.Run("is gathered once, whoever sends at the same time, and however often", func(t *testing.T) {
		t.Parallel()
		r := newReader(t, "2026-03-10 12:00")
		var g sync.WaitGroup
		for i := range 40 {
			g.Go(func() {
				m := messageTo(giuseppe, withKey(fmt.Sprint(i/2)), func(m *appio.Message) { m.Subject = fmt.Sprintf("Messaggio numero %d", i/2) })
				res, err := r.s.Send(t.Context(), m)
				require.NoError(t, err)
				require.Equal(t, appio.Processed, res.Status)
			})
		}
		g.Wait()
		r.until("2026-03-11 12:00", time.Hour)
		counts := map[string]int{}
		for _, d := range r.all {
			if d.Digest != nil {
				require.Equal(t, 20, d.Digest.Count)
				for _, i := range d.Digest.Items {
					counts[i.Subject]++
				}
			}
		}
		require.Len(t, counts, 20)
		r.sound()
	})
	t.Run("leaves fallbacks their time", func(t *testing.T) {
		t.Parallel()
		r := newReader(t, "2026-03-10 12:00", func(o *appio.Options) {
			letter := o.Channels[0]
			letter.Name, letter.Fallback = "letter", appio.Fallback{Of: appio.Email, After: 24 * time.Hour}
			o.Channels = append(o.Channels, letter)
		})
		r.choose(true, appio.On(appio.Email, "letter"))
		require.NoError(t, r.c.UpdateProfile(t.Context(), func(p *appio.Profile) error { p.Channels["letter"] = appio.Full; return nil }))
		r.gets(first)
		require.NoError(t, r.c.MarkRead(t.Context(), r.gets(second)))
		r.until("2026-03-13 12:00", time.Hour)
		require.Equal(t, []string{"2026-03-12 08:00"}, r.of("letter"))
		require.Equal(t, []string{"2026-03-11 08:00: " + first}, r.emails())
		r.sound()
	})
	t.Run("waits for a resume, and with it its time", func(t *testing.T) {
		t.Parallel()
		r := newReader(t, "2026-03-10 12:00")
		id := r.gets(first, lives(time.Hour))
		require.NoError(t, r.PauseChannel(t.Context(), appio.Email))
		r.until("2026-03-12 12:00", time.Hour)
		require.Empty(t, r.emails())
		require.NoError(t, r.ResumeChannel(t.Context(), appio.Email))
		r.until("2026-03-12 14:00", 10*time.Minute)
		require.Equal(t, []string{"2026-03-12 12:10: " + first}, r.emails())
		require.Equal(t, []string{"delivered"}, r.fate(id))
		r.sound()
	})
}

// TestADigestKeepsItsHour: a clock that was ahead may take a digest before its hour. One that was not delivered when the clock is right
// again goes at its hour.
func TestADigestKeepsItsHour(t *testing.T) {
	t.Parallel()
	hour := time.Date(2000, 1, 1, 7, 0, 0, 0, time.UTC) // 8 in Rome, of the day on which a bubble begins
	gathers := func(w *town, to fiscalcode.Person) {
		c := w.enrol(to, appio.Auto)
		require.NoError(w.t, c.SetPreference(w.t.Context(), mensa, appio.Preference{Inbox: true, Channels: appio.On(appio.Email), Digest: true}))
	}

	inBubble(t, "where it was paused meanwhile", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		s := w.put()
		gathers(w, giuseppe)
		w.send(s, messageTo(giuseppe))
		require.NoError(t, w.PauseService(ctx, mensa))
		defer w.run()()
		w.advance(450 * time.Minute)
		time.Sleep(time.Minute)
		w.advance(-450 * time.Minute)
		h, err := w.Health(ctx)
		require.NoError(t, err)
		require.Equal(t, 1, h.Paused)
		require.NoError(t, w.ResumeService(ctx, mensa))
		time.Sleep(time.Until(hour) - time.Second)
		require.Empty(t, w.email.deliveries())
		time.Sleep(3 * time.Second)
		require.Len(t, w.email.deliveries(), 1)
		require.Equal(t, hour.Add(time.Hour), w.email.deliveries()[0].ExpiresAt.UTC())
	})

	inBubble(t, "where it was given back by a Run that ended", func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) { o.Channels[0].Workers = 1 })
		s := w.put()
		gathers(w, giuseppe)
		gathers(w, matteo)
		w.send(s, messageTo(giuseppe))
		w.send(s, messageTo(matteo))
		gate, open := newGate(t)
		w.email.answer = func(context.Context, appio.Delivery) error { <-gate; return nil }
		end := w.run()
		w.advance(450 * time.Minute)
		time.Sleep(2 * time.Second)
		w.advance(-450 * time.Minute)
		time.AfterFunc(time.Second, open)
		end()
		require.Len(t, w.email.deliveries(), 1, "the other waited behind it")
		defer w.run()()
		time.Sleep(time.Until(hour) - time.Second)
		require.Len(t, w.email.deliveries(), 1)
		time.Sleep(3 * time.Second)
		require.Len(t, w.email.deliveries(), 2)
	})

	inBubble(t, "where it began, and failed", func(t *testing.T) {
		w := newTown(t)
		s := w.put()
		gathers(w, giuseppe)
		w.send(s, messageTo(giuseppe))
		var tried atomic.Int64
		w.email.answer = func(context.Context, appio.Delivery) error {
			if tried.Add(1) == 1 {
				w.advance(-450 * time.Minute)
				return errProvider
			}
			return nil
		}
		defer w.run()()
		w.advance(450 * time.Minute)
		time.Sleep(time.Until(hour) - time.Second)
		require.EqualValues(t, 1, tried.Load())
		time.Sleep(3 * time.Second)
		require.Len(t, w.email.deliveries(), 1)
	})

	inBubble(t, "where who held it died", func(t *testing.T) {
		m := &mortal{Store: memstore.New(), left: 1 << 30, made: true}
		w := newTownOn(t, alone.Store{Store: m})
		s := w.put()
		gathers(w, giuseppe)
		w.send(s, messageTo(giuseppe))
		m.left = 1 // the claim is the last that it stores
		w.advance(450 * time.Minute)
		require.ErrorIs(t, w.Run(t.Context()), store.ErrFailed)
		require.Empty(t, w.email.deliveries())
		next := newTownOn(t, alone.Store{Store: m.Store})
		defer next.run()()
		time.Sleep(time.Until(hour) - time.Second)
		require.Empty(t, next.email.deliveries())
		time.Sleep(3 * time.Second)
		require.Len(t, next.email.deliveries(), 1)
	})
}

func withoutNone(p appio.Preference) appio.Preference {
	for name, c := range p.Channels {
		if c == appio.None {
			delete(p.Channels, name)
		}
	}
	return p
}

// A reminder is of one message, and goes when it goes.
func TestRemindersAreNotGathered(t *testing.T) {
	t.Parallel()
	r := newReader(t, "2026-03-10 12:00", func(o *appio.Options) {
		o.Reminders = &appio.ReminderSchedule{Unread: []time.Duration{48 * time.Hour}}
		o.Channels[0].Reminders = true
	})
	require.NoError(t, r.c.UpdateProfile(t.Context(), func(p *appio.Profile) error { p.Reminders.Unread = true; return nil }))
	r.gets("Prima comunicazione")
	r.until("2026-03-12 11:00", time.Hour)
	r.gets("Seconda comunicazione")
	r.until("2026-03-12 16:00", time.Hour)
	require.Equal(t, []string{"2026-03-11 08:00: Prima comunicazione", "2026-03-12 12:00: Prima comunicazione"}, r.emails())
	r.sound()
}

func TestADamagedDigestIsOneNoMore(t *testing.T) {
	t.Parallel()
	for _, prefix := range []string{"q/w/", "g/"} {
		r := newReader(t, "2026-03-10 12:00")
		r.choose(true, appio.On(appio.Email))
		r.gets("Prima comunicazione")
		owners, err := r.store.Owners(t.Context(), "", 100)
		require.NoError(t, err)
		damaged := 0
		for _, o := range owners {
			snaps, err := r.store.View(t.Context(), []store.Read{{Owner: o, Range: store.Range{From: store.Key(prefix), To: store.Key(prefix + "~"), Limit: 10}}})
			require.NoError(t, err)
			for _, rec := range snaps[0].Records {
				rec.Value = bytes.Clone(rec.Value)
				rec.Value[len(rec.Value)-1] ^= 1
				_, err := r.store.Commit(t.Context(), []store.Change{{Owner: o, Rev: snaps[0].Rev, Put: []store.Record{rec}}})
				require.NoError(t, err)
				damaged++
			}
		}
		require.Equal(t, 1, damaged)
		id := r.gets("Seconda comunicazione")
		r.until("2026-03-11 12:00", time.Hour)
		require.Equal(t, []string{"delivered"}, r.fate(id), prefix)
	}
}

// What is open in a backup is parked when it is restored, and what comes then is gathered anew.
func TestARestoredDigestIsParked(t *testing.T) {
	t.Parallel()
	ctx, clock, path := t.Context(), newHandClock("2026-03-10 12:00"), filepath.Join(t.TempDir(), "io.db")
	var got []string
	open := func(path string) *appio.Engine {
		e, err := appio.Open(path, &appio.Options{Now: clock.now, Channels: []appio.Route{{
			Name: appio.Email, ByCode: true, Channel: appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
				for _, i := range d.Digest.Items {
					got = append(got, i.Subject)
				}
				return nil
			})}}})
		require.NoError(t, err)
		return e
	}
	send := func(e *appio.Engine, subject string) {
		_, err := e.Sender("tari").Send(ctx, messageTo(giuseppe, func(m *appio.Message) { m.Subject, m.TimeToLive = subject, 24*time.Hour }))
		require.NoError(t, err)
	}
	e := open(path)
	peopled(t, e, giuseppe)
	require.NoError(t, e.Citizen(appio.Identity{Code: giuseppe}).SetPreference(ctx, "tari", appio.Preference{Inbox: true, Channels: appio.On(appio.Email), Digest: true}))
	send(e, "Prima comunicazione")
	var backup bytes.Buffer
	require.NoError(t, e.Backup(ctx, &backup))
	require.NoError(t, e.Close())
	restored := filepath.Join(t.TempDir(), "io.db")
	require.NoError(t, appio.Restore(ctx, &backup, restored))
	copyKeys(t, path, restored)
	e = open(restored)
	defer e.Close()
	send(e, "Seconda comunicazione")
	clock.set(at("2026-03-11 09:00"))
	_, err := e.Flush(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"Seconda comunicazione"}, got)
	require.NoError(t, e.Replay(ctx))
	_, err = e.Flush(ctx)
	require.NoError(t, err)
	require.Equal(t, []string{"Seconda comunicazione", "Prima comunicazione"}, got)
}
