package magic

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestKinds(t *testing.T) {
	t.Parallel()
	for kind, head := range map[string]string{PDF: "%PDF-1.7\n", "image/png": "\x89PNG\r\n\x1a\n....", "image/jpeg": "\xff\xd8\xff\xe0"} {
		require.True(t, Known(kind))
		require.True(t, Is(kind, []byte(head)))
		require.False(t, Is(kind, []byte(" "+head)))
		require.False(t, Is(kind, []byte(head[:2])))
		require.False(t, Is(kind, nil))
		for other := range heads {
			require.Equal(t, kind == other, Is(other, []byte(head)))
		}
		require.LessOrEqual(t, len(heads[kind]), Head)
	}
	for _, kind := range []string{"", "text/html", "application/PDF", "application/pdf; charset=x"} {
		require.False(t, Known(kind))
		require.False(t, Is(kind, []byte("%PDF-1.7")))
	}
}
