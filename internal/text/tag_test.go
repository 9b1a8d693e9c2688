package text_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/internal/text"
)

func TestValidTag(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"it", "de-AT", "zh-Hant-TW", "sl-rozaj-biske-1994", "es-419", "DE", "en-x-a"} {
		require.True(t, text.ValidTag(s), s)
	}
	for _, s := range []string{"", "i", "-", "--", "it-", "-it", "it--IT", "it_IT", "12", "1t", "ìt", "it IT", "italianissimo", "de-abcdefghi", "aa-12345678-12345678-12345678-12345678"} {
		require.False(t, text.ValidTag(s), s)
	}
}
