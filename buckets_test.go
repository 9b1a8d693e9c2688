package appio

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// However many ask, what is remembered of them is bounded, and to be forgotten is no way to begin anew.
func TestBucketsAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	var bs buckets[int]
	began := time.Now()
	for who := range 3 * mostBuckets {
		require.Zero(t, bs.take(who, 0.001, 10, 10, now))
		require.LessOrEqual(t, len(bs.m), mostBuckets)
	}
	require.Less(t, time.Since(began), 20*time.Second, "few of them pay for all")
	forgotten := 0
	for who := range mostBuckets {
		if bs.m[who] != nil {
			continue
		}
		forgotten++
		require.Zero(t, bs.take(who, 0.001, 10, 10, now))
		require.NotZero(t, bs.take(who, 0.001, 10, 10, now), "who was forgotten has one, and not ten")
	}
	require.NotZero(t, forgotten)
	require.LessOrEqual(t, len(bs.m), mostBuckets)

	// Once all have had their time, they are forgotten, and who comes begins as a newcomer does.
	now = now.Add(24 * time.Hour)
	for who := range 2 * fewBuckets {
		bs.take(-1-who, 1000, 10, 10, now)
		now = now.Add(time.Second)
	}
	require.LessOrEqual(t, len(bs.m), 3*fewBuckets)
	for range 10 {
		require.Zero(t, bs.take(-1, 0.001, 10, 10, now))
	}
	require.NotZero(t, bs.take(-1, 0.001, 10, 10, now))
}
