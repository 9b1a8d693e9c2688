package appiotest_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/appiotest"
	"github.com/appio-go/appio/channel/channeltest"
	"github.com/appio-go/appio/store"
)

func TestKitIsReady(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	k := appiotest.New(t, nil)
	require.Equal(t, "2026-01-07 10:00:00 +0100 CET", k.Now().String())
	require.True(t, appiotest.Mario.Check())
	require.True(t, appiotest.Anna.Check())
	require.True(t, appiotest.Organization.Check())

	school := k.Service("mensa")
	service, err := k.Engine.Service(ctx, school.ID())
	require.NoError(t, err)
	require.Equal(t, appio.Live, service.State)

	mario := k.Person(appiotest.Mario, appio.Auto)
	m := appiotest.Message(appiotest.Mario)
	m.Payment = &appio.Notice{Number: "302032002700000251", Amount: 10_000_00}
	r, err := school.Send(ctx, m)
	require.NoError(t, err)
	require.Equal(t, appio.Processed, r.Status)
	got, err := mario.Message(ctx, r.ID)
	require.NoError(t, err)
	require.True(t, got.SentAt.Equal(k.Now()))
	require.Empty(t, k.Email.Deliveries())

	n, err := k.Flush(ctx)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Len(t, k.Email.Deliveries(), 1)
	email := k.Email.Deliveries()[0]
	require.Equal(t, appio.Full, email.Content)
	require.Equal(t, m.Subject, email.Subject)
	require.Equal(t, "Comune di Esempio", email.OrganizationName)
	require.NotContains(t, email.Address.Value, string(appiotest.Mario))
	require.Len(t, k.Push.Deliveries(), 1)
	require.Equal(t, appio.Generic, k.Push.Deliveries()[0].Content)
	require.Empty(t, k.Push.Deliveries()[0].Subject)

	m.SecureChannels = true
	_, err = school.Send(ctx, m)
	require.NoError(t, err)
	k.Advance(0)
	require.Len(t, k.Email.Deliveries(), 1)
	require.Len(t, k.Push.Deliveries(), 2)
}

func TestPersonCanBeChanged(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	k := appiotest.New(t, nil)
	anna := k.Person(appiotest.Anna, appio.Undecided)
	p, err := anna.Profile(ctx)
	require.NoError(t, err)
	require.Equal(t, appio.Undecided, p.Mode)
	require.Len(t, p.Addresses, 2)
	school := k.Service("mensa")
	may, err := school.CanContact(ctx, appiotest.Anna)
	require.NoError(t, err)
	require.False(t, may)

	k.Person(appiotest.Anna, appio.Manual)
	k.Person(appiotest.Anna, appio.Auto)
	q, err := anna.Profile(ctx)
	require.NoError(t, err)
	require.Equal(t, appio.Auto, q.Mode)
	require.Equal(t, p.Addresses, q.Addresses)
	require.Equal(t, appio.Channels{appio.Email: appio.Full, appio.Push: appio.Generic}, q.Channels)

	mario, err := k.Person(appiotest.Mario, appio.Auto).Profile(ctx)
	require.NoError(t, err)
	for i, a := range mario.Addresses {
		require.NotEqual(t, q.Addresses[i].Value, a.Value)
	}
}

func TestAdvanceDeliversAtTheMomentsOnTheWay(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	k := appiotest.New(t, &appio.Options{Backoff: func(n int) time.Duration { return time.Duration(n) * 10 * time.Minute }})
	school := k.Service("mensa")
	k.Person(appiotest.Mario, appio.Auto)
	var attempts []string
	fail := func(d appio.Delivery) error {
		attempts = append(attempts, fmt.Sprintf("%s %s %d", k.Now().Format(time.TimeOnly), d.Channel, d.Attempt))
		if d.Attempt < 3 {
			return errors.New("provider down")
		}
		return nil
	}
	k.Push.Fail = fail
	k.Email.Fail = func(d appio.Delivery) error {
		if d.Attempt > 1 {
			return fail(d)
		}
		return appio.RetryAfter(25*time.Minute, errors.New("too many"))
	}
	m := appiotest.Message(appiotest.Mario)
	m.TimeToLive = 24 * time.Hour
	_, err := school.Send(ctx, m)
	require.NoError(t, err)

	k.Advance(12*time.Hour + 7*time.Nanosecond)
	require.Equal(t, []string{
		"10:00:00 push 1",
		"10:10:00 push 2",
		"10:25:00 email 2",
		"10:30:00 push 3",
		"10:45:00 email 3",
	}, attempts)
	require.Equal(t, "2026-01-07 22:00:00.000000007 +0100 CET", k.Now().String())
}

