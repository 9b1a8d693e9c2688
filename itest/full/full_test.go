package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFiguresAddUp(t *testing.T) {
	seen, err := figures(bytes.NewBufferString("=== RUN TestKill\n    crash_test.go:9: figures {\"cycles\":2,\"p99_max\":3}\n" +
		"    crash_test.go:9: figures {\"cycles\":3,\"p99_max\":1,\"lost\":0}\n    other_test.go:1: figures are made up\n"))
	require.NoError(t, err)
	require.Equal(t, map[string]float64{"cycles": 5, "p99_max": 3, "lost": 0}, seen)
	require.Equal(t, "1,234,567 12 0 -1,000 1.25", strings.Join([]string{number(1234567), number(12), number(0), number(-1000), number(1.25)}, " "))
}

func TestStateIsKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "full.json")
	s, err := readState(file)
	require.NoError(t, err)
	p := &promises[0]
	done := s.of(p)
	require.False(t, done.shown(p))
	done = s.begin(p, "abc")
	done.Date, done.Failures = "2026-11-22", 1
	for name, least := range p.parts[0].until {
		done.Parts[0].add(map[string]float64{name: least - 1})
	}
	require.NoError(t, s.write())

	s, err = readState(file)
	require.NoError(t, err)
	done = s.of(p)
	require.Equal(t, "abc", done.Commit)
	require.False(t, done.shown(p))
	table := func() string {
		var b strings.Builder
		s.table(&b)
		return b.String()
	}
	require.Contains(t, table(), "not yet in full")
	for name := range p.parts[0].until {
		done.Parts[0].add(map[string]float64{name: 1})
	}
	require.True(t, done.shown(p))
	require.NotContains(t, table(), "not yet in full")
	require.Contains(t, table(), "1,000 kill -9 cycles")
	require.Contains(t, table(), "| 1 |", "a chunk that failed is not hidden")
}

// TestPromises: what is told is counted, and each test is there once.
func TestPromises(t *testing.T) {
	of := map[string]bool{}
	for _, p := range promises {
		require.NotEmpty(t, p.parts, p.name)
		for _, part := range p.parts {
			require.NotEmpty(t, part.until, p.name)
			require.Positive(t, part.count, p.name)
			require.False(t, of[part.pkg+" "+part.test], "%s is there twice", part.test)
			of[part.pkg+" "+part.test] = true
		}
	}
}
