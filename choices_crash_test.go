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
	"github.com/appio-go/appio/store/memstore"
)

// TestChoicesSurviveACrashAtEachStep lets the engine die at its n-th commit, for every n, before it is made and after, while messages
// wait for the morning and for being read. Another engine goes on; the caller repeats what was not answered.
func TestChoicesSurviveACrashAtEachStep(t *testing.T) {
	t.Parallel()
	dieAtEachCommit(t, 10, crashOnce)
}

// crashOnce reports whether there was an n-th commit.
func crashOnce(t *testing.T, n int, made bool) bool {
	ctx := t.Context()
	disk, clock := memstore.New(), newHandClock("2026-03-28 21:20") // in the night clocks are put forward
	var mu sync.Mutex
	got := map[string][]string{} // by channel and subject, when
	refuses := true
	e := newLives(t, fmt.Sprintf("commit %d", n), dieOnce(disk, n, made), func(mine *mortal) *appio.Options {
		deliver := appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
			if mine.dead() { // the process is no more
				return errors.New("nobody hears")
			}
			if d.Channel == appio.Push && strings.Contains(d.Subject, "rifiutato") && refuses {
				return appio.Permanent(errors.New("410"))
			}
			mu.Lock()
			defer mu.Unlock()
			got[d.Channel+" "+d.Subject] = append(got[d.Channel+" "+d.Subject], clock.now().In(rome).Format(minutes))
			return nil
		})
		return &appio.Options{
			Keys: townKeys, Now: clock.now, Channels: []appio.Route{
				{Name: appio.Push, Channel: deliver, ByCode: true, Default: appio.Full, Interrupts: true, Workers: 1},
				{Name: appio.Email, Channel: deliver, ByCode: true, Default: appio.Full, Workers: 1, Fallback: appio.Fallback{Of: appio.Push, After: 12 * time.Hour}},
			},
		}
	})
	citizen := func() *appio.Citizen { return e.Citizen(appio.Identity{Code: giuseppe}) }
	quiet := func(q appio.QuietHours) {
		e.do(func() error {
			return citizen().UpdateProfile(ctx, func(p *appio.Profile) error { p.Quiet = q; return nil })
		})
	}
	send := func(subject string) {
		e.do(func() error {
			_, err := e.Sender(mensa).Send(ctx, messageTo(giuseppe, withKey(subject), func(m *appio.Message) { m.Subject, m.TimeToLive = subject, 24*time.Hour }))
			return err
		})
	}
	until := func(text string) {
		for end := at(text); clock.now().Before(end); e.flush() {
			clock.set(clock.now().Add(10 * time.Minute))
		}
	}
	e.do(func() error { return e.PutService(ctx, newService()) })
	e.do(func() error { return citizen().SetMode(ctx, appio.Auto) })
	quiet(hours("22:00", "07:00"))
	send("messaggio della sera")
	until("2026-03-28 22:00")
	send("messaggio della notte")
	send("messaggio rifiutato di notte")
	until("2026-03-29 01:00")
	quiet(hours("22:00", "04:00"))
	until("2026-03-29 09:00")
	e.do(func() error {
		for m, err := range citizen().Inbox(nil).All(ctx) {
			if err == nil && strings.Contains(m.Subject, "sera") {
				err = citizen().MarkRead(ctx, m.ID)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	until("2026-03-29 22:30")

	// What was read is not in it. Whose engine dies is delivered after its lease, or twice.
	within := func(what, first, last string) {
		t.Helper()
		times := got[what]
		require.NotEmpty(t, times, "commit %d: %s", n, what)
		require.LessOrEqual(t, len(times), 2, "commit %d: %s: %v", n, what, times)
		for _, at := range times {
			require.True(t, first <= at && at <= last, "commit %d: %s: %v", n, what, times)
		}
		if e.crashes == 0 {
			require.Equal(t, []string{first}, times, what)
		}
	}
	require.Len(t, got, 4, "commit %d: %v", n, got)
	within("push messaggio della sera", "2026-03-28 21:30", "2026-03-28 21:40")
	within("push messaggio della notte", "2026-03-29 04:00", "2026-03-29 04:10")
	within("email messaggio della notte", "2026-03-29 19:00", "2026-03-29 19:10")
	within("email messaggio rifiutato di notte", "2026-03-29 04:00", "2026-03-29 04:10")
	require.NoError(t, e.Close())
	return e.crashes > 0
}
