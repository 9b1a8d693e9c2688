// Package form says in which form a long test runs. The short one, of `go test -short`, is for whoever edits; the normal one
// takes some seconds; where ITEST_SECONDS is set the tests share that much time between them; where ITEST_COUNT is, a test does
// exactly that much, and itest/full adds up what many such tests have seen.
package form

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime/pprof"
	"strconv"
	"testing"
	"time"
)

// Time is how long a test may go on: its share of ITEST_SECONDS where that is set, the normal time where it is not, the short
// one with -short.
func Time(t testing.TB, share float64, normal, short time.Duration) time.Duration {
	t.Helper()
	if testing.Short() {
		return short
	}
	return max(normal, Given(t, share))
}

// Given is a share of ITEST_SECONDS; 0 where it is not set.
func Given(t testing.TB, share float64) time.Duration {
	t.Helper()
	text := os.Getenv("ITEST_SECONDS")
	if text == "" || testing.Short() {
		return 0
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatalf("ITEST_SECONDS: %v", err)
	}
	return time.Duration(share * seconds * float64(time.Second))
}

// Rounds counts the rounds of a test: for more := form.Rounds(...); more(); { ... }. They are ITEST_COUNT where that is set; few
// with -short; else some, and as many more as fit into a share of ITEST_SECONDS.
func Rounds(t testing.TB, share float64, some, few int) (more func() bool) {
	t.Helper()
	exactly := Number(t, "ITEST_COUNT", 0)
	end := time.Now().Add(Given(t, share))
	n := 0
	return func() bool {
		n++
		switch {
		case exactly > 0:
			return n <= exactly
		case testing.Short():
			return n <= few
		}
		return n <= some || time.Now().Before(end)
	}
}

// Number is a whole number from the environment, or another one where it is not set.
func Number(t testing.TB, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// Seed is where a test's random choices come from: ITEST_SEED, or ITEST_FIRST, which tests that have many seeds begin with, or a
// new one. It is logged. What goroutines do at the same moment is not repeated by it, what each of them tries is.
func Seed(t testing.TB) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := cmp.Or(os.Getenv("ITEST_SEED"), os.Getenv("ITEST_FIRST")); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("ITEST_SEED or ITEST_FIRST: %v", err)
		}
	}
	t.Logf("ITEST_SEED=%d", seed)
	return seed
}

// Watch ends the process, with what each goroutine is at, if the test is not over in time: it hangs.
func Watch(t testing.TB, most time.Duration) {
	t.Helper()
	t.Cleanup(Guard(t.Name(), most))
}

// Guard is Watch for a part of a test, until done is called.
func Guard(what string, most time.Duration) (done func()) {
	timer := time.AfterFunc(most, func() {
		_ = pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		panic(fmt.Sprintf("%s hangs: it was to be over in %v", what, most))
	})
	return func() { timer.Stop() }
}

// Figures logs what a test has seen, as one line `figures {...}` that other programs read. Numbers of several runs of one test
// are added up, but those whose name ends in "_max" (the greatest counts) or "_min".
func Figures(t testing.TB, seen map[string]float64) {
	t.Helper()
	line, err := json.Marshal(seen)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("figures %s", line)
}

// Need is for programs of others that a test asks: without them it says nothing and is skipped, which only happens outside CI.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
}
