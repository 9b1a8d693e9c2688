package appio_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/store/memstore"
)

// A gatheredMessage is what the model of TestDigestsAgreeWithAModel knows of one that is still to be sent.
type gatheredMessage struct {
	subject string
	id      appio.MessageID
	goes    time.Time // when it is to go; zero: it is over
	lives   time.Duration
	digest  bool
	read    bool
}

// TestDigestsAgreeWithAModel plays days around both changes of the clocks, in steps of ten minutes, with messages, choices and readings
// made at random, and a provider that is away now and then. The model knows when each message is to go, alone or with others.
func TestDigestsAgreeWithAModel(t *testing.T) {
	t.Parallel()
	seed := form.Seed(t)
	worlds, digests, alone, left := 0, 0, 0, 0
	for more := form.Rounds(t, 0, 8, 2); more(); worlds++ {
		d, a, l := playDigests(t, rand.New(rand.NewPCG(seed, uint64(worlds))))
		digests, alone, left = digests+d, alone+a, left+l
	}
	require.Positive(t, left)
	form.Figures(t, map[string]float64{"worlds": float64(worlds), "digests": float64(digests), "alone": float64(alone), "left out": float64(left)})
}

// eightAfter is the next eight o'clock in Italy: in hours that no change of the clock touches.
func eightAfter(t time.Time) time.Time {
	for at := t.Truncate(10 * time.Minute); ; at = at.Add(10 * time.Minute) {
		if at.After(t) && at.In(rome).Format("15:04") == "08:00" {
			return at
		}
	}
}

func playDigests(t *testing.T, r *rand.Rand) (digests, alone, left int) {
	p, s, c := newPatient(t, []string{"2026-03-27 12:00", "2026-10-23 12:00", "2031-03-28 18:00", "2035-10-27 06:00"}[r.IntN(4)], func(o *appio.Options) { o.MaxAttempts = 1000 })
	var got []string
	away := time.Time{} // until when the provider is
	p.fails = func(d appio.Delivery) error {
		switch {
		case p.clock.Before(away):
			return appio.RetryAfter(10*time.Minute, errors.New("away"))
		case d.Digest == nil:
			got = append(got, d.Subject)
			return nil
		}
		digests++
		subjects := []string{}
		for _, i := range d.Digest.Items {
			subjects = append(subjects, i.Subject)
		}
		require.Len(t, subjects, d.Digest.Count)
		got = append(got, strings.Join(subjects, "+"))
		return nil
	}
	digest, email := false, true
	choose := func() {
		on := appio.Channels{}
		if email {
			on[appio.Email] = appio.Full
		}
		require.NoError(t, c.SetPreference(t.Context(), mensa, appio.Preference{Inbox: true, Channels: on, Digest: digest}))
	}
	choose()
	var all []*gatheredMessage
	for step := range 4 * 24 * 6 {
		p.mu.Lock()
		p.clock = p.clock.Add(10 * time.Minute)
		now := p.clock
		p.mu.Unlock()
		switch r.IntN(16) {
		case 0, 1, 2, 3:
			m := &gatheredMessage{subject: fmt.Sprintf("Messaggio numero %d", len(all)), lives: []time.Duration{time.Hour, 3 * time.Hour, 24 * time.Hour}[r.IntN(3)]}
			due := time.Time{}
			if r.IntN(3) == 0 {
				due = now.Add(time.Duration(r.IntN(60)) * time.Hour)
			}
			m.id = p.send(s, messageTo(giuseppe, func(msg *appio.Message) { msg.Subject, msg.TimeToLive, msg.Due = m.subject, m.lives, due }))
			next := eightAfter(now)
			m.digest = digest && (due.IsZero() || !due.Before(next.Add(24*time.Hour)))
			if m.goes = now; m.digest {
				m.goes = next
			}
			if !email {
				m.goes = time.Time{}
			}
			all = append(all, m)
		case 4:
			if digest = r.IntN(3) > 0; r.IntN(6) == 0 {
				email = !email
			}
			choose()
			for _, m := range all {
				if m.digest && !digest && m.goes.After(now) {
					m.goes = now
				}
				if !email {
					m.goes = time.Time{}
				}
			}
		case 5, 6, 7:
			if len(all) > 0 {
				m := all[len(all)-1-r.IntN(min(len(all), 6))]
				require.NoError(t, c.MarkRead(t.Context(), m.id))
				m.read = true
			}
		case 8:
			if r.IntN(4) == 0 {
				away = now.Add(time.Duration(1+r.IntN(12)) * 10 * time.Minute)
			}
		}
		// What goes together is what was to go at the same time. With its last message it ends.
		var want []string
		together := map[time.Time][]string{}
		var times []time.Time
		for _, m := range all {
			if m.goes.IsZero() || m.goes.After(now) {
				continue
			}
			over := !now.Before(m.goes.Add(m.lives))
			switch {
			case m.digest && (m.read || over):
				if !now.Before(away) || over {
					left++
				}
			case now.Before(away) && !over:
			case !over && m.digest:
				if !slices.Contains(times, m.goes) {
					times = append(times, m.goes)
				}
				together[m.goes] = append(together[m.goes], m.subject)
			case !over:
				want = append(want, m.subject)
				alone++
			}
			if over || !now.Before(away) {
				m.goes = time.Time{}
			}
		}
		for _, at := range times {
			want = append(want, strings.Join(together[at], "+"))
		}
		got = nil
		p.flush()
		slices.Sort(got)
		slices.Sort(want)
		require.Equal(t, want, got, "step %d, at %s, digest %t", step, now.In(rome).Format(minutes), digest)
	}
	p.sound()
	return digests, alone, left
}

