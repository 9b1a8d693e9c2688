package appio_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/form"
)

// A waiting message is what the model of TestChoicesAgreeWithAModel knows of one.
type waitingMessage struct {
	subject string
	id      appio.MessageID
	push    bool      // it is still to be sent
	email   bool      // likewise
	planned time.Time // when e-mail is to go, at the latest
	refused bool      // push fails for good
	read    bool
}

// TestChoicesAgreeWithAModel plays days around both changes of the clocks, in steps of ten minutes, with messages, choices and readings
// made at random. The model knows of a message what it waits for, and says of each step what is sent in it.
func TestChoicesAgreeWithAModel(t *testing.T) {
	t.Parallel()
	seed := form.Seed(t)
	worlds, sent, put := 0, 0, 0
	for more := form.Rounds(t, 0, 8, 2); more(); worlds++ {
		s, off := playChoices(t, rand.New(rand.NewPCG(seed, uint64(worlds))))
		sent, put = sent+s, put+off
	}
	require.Positive(t, put)
	form.Figures(t, map[string]float64{"worlds": float64(worlds), "sent": float64(sent), "not sent": float64(put)})
}

func playChoices(t *testing.T, r *rand.Rand) (sent, unsent int) {
	const after = 9 * time.Hour
	start := []string{"2026-03-27 12:00", "2026-10-23 12:00", "2031-03-28 18:00", "2035-10-27 06:00"}[r.IntN(4)]
	p, s, c := newPatient(t, start, func(o *appio.Options) { o.Channels[0].Fallback = appio.Fallback{Of: appio.Push, After: after} })
	var got []string
	refused := map[string]bool{}
	p.fails = func(d appio.Delivery) error {
		if d.Channel == appio.Push && refused[d.Subject] {
			return appio.Permanent(errors.New("410"))
		}
		got = append(got, d.Channel+" "+d.Subject)
		return nil
	}
	quiet, push, email := appio.QuietHours{}, true, true
	var all []*waitingMessage
	for step := range 4 * 24 * 6 {
		p.mu.Lock()
		p.clock = p.clock.Add(10 * time.Minute)
		now := p.clock
		p.mu.Unlock()
		var want []string
		switch r.IntN(12) {
		case 0, 1, 2:
			m := &waitingMessage{subject: fmt.Sprintf("Messaggio numero %d", len(all)), push: push, email: email, planned: now, refused: r.IntN(4) == 0}
			refused[m.subject] = m.refused
			if push {
				m.planned = quiet.Next(now).Add(after)
			}
			m.id = p.send(s, messageTo(giuseppe, func(msg *appio.Message) { msg.Subject, msg.TimeToLive = m.subject, 24*time.Hour }))
			all = append(all, m)
		case 3:
			from := time.Duration(r.IntN(24*6)) * 10 * time.Minute
			if quiet = (appio.QuietHours{}); r.IntN(4) > 0 {
				quiet = appio.QuietHours{From: from, To: (from + time.Duration(1+r.IntN(72))*10*time.Minute) % (24 * time.Hour)}
			}
			if r.IntN(4) == 0 {
				quiet.Zone = "Europe/London"
			}
			p.quiet(c, quiet)
			for _, m := range all {
				if next := quiet.Next(now).Add(after); m.push && next.After(m.planned) {
					m.planned = next
				}
			}
		case 4:
			if r.IntN(3) == 0 {
				push, email = r.IntN(3) > 0, r.IntN(3) > 0
				on := appio.Channels{}
				if push {
					on[appio.Push] = appio.Full
				}
				if email {
					on[appio.Email] = appio.Full
				}
				require.NoError(t, c.SetPreference(t.Context(), mensa, appio.Preference{Inbox: true, Channels: on}))
			}
		case 5, 6:
			if len(all) > 0 {
				m := all[len(all)-1-r.IntN(min(len(all), 4))]
				require.NoError(t, c.MarkRead(t.Context(), m.id))
				m.read = true
			}
		}
		for _, m := range all {
			if m.push && !push {
				m.push, m.planned = false, now
				unsent++
			}
			if m.push && quiet.Next(now).Equal(now) {
				if m.push = false; m.refused {
					m.planned = now
				} else {
					want = append(want, "push "+m.subject)
				}
			}
			if m.email && (!email || m.read) {
				m.email = false
				unsent++
			}
			if m.email && !m.planned.After(now) {
				m.email = false
				want = append(want, "email "+m.subject)
			}
		}
		got = nil
		p.flush()
		slices.Sort(got)
		slices.Sort(want)
		require.Equal(t, want, got, "step %d, at %s, quiet %v", step, now.In(rome).Format(minutes), quiet)
		sent += len(got)
	}
	p.sound()
	return sent, unsent
}
