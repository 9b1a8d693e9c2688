package form_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/internal/form"
)

func TestRounds(t *testing.T) {
	count := func() (n int) {
		for more := form.Rounds(t, 0, 7, 3); more(); {
			n++
		}
		return n
	}
	t.Setenv("ITEST_COUNT", "")
	usual := 7
	if testing.Short() {
		usual = 3
	}
	require.Equal(t, usual, count())
	t.Setenv("ITEST_COUNT", "5")
	require.Equal(t, 5, count())
}
