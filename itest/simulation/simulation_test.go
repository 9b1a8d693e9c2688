package simulation

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/chance"
	"github.com/appio-go/appio/itest/internal/form"
)

func isUnknown(err error) bool { return errors.Is(err, appio.ErrUnknown) }

// A verdict is what came of one run.
type verdict struct {
	failures []string
	counts   map[string]float64
	hash     uint64
	lines    []string
}

// run plays a plan from its beginning to its end.
func run(t *testing.T, p plan, keep bool) (v verdict) {
	var w *world
	defer func() {
		if r := recover(); r != nil { // the bubble found that something is left running, or waits for ever
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			v = verdict{failures: []string{fmt.Sprint(r), inBubble(string(stacks))}}
			if w != nil {
				v.failures, v.lines = append(w.failures, v.failures...), w.lines
			}
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(p, keep)
		reader := rand.Reader
		rand.Reader = w.dice
		defer func() { rand.Reader = reader }()
		defer chance.Set(w.dice.Int64N)()
		if err := w.prepare(t.Context()); err != nil {
			w.fail("prepare: %v", err)
			return
		}
		w.play()
		w.heal()
		w.counts["hours"] = time.Since(w.began).Hours()
	})
	return verdict{w.failures, w.counts, w.hash.Sum64(), w.lines}
}

// inBubble are the goroutines of bubbles, of all that there are.
func inBubble(stacks string) string {
	var found []string
	for _, g := range strings.Split(stacks, "\n\n") {
		if head, _, _ := strings.Cut(g, "\n"); strings.Contains(head, "synctest bubble") {
			found = append(found, g)
		}
	}
	return strings.Join(found, "\n\n")
}

// oneByOne lets goroutines run one at a time, and keeps the collector from interfering with their order, until the test is over.
func oneByOne(t *testing.T) {
	procs, percent := runtime.GOMAXPROCS(1), debug.SetGCPercent(-1)
	t.Cleanup(func() {
		runtime.GOMAXPROCS(procs)
		debug.SetGCPercent(percent)
	})
}

// collect is done between the runs.
func collect(n int) {
	if n%20 == 19 {
		runtime.GC()
	}
}

func TestSeeds(t *testing.T) {
	oneByOne(t)
	if os.Getenv("ITEST_SEED") != "" {
		seed := form.Seed(t)
		v := run(t, newPlan(seed), true)
		t.Logf("%+v", newPlan(seed))
		t.Log("\n" + strings.Join(v.lines, "\n"))
		report(t, seed, v)
		return
	}
	limit := form.Time(t, 0.15, 10*time.Second, 2*time.Second)
	first, most := form.Number(t, "ITEST_FIRST", 1), form.Number(t, "ITEST_COUNT", 10_000)
	form.Watch(t, limit+5*time.Minute)
	began := time.Now()
	total := map[string]float64{}
	failed := 0
	for n := range most {
		if time.Since(began) > limit && os.Getenv("ITEST_COUNT") == "" {
			break
		}
		seed := uint64(first + n)
		v := run(t, newPlan(seed), false)
		collect(n)
		total["seeds"]++
		for what, n := range v.counts {
			total[what] += n
		}
		if len(v.failures) > 0 {
			report(t, seed, v)
			if failed++; failed == form.Number(t, "ITEST_FAILURES", 3) {
				break
			}
		}
	}
	form.Figures(t, total)
}

func report(t *testing.T, seed uint64, v verdict) {
	t.Helper()
	if len(v.failures) > 0 {
		t.Errorf("seed %d fails; again: ITEST_SEED=%d go test -v -run TestSeeds ./simulation\n%s", seed, seed, strings.Join(v.failures, "\n"))
	}
}

// TestRepeatable runs each seed twice: the same must happen, to the nanosecond and in the same order.
func TestRepeatable(t *testing.T) {
	oneByOne(t)
	most := form.Number(t, "ITEST_COUNT", 100)
	other := 0
	for n := range most {
		seed := uint64(1_000_000 + n)
		first, second := run(t, newPlan(seed), false), run(t, newPlan(seed), false)
		if first.hash != second.hash {
			other++
			t.Logf("seed %d went otherwise the second time", seed)
		}
		collect(n)
	}
	form.Figures(t, map[string]float64{"repeated": float64(most), "otherwise": float64(other)})
}