func TestAdvanceStopsShortOfWhatIsLater(t *testing.T) {
	t.Parallel()
	k := appiotest.New(t, &appio.Options{Backoff: func(int) time.Duration { return time.Hour }})
	school := k.Service("mensa")
	k.Person(appiotest.Mario, appio.Auto)
	down := errors.New("provider down")
	k.Push.Fail = func(d appio.Delivery) error {
		if d.Attempt == 1 {
			return down
		}
		return nil
	}
	m := appiotest.Message(appiotest.Mario)
	m.TimeToLive = 24 * time.Hour
	_, err := school.Send(t.Context(), m)
	require.NoError(t, err)

	k.Advance(time.Hour - time.Microsecond)
	require.Empty(t, k.Push.Deliveries())
	k.Advance(time.Microsecond)
	require.Len(t, k.Push.Deliveries(), 1)
}

func TestAdvancePassesYearsAtOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	k := appiotest.New(t, nil)
	school := k.Service("mensa")
	k.Person(appiotest.Mario, appio.Auto)
	m := appiotest.Message(appiotest.Mario)
	m.Key = "october"
	first, err := school.Send(ctx, m)
	require.NoError(t, err)
	refused, err := school.Send(ctx, appiotest.Message(appiotest.Anna))
	require.NoError(t, err)
	k.Push.Fail = func(appio.Delivery) error { return appio.Permanent(errors.New("no")) }

	begun := time.Now()
	k.Advance(29 * 24 * time.Hour)
	again, err := school.Send(ctx, m)
	require.NoError(t, err)
	require.Equal(t, first.ID, again.ID)
	_, err = school.Status(ctx, appiotest.Anna, refused.ID)
	require.NoError(t, err)

	k.Advance(10 * 365 * 24 * time.Hour)
	again, err = school.Send(ctx, m)
	require.NoError(t, err)
	require.NotEqual(t, first.ID, again.ID)
	_, err = school.Status(ctx, appiotest.Anna, refused.ID)
	require.ErrorIs(t, err, appio.ErrNotFound)
	require.Less(t, time.Since(begun), 10*time.Second)

	h, err := k.Health(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, h.Parked, "what stays due for ever holds nothing up")
}

func TestKitTakesTheOptions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var mine, sms channeltest.Recorder
	other := appio.ChannelFunc(func(context.Context, appio.Delivery) error { return nil })
	opts := &appio.Options{
		Now: time.Now,
		Channels: []appio.Route{
			{Name: "sms", Channel: &sms, Default: appio.Generic, ByCode: true},
			{Name: appio.Email, Channel: &mine, Default: appio.Generic},
			{Name: appio.Push, Channel: other},
		},
	}
	k := appiotest.New(t, opts)
	require.Same(t, &mine, k.Email)
	require.Len(t, opts.Channels, 3)
	school := k.Service("mensa")
	k.Person(appiotest.Mario, appio.Auto)
	_, err := school.Send(ctx, appiotest.Message(appiotest.Mario))
	require.NoError(t, err)
	k.Advance(time.Minute)
	require.Len(t, sms.Deliveries(), 1)
	require.Equal(t, appiotest.Mario, sms.Deliveries()[0].To)
	require.Len(t, mine.Deliveries(), 1)
	require.Empty(t, k.Push.Deliveries())
	require.Equal(t, 2026, k.Now().Year())

	plain := appiotest.New(t, &appio.Options{Plain: true})
	plain.Service("mensa")
	owners, err := plain.Store().Owners(ctx, "", 100)
	require.NoError(t, err)
	require.NotEmpty(t, owners)
}

