package hot

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
)

// envWhole plants a bug: a store that reads all of an owner before it changes it.
const envWhole = "APPIO_HOT_WHOLE"

type whole struct{ store.Store }

func (s *whole) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	for _, c := range changes {
		for r := (store.Range{Limit: store.MaxRange}); ; {
			shots, err := s.View(ctx, []store.Read{{Owner: c.Owner, Range: r}})
			if err != nil {
				return nil, err
			}
			recs := shots[0].Records
			if len(recs) < r.Limit {
				break
			}
			r.From = recs[len(recs)-1].Key + "\x00"
		}
	}
	return s.Store.Commit(ctx, changes)
}

// most is how much more accepting a message may cost after a long history than after a short one.
const most = 1.5

// fastFolder is in memory where there is such a disk: how long another one takes to sync says nothing about a history.
func fastFolder(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "appio-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// TestCostOfAccepting compares what accepting one message takes with a short history and with a long one, of one service to one
// citizen: 100 and 3,000, or 10,000 and 100,000 for each ITEST_COUNT.
func TestCostOfAccepting(t *testing.T) {
	form.Watch(t, 30*time.Minute)
	short, long := 100, 3_000
	if n := form.Number(t, "ITEST_COUNT", 0); n > 0 {
		short, long = 10_000, 100_000*n
	}
	turns, measured := 7, 400
	if testing.Short() {
		turns, measured = 4, 50
	}
	type line struct {
		*appio.Engine
		sent  int
		took  []time.Duration
		p99s  []time.Duration
		close func()
	}
	start := func(history int) *line {
		s, err := boltstore.Open(filepath.Join(fastFolder(t), "io.db"), nil)
		require.NoError(t, err)
		var used store.Store = s
		if os.Getenv(envWhole) != "" {
			used = &whole{s}
		}
		e := newEngine(t, used, appio.RandomKeys(), new(atomic.Int64))
		require.NoError(t, e.Citizen(appio.Identity{Code: code(0)}).SetMode(t.Context(), appio.Auto))
		l := &line{Engine: e, close: func() {
			require.NoError(t, e.Close())
			require.NoError(t, s.Close())
		}}
		for l.sent < history {
			ms := slices.Repeat([]appio.Message{message(code(0))}, min(1000, history-l.sent))
			for i := range ms {
				l.sent++
				ms[i].Key = fmt.Sprint(l.sent)
			}
			_, err := e.Sender(service).SendBatch(t.Context(), ms)
			require.NoError(t, err)
		}
		return l
	}
	a, b := start(short), start(long)
	defer a.close()
	defer b.close()
	// In turn, so that what else this machine does is the same for both; and of some turns the quietest counts, and of a few more
	// where it is never quiet.
	p99 := func(ds []time.Duration) time.Duration {
		slices.Sort(ds)
		return ds[len(ds)*99/100]
	}
	var early, late time.Duration
	for turn := 0; turn < turns || turn < 2*turns && float64(late) > most*float64(early); turn++ {
		for range measured {
			for _, l := range []*line{a, b} {
				m := message(code(0))
				l.sent++
				m.Key = fmt.Sprint(l.sent)
				began := time.Now()
				_, err := l.Sender(service).Send(t.Context(), m)
				l.took = append(l.took, time.Since(began))
				require.NoError(t, err)
			}
		}
		for _, l := range []*line{a, b} {
			l.p99s = append(l.p99s, p99(l.took))
			l.took = l.took[:0]
		}
		early, late = slices.Min(a.p99s), slices.Min(b.p99s)
	}
	ratio := float64(late) / float64(early)
	t.Logf("accepting: p99 %v after %d messages, %v after %d: %.2f times", early, short, late, long, ratio)
	form.Figures(t, map[string]float64{"history": float64(long), "ratio_max": ratio, "p99 us_max": float64(late.Microseconds())})
	require.LessOrEqual(t, float64(late), most*float64(early)+float64(200*time.Microsecond), "a message costs more the longer the history")
}
