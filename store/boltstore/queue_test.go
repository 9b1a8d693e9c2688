package boltstore

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Where changes wait for room, work that nobody waits for any more does not hide what came after it: nothing would wake the writer again.
func TestQueueTakesWorkBehindWhatWasGivenUp(t *testing.T) {
	t.Parallel()
	nothing := func() error { return nil }
	given, change, work := &request{work: nothing}, &request{}, &request{work: nothing}
	q := &queue{wake: make(chan struct{}, 1)}
	for _, r := range []*request{given, change, work} {
		require.True(t, q.add(r))
	}
	given.taken.Store(true)
	require.Equal(t, []*request{work}, q.take(nil, true))
	require.Empty(t, q.take(nil, true))
	require.Equal(t, []*request{change}, q.take(nil, false))
	require.Empty(t, q.waits)
}
