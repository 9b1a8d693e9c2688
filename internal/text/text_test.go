package text_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/internal/text"
	"github.com/appio-go/appio/pagopa"
)

func TestWritten(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 2, 28, 23, 5, 0, 0, time.UTC) // the next day in Italy
	for tag, want := range map[string][4]string{
		"it":    {"domenica 1 marzo 2026", "1 marzo 2026", ", ore 00:05", "1.234,50\u00a0€"},
		"en-GB": {"Sunday 1 March 2026", "1 March 2026", ", 00:05", "€1,234.50"},
		"DE":    {"Sonntag, 1. März 2026", "1. März 2026", ", 00:05", "1.234,50\u00a0€"},
		"fr":    {"dimanche 1 mars 2026", "1 mars 2026", ", 00:05", "1\u202f234,50\u00a0€"},
		"sl":    {"nedelja, 1. marec 2026", "1. marec 2026", ", 00:05", "1.234,50\u00a0€"},
	} {
		f := text.FormOf(tag)
		require.Equal(t, want, [4]string{f.Weekday(at), f.Day(at), f.At(at), f.Euros(pagopa.Amount(1234_50))}, tag)
	}
	for _, tag := range []string{"it", "en", "de", "fr", "sl"} {
		f := text.FormOf(tag)
		shortest, longest := 1000, 0
		for day := range 3 * 365 {
			n := text.Units(f.Weekday(at.AddDate(0, 0, day)))
			shortest, longest = min(shortest, n), max(longest, n)
		}
		least, most := f.Weekdays()
		require.Equal(t, [2]int{shortest, longest}, [2]int{least, most}, tag)
	}
	require.Nil(t, text.FormOf("pt"))
	require.Nil(t, text.FormOf(""))
	it := text.FormOf("it")
	for cents, want := range map[pagopa.Amount]string{0: "0,00\u00a0€", 5: "0,05\u00a0€", 999_99: "999,99\u00a0€", 9_999_999_999: "99.999.999,99\u00a0€", -1234_50: "-1.234,50\u00a0€"} {
		require.Equal(t, want, it.Euros(cents))
	}
	require.Equal(t, "1 marzo 2026, ore 00:05 (ora italiana)", it.MomentInZone(at))
}

func TestUnits(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int{"": 0, "città": 5, "🗑": 2, "e\u0301": 2} {
		require.Equal(t, want, text.Units(s), s)
	}
}
