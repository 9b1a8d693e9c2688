package chance_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/internal/chance"
)

func TestSet(t *testing.T) {
	restore := chance.Set(func(n int64) int64 { return n - 1 })
	require.EqualValues(t, 99, chance.Int64N(100))
	back := chance.Set(nil)
	seen := map[int64]bool{}
	for range 10_000 {
		n := chance.Int64N(10)
		require.True(t, n >= 0 && n < 10)
		seen[n] = true
	}
	require.Len(t, seen, 10)
	back()
	require.EqualValues(t, 99, chance.Int64N(100))
	restore()
	require.Panics(t, func() { chance.Int64N(0) })
}