func TestKitIsClosedWithTheTest(t *testing.T) {
	t.Parallel()
	var k *appiotest.Kit
	t.Run("inside", func(t *testing.T) {
		k = appiotest.New(t, nil)
		t.Cleanup(func() { k.Service("late") })
	})
	require.ErrorIs(t, k.Citizen(appio.Identity{Code: appiotest.Mario}).SetMode(t.Context(), appio.Auto), store.ErrClosed)
}

// A failing test is one that records why.
type failing struct {
	testing.TB
	why string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.why = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func TestKitFailsTheTest(t *testing.T) {
	t.Parallel()
	why := func(f func(t testing.TB)) string {
		tb := &failing{TB: t}
		var wait sync.WaitGroup
		wait.Go(func() { f(tb) })
		wait.Wait()
		return tb.why
	}
	require.Contains(t, why(func(t testing.TB) { appiotest.New(t, &appio.Options{MaxAttempts: -1}) }), "MaxAttempts")
	require.Contains(t, why(func(t testing.TB) { appiotest.New(t, nil).Advance(-1) }), "not back")
	require.Contains(t, why(func(t testing.TB) { appiotest.New(t, nil).Service("") }), "ID")
	require.Contains(t, why(func(t testing.TB) { appiotest.New(t, nil).Person("nobody", appio.Auto) }), "Identity.Code")
	require.Contains(t, why(func(t testing.TB) {
		k := appiotest.New(t, nil)
		_ = k.Close()
		k.Advance(time.Hour)
	}), "closed")
}

func TestKitIsUsedConcurrently(t *testing.T) {
	t.Parallel()
	k := appiotest.New(t, nil)
	school := k.Service("mensa")
	k.Person(appiotest.Mario, appio.Auto)
	begun := k.Now()
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 10 {
				k.Advance(time.Second)
				if _, err := school.Send(t.Context(), appiotest.Message(appiotest.Mario)); err != nil {
					t.Error(err)
				}
				k.Now()
			}
		})
	}
	wait.Wait()
	k.Advance(time.Second)
	require.Equal(t, 81*time.Second, k.Now().Sub(begun))
	require.Len(t, k.Push.Deliveries(), 80)
	require.Len(t, k.Email.Deliveries(), 80)
}

func TestKitInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := appiotest.New(t, nil)
		school := k.Service("mensa")
		k.Person(appiotest.Mario, appio.Auto)
		k.Push.Fail = func(d appio.Delivery) error {
			if d.Attempt == 1 {
				return errors.New("provider down")
			}
			return nil
		}
		_, err := school.Send(t.Context(), appiotest.Message(appiotest.Mario))
		require.NoError(t, err)
		k.Advance(time.Hour - time.Second)
		require.Len(t, k.Push.Deliveries(), 1)
		require.Len(t, k.Email.Deliveries(), 1)
	})
}

func TestRunInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := appiotest.New(t, &appio.Options{Backoff: func(int) time.Duration { return time.Minute }})
		school := k.Service("mensa")
		k.Person(appiotest.Mario, appio.Auto)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- k.Run(ctx) }()
		synctest.Wait()

		k.Push.Fail = func(d appio.Delivery) error {
			if d.Attempt == 1 {
				return errors.New("provider down")
			}
			return nil
		}
		_, err := school.Send(t.Context(), appiotest.Message(appiotest.Mario))
		require.NoError(t, err)
		synctest.Wait()
		require.Len(t, k.Email.Deliveries(), 1)
		require.Empty(t, k.Push.Deliveries())

		time.Sleep(time.Hour) // the kit's clock stands
		require.Empty(t, k.Push.Deliveries())
		k.Advance(time.Minute)
		synctest.Wait()
		require.Len(t, k.Push.Deliveries(), 1)

		cancel()
		require.NoError(t, <-ended)
	})
}

func TestRunInABubbleIsEndedByTheTest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := appiotest.New(t, nil)
		school := k.Service("mensa")
		k.Person(appiotest.Mario, appio.Auto)
		go k.Run(context.Background())
		synctest.Wait()
		for range 100 {
			_, err := school.Send(t.Context(), appiotest.Message(appiotest.Mario))
			require.NoError(t, err)
		}
		synctest.Wait()
		require.Len(t, k.Email.Deliveries(), 100)
		require.Len(t, k.Push.Deliveries(), 100)
	})
}