// TestDigestsSurviveACrashAtEachStep lets the engine die at its n-th commit, for every n, before it is made and after, while messages are
// gathered, read, sent and not wanted together any more. Another engine goes on; the caller repeats what was not answered.
func TestDigestsSurviveACrashAtEachStep(t *testing.T) {
	t.Parallel()
	dieAtEachCommit(t, 10, crashDigest)
}

func crashDigest(t *testing.T, n int, made bool) bool {
	ctx := t.Context()
	disk, clock := memstore.New(), newHandClock("2026-03-28 12:00")
	var got []string // when, and of what
	e := newLives(t, fmt.Sprintf("commit %d", n), dieOnce(disk, n, made), func(mine *mortal) *appio.Options {
		deliver := appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
			if mine.dead() { // the process is no more
				return errors.New("nobody hears")
			}
			var subjects []string
			for _, i := range d.Digest.Items {
				subjects = append(subjects, i.Subject[len("messaggio "):])
			}
			got = append(got, clock.now().In(rome).Format(minutes)+" "+strings.Join(subjects, " "))
			return nil
		})
		return &appio.Options{Keys: townKeys, Now: clock.now,
			Channels: []appio.Route{{Name: appio.Email, Channel: deliver, ByCode: true, Default: appio.Full, Workers: 1}}}
	})
	citizen := func() *appio.Citizen { return e.Citizen(appio.Identity{Code: giuseppe}) }
	choose := func(digest bool) {
		e.do(func() error {
			return citizen().SetPreference(ctx, mensa, appio.Preference{Inbox: true, Channels: appio.On(appio.Email), Digest: digest})
		})
	}
	send := func(subject string) (id appio.MessageID) {
		e.do(func() error {
			r, err := e.Sender(mensa).Send(ctx, messageTo(giuseppe, withKey(subject), func(m *appio.Message) { m.Subject, m.TimeToLive = "messaggio "+subject, 24*time.Hour }))
			id = r.ID
			return err
		})
		return id
	}
	until := func(text string) {
		for end := at(text); clock.now().Before(end); {
			clock.set(clock.now().Add(10 * time.Minute))
			e.flush()
		}
	}
	e.do(func() error { return e.PutService(ctx, newService()) })
	e.do(func() error { return citizen().SetMode(ctx, appio.Auto) })
	choose(true)
	send("uno")
	read := send("due")
	send("tre")
	until("2026-03-28 13:00")
	e.do(func() error { return citizen().MarkRead(ctx, read) })
	until("2026-03-29 09:00")
	send("quattro")
	send("cinque")
	choose(false)
	until("2026-03-29 11:00")

	// Whose engine dies is delivered after its lease, or twice; nothing is with another digest than it was.
	want := map[string][2]string{
		"uno tre":        {"2026-03-29 08:00", "2026-03-29 08:10"},
		"quattro cinque": {"2026-03-29 09:10", "2026-03-29 09:20"},
	}
	count := map[string]int{}
	for _, g := range got {
		when, what := g[:len(minutes)], g[len(minutes)+1:]
		within, ok := want[what]
		require.True(t, ok && within[0] <= when && when <= within[1], "commit %d: %v", n, got)
		count[what]++
	}
	for what := range want {
		require.Contains(t, count, what, "commit %d", n)
		require.LessOrEqual(t, count[what], map[bool]int{true: 2, false: 1}[e.crashes > 0], "commit %d: %v", n, got)
	}
	_, err := e.Check(ctx, func(f appio.Finding) { t.Errorf("commit %d: %+v", n, f) })
	require.NoError(t, err)
	require.NoError(t, e.Close())
	return e.crashes > 0
}
