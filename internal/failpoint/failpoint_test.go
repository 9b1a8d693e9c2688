package failpoint_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/internal/failpoint"
)

func TestHit(t *testing.T) {
	require.NoError(t, failpoint.Hit("off"))
	require.False(t, failpoint.On())
	broken := errors.New("broken")
	restore := failpoint.Set(func(name string) error {
		if name == "here" {
			return broken
		}
		return nil
	})
	require.True(t, failpoint.On())
	require.NoError(t, failpoint.Hit("there"))
	require.ErrorIs(t, failpoint.Hit("here"), broken)
	restore()
	require.NoError(t, failpoint.Hit("here"))
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = failpoint.Hit("off") }))
}

func BenchmarkOff(b *testing.B) {
	for b.Loop() {
		_ = failpoint.Hit("off")
	}
}
