package conformance

import (
	"bytes"
	"context"
	crand "crypto/rand"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"
)

const (
	lingering = 64 // calls in each way
	pooled    = 16 // goroutines of a pool of connections
	labelKey  = "conformance"
)

// NothingGoesOn makes calls, each with a context that goes on and with one that has ended, and fails if they leave goroutines behind.
func NothingGoesOn(t Tester, call func(ctx context.Context)) {
	t.Helper()
	// Goroutines inherit labels from those that start them.
	label := crand.Text()
	pprof.Do(t.Context(), pprof.Labels(labelKey, label), func(ctx context.Context) {
		ended, cancel := context.WithCancel(ctx)
		cancel()
		for range lingering {
			call(ctx)
			call(ended)
		}
	})
	left, where := labelled(label)
	for deadline := time.Now().Add(2 * Soon); left > pooled && time.Now().Before(deadline); left, where = labelled(label) {
		time.Sleep(20 * time.Millisecond)
	}
	if left > pooled {
		t.Errorf("%d goroutines that were started by %d calls are still there, %v after the last of them returned; a call "+
			"starts nothing that outlives it (connections that wait for reuse are fine, but they are few). Many are at\n%s",
			left, 2*lingering, 2*Soon, where)
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
