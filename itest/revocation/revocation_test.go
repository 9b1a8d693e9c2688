// Package revocation shows that no message goes out after a revocation returned: many citizens change their minds while many
// services write to them, all that happens is kept, and a model of one register for each citizen is held against it.
package revocation

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/appio-go/appio/internal/form"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// full is the size of both tests where there is time for it.
var full = plan{
	citizens: 200, senders: 16, batch: 64, revokers: 32, operations: 100_000,
	engines: 1, lease: 2 * time.Second, timeout: 150 * time.Millisecond, margin: 50 * time.Millisecond, skew: 10 * time.Millisecond,
	await: 100 * time.Millisecond, deaf: 300 * time.Millisecond, inspect: 10 * time.Millisecond,
}

// timeFor is how long a test may go on. With ITEST_COUNT it goes on until all its operations are done.
func timeFor(t *testing.T, share float64, normal, short time.Duration) time.Duration {
	if form.Number(t, "ITEST_COUNT", 0) > 0 {
		return 5 * time.Minute
	}
	return form.Time(t, share, normal, short)
}

func TestOneEngine(t *testing.T) {
	p := full
	p.time = timeFor(t, 0.08, 5*time.Second, time.Second)
	p.run(t)
}

// TestTwoEngines has the times of leases and clocks as they are by default, made smaller by much the same factor, so that there
// are many stops that outlast a lease.
func TestTwoEngines(t *testing.T) {
	p := full
	p.time = timeFor(t, 0.12, 8*time.Second, 1900*time.Millisecond)
	p.engines = 2
	p.lease, p.timeout, p.margin, p.skew, p.ahead = 500*time.Millisecond, 250*time.Millisecond, 100*time.Millisecond, 450*time.Millisecond, 375*time.Millisecond
	p.deaf, p.await = p.timeout*9/10, 5*time.Second
	p.pause, p.stopEvery = p.lease+p.skew+p.ahead+50*time.Millisecond, time.Second
	p.run(t)
}

// TestTwoEnginesAsTheyAre has the default times, and stops of 40 seconds.
func TestTwoEnginesAsTheyAre(t *testing.T) {
	p := full
	p.time = form.Given(t, 0.2)
	if p.time < time.Minute {
		t.Skip("it takes minutes: set ITEST_SECONDS to 300 or more")
	}
	p.engines, p.operations = 2, 1_000_000
	p.lease, p.timeout, p.margin, p.await = 0, 20*time.Second, 0, 0
	p.skew, p.ahead = 6*time.Second, 5*time.Second
	p.deaf = time.Second
	p.pause, p.stopEvery = 40*time.Second, 10*time.Second
	p.run(t)
}

func (p plan) run(t *testing.T) {
	form.Watch(t, p.time+p.pause+2*time.Minute)
	w := newWorld(t, p, form.Seed(t))
	w.run()
	w.judge()
}
