package channeltest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/channeltest"
)

// outcome is how one call ended.
func outcome(ctx context.Context, c appio.Channel) string {
	ended := make(chan string, 1)
	go func() {
		what := "goexit"
		defer func() { ended <- what }()
		defer func() {
			if recover() != nil {
				what = "panic"
			}
		}()
		if err := c.Deliver(ctx, appio.Delivery{ID: "a"}); err != nil {
			what = "error"
			return
		}
		what = "nil"
	}()
	return <-ended
}

func TestFaultsAreTheSameForASeed(t *testing.T) {
	series := func(seed uint64) (series []string, n channeltest.FaultCounts) {
		f := &channeltest.Faults{Seed: seed, Error: 0.2, Permanent: 0.1, Gone: 0.1, RetryAfter: 0.1, Panic: 0.1, Goexit: 0.1}
		for range 1000 {
			series = append(series, outcome(t.Context(), f))
		}
		return series, f.Counts()
	}
	first, n := series(1)
	second, m := series(1)
	require.Equal(t, first, second)
	require.Equal(t, n, m)
	other, _ := series(2)
	require.NotEqual(t, first, other)

	require.Equal(t, 1000, n.Calls)
	require.Equal(t, n.Calls, n.None+n.Error+n.Permanent+n.Gone+n.RetryAfter+n.Panic+n.Goexit)
	require.InDelta(t, 300, n.None, 60)
	require.InDelta(t, 200, n.Error, 60)
	for _, of := range []int{n.Permanent, n.Gone, n.RetryAfter, n.Panic, n.Goexit} {
		require.InDelta(t, 100, of, 40)
	}
}

func TestFaultsOfOneKind(t *testing.T) {
	var r channeltest.Recorder
	delivered := func() int {
		defer r.Reset()
		return len(r.Deliveries())
	}
	ctx := t.Context()

	none := &channeltest.Faults{Channel: &r}
	require.Equal(t, "nil", outcome(ctx, none))
	require.Equal(t, 1, delivered())
	require.Equal(t, channeltest.FaultCounts{Calls: 1, None: 1}, none.Counts())

	require.Equal(t, "error", outcome(ctx, &channeltest.Faults{Channel: &r, Error: 1}))
	require.Equal(t, "panic", outcome(ctx, &channeltest.Faults{Channel: &r, Panic: 1}))
	require.Equal(t, "goexit", outcome(ctx, &channeltest.Faults{Channel: &r, Goexit: 1}))
	require.Zero(t, delivered())

	lost := &channeltest.Faults{Channel: &r, Lost: 1}
	require.Equal(t, "error", outcome(ctx, lost))
	require.Equal(t, 1, delivered())
	require.Equal(t, 1, lost.Counts().Lost)

	require.Equal(t, "error", outcome(ctx, &channeltest.Faults{Error: 2, Panic: 1}), "rates beyond 1 do not occur")
}

func TestFaultsThatTakeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var r channeltest.Recorder
		require.Equal(t, "nil", outcome(t.Context(), &channeltest.Faults{Channel: &r, Slow: 1, Pause: time.Minute}))
		require.Equal(t, time.Minute, time.Since(start))
		require.Len(t, r.Deliveries(), 1)

		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("time is up"))
		defer cancel()
		require.EqualError(t, (&channeltest.Faults{Hang: 1}).Deliver(ctx, appio.Delivery{}), "time is up")
		require.EqualError(t, (&channeltest.Faults{Slow: 1}).Deliver(ctx, appio.Delivery{}), "time is up")

		f := &channeltest.Faults{Stuck: 1}
		answer := make(chan string)
		go func() { answer <- outcome(ctx, f) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		require.Empty(t, answer)
		f.Release()
		require.Equal(t, "error", <-answer)
		require.Equal(t, "error", outcome(ctx, f), "nothing is stuck any more")
		f.Release()
		require.Equal(t, channeltest.FaultCounts{Calls: 2, Error: 1, Stuck: 1}, f.Counts())
	})
}
