package channeltest

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"math/rand/v2"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"github.com/appio-go/appio"
)

var endChecks = []check{
	{"a call whose context has ended returns soon", false, func(t tester, s *subject) {
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		expired, cancel := context.WithTimeout(t.Context(), 0)
		defer cancel()
		for _, ctx := range []context.Context{cancelled, expired} {
			d := full()
			if s.deliver(t, ctx, "a context that had ended", d) == nil {
				s.arrived(t, "a context that had ended", d)
			}
		}
	}},

	{"a call whose context ends returns soon", false, func(t tester, s *subject) {
		random := rand.New(rand.NewPCG(1, 0))
		for range 50 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(2000))*time.Microsecond)
			d := full()
			err := s.deliver(t, ctx, "a context that ends meanwhile", d)
			cancel()
			if err == nil {
				s.arrived(t, "a context that ended meanwhile", d)
			}
		}
	}},

	{"nothing goes on when the calls have returned", false, func(t tester, s *subject) {
		// Goroutines inherit labels from those that start them.
		label := crand.Text()
		pprof.Do(t.Context(), pprof.Labels(labelKey, label), func(ctx context.Context) {
			ended, cancel := context.WithCancel(ctx)
			cancel()
			for range lingering {
				s.once(t, ctx)
				s.once(t, ended)
			}
		})
		left, where := labelled(label)
		for deadline := time.Now().Add(2 * soon); left > pooled && time.Now().Before(deadline); left, where = labelled(label) {
			time.Sleep(20 * time.Millisecond)
		}
		if left > pooled {
			t.Errorf("%d goroutines that were started by %d calls are still there, %v after the last of them returned; a call "+
				"starts nothing that outlives it (connections that wait for reuse are fine, but they are few). Many are at\n%s",
				left, 2*lingering, 2*soon, where)
		}
	}},
}

const (
	lingering = 64 // calls in each way
	pooled    = 16 // goroutines of a pool of connections
	labelKey  = "channeltest"
)

// once makes one call of each kind, with a context that ends after it, as the engine does.
func (s *subject) once(t tester, ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_ = s.deliver(t, ctx, "an ordinary delivery", full()) // other checks look at the answer
	if _, ok := s.Channel.(appio.BatchChannel); ok {
		_ = s.deliverBatch(t, ctx, many(2))
	}
}

// labelled counts the goroutines with this label, and says where most of them are.
func labelled(label string) (n int, where string) {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return 0, ""
	}
	// Goroutines at the same place are one paragraph: "3 @ 0x47c ...", then "# labels: {...}", then the stack.
	most := 0
	for part := range strings.SplitSeq(b.String(), "\n\n") {
		count, rest, _ := strings.Cut(strings.TrimLeft(part, "\n"), " @ ")
		_, rest, _ = strings.Cut(rest, "\n")
		labels, frames, _ := strings.Cut(rest, "\n")
		if i := strings.LastIndexByte(count, '\n'); i >= 0 { // the heading of the profile
			count = count[i+1:]
		}
		same, err := strconv.Atoi(count)
		if err != nil || !strings.HasPrefix(labels, "# labels:") || !strings.Contains(labels, label) {
			continue
		}
		if n += same; same > most {
			most, where = same, frames
		}
	}
	return n, where
}
