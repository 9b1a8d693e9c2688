package workload

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/fiscalcode"
)

func TestRun(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r, err := Open(Options{Dir: t.TempDir(), Citizens: 50})
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	require.NoError(t, r.Preload(ctx))
	for _, l := range []Load{{Messages: 100, Senders: 8, Batch: 1}, {Messages: 100, Senders: 2, Batch: 16, Services: 1}} {
		sent, err := r.Send(ctx, l)
		require.NoError(t, err)
		require.Equal(t, l.Messages, sent.Accepted+sent.Refused)
		require.NotZero(t, sent.Refused)
		require.Len(t, sent.Latencies, (l.Messages+l.Batch-1)/l.Batch)
		require.LessOrEqual(t, sent.Percentile(50), sent.Percentile(100))
	}
	require.NoError(t, r.Reopen())
	c, ok, err := r.Verify(ctx)
	require.NoError(t, err)
	require.True(t, ok)
	require.Greater(t, c.Outcomes, c.Inbox)

	t.Run("a message that is not there is seen", func(t *testing.T) {
		r.accepted++
		_, ok, err := r.Verify(ctx)
		require.NoError(t, err)
		require.False(t, ok)
		r.accepted--
	})
	t.Run("an outcome that is not there is seen", func(t *testing.T) {
		r.outcomes++
		_, ok, err := r.Verify(ctx)
		require.NoError(t, err)
		require.False(t, ok)
		r.outcomes--
	})
}

func TestPersons(t *testing.T) {
	t.Parallel()
	seen := map[fiscalcode.Person]bool{}
	for _, n := range []int{0, 1, 25, 26, 1_000_000, MaxCitizens - 1} {
		require.False(t, seen[Person(n)])
		seen[Person(n)] = true
	}
}
