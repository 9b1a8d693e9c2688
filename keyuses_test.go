package appio

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A process that sends and never runs has nobody who writes when keys were used: it keeps the last use of each, and no more.
func TestKeyUsesThatNobodyWrites(t *testing.T) {
	t.Parallel()
	var u keyUses
	at := time.Date(2026, 4, 10, 8, 0, 0, 0, time.UTC)
	for range 1000 {
		at = at.Add(keyUseEvery)
		u.note([]byte("one"), at)
		u.note([]byte("other"), at)
	}
	pending := u.take()
	require.Len(t, pending, 2)
	require.Equal(t, at, pending["one"])
	require.Empty(t, u.take())
}
