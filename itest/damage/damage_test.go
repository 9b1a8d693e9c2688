// Package damage shows that a damaged file, or a damaged backup, costs errors and nothing else: no wrong value is read, and the
// process lives on.
package damage

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/itest/internal/planted"
	"github.com/appio-go/appio/store/boltstore"
)

func TestMain(m *testing.M) {
	if os.Getenv(envDir) != "" {
		if err := child(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// atOnce is how many damages one child tries.
const atOnce = 100

// TestDamage makes 200 damages, or a hundred for each ITEST_COUNT.
func TestDamage(t *testing.T) {
	seed := form.Seed(t)
	form.Watch(t, 20*time.Minute)
	dir := t.TempDir()
	size := prepare(t, dir)
	seen := map[string]float64{"damages": 0, "deaths": 0, saysFound: 0, saysNone: 0, saysOlder: 0, saysWrong: 0}
	next := 0
	began := time.Now()
	for more := form.Rounds(t, 0.06, 2, 1); more(); {
		for end := next + atOnce; next < end; {
			words, died := damageSome(t, dir, seed, next, end)
			for _, w := range words {
				seen["damages"]++
				seen[w]++
				next++
			}
			if died { // the one that was not answered killed it
				seen["deaths"]++
				seen["damages"]++
				next++
			}
		}
	}
	t.Logf("%d damages of files of %d KiB in %v", next, size>>10, time.Since(began).Round(time.Millisecond))
	form.Figures(t, seen)
	require.Zero(t, seen["deaths"], "processes that died")
	require.Zero(t, seen[saysWrong], "wrong values were served")
	require.Greater(t, seen[saysFound], seen["damages"]/4)
}

// damageSome has a child try some damages, and returns what it said of each, and whether it died of the next.
func damageSome(t *testing.T, dir string, seed uint64, from, to int) (words []string, died bool) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envDir+"="+dir, fmt.Sprintf("%s=%d", envFrom, from), fmt.Sprintf("%s=%d", envTo, to),
		fmt.Sprintf("%s=%d", envSeed, seed))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	trying := ""
	for lines := bufio.NewScanner(&stdout); lines.Scan(); {
		switch word, about, _ := strings.Cut(lines.Text(), " "); word {
		case saysTrying:
			trying = about
		case saysWrong:
			t.Errorf("after damage %s: wrong: %s", trying, about)
			words = append(words, word)
		default:
			words = append(words, word)
		}
	}
	if len(words) == to-from {
		require.NoError(t, err, "%s", stderr.String())
		return words, false
	}
	text := stderr.String()
	t.Errorf("died of damage %s: %v\n%s", trying, err, text[:min(len(text), 3000)])
	return words, true
}

// prepare makes the files that are damaged, and what is right about them.
func prepare(t *testing.T, dir string) (size int) {
	ctx := t.Context()
	path := filepath.Join(dir, "io.db")
	s, err := boltstore.Open(path, small)
	require.NoError(t, err)
	e, err := appio.New(s, options(dir))
	require.NoError(t, err)
	var o original
	o.Sent, err = build(ctx, e)
	require.NoError(t, err)
	copyTo := func(name string) {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
		size = len(b)
	}
	copyTo("old")
	// What changes between the old copy and the others is seen in each inbox.
	for _, m := range o.Sent {
		if m.Service != 2 {
			require.NoError(t, citizen(e, m.To).MarkRead(ctx, m.ID))
		}
	}
	require.Eventually(t, func() bool { // the store tidies up behind what was written
		before, err := os.ReadFile(path)
		require.NoError(t, err)
		time.Sleep(30 * time.Millisecond)
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		return bytes.Equal(before, after)
	}, 20*time.Second, time.Millisecond)
	o.Before = answers(ctx, e, o.Sent)
	require.NoError(t, lastChange(ctx, e, o.Sent))
	copyTo("crashed")
	o.Now = answers(ctx, e, o.Sent)
	require.NotEqual(t, o.Before, o.Now)
	var backup bytes.Buffer
	require.NoError(t, e.Backup(ctx, &backup))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "backup"), backup.Bytes(), 0o600))
	require.NoError(t, e.Close())
	require.NoError(t, s.Close())
	copyTo("closed")
	b, err := json.Marshal(&o)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "original.json"), b, 0o600))
	return size
}

func TestPlantedBugs(t *testing.T) {
	planted.Run(t, os.Args[0], planted.Bug{
		Name: "a store that answers from an old copy where its own is damaged", Env: envOld + "=yes", Test: "TestDamage", Says: "wrong: ", Rounds: 1,
	})
}
