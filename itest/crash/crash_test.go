// Package crash kills a process while it sends and delivers on a bbolt file, again and again, and shows that nothing accepted is
// lost, nothing is in an inbox twice, and what goes out twice was under way when the process died.
package crash

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/form"
)

func TestMain(m *testing.M) {
	if os.Getenv(envDir) != "" {
		fmt.Fprintln(os.Stderr, child())
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// A ledger is what is known after some lives.
type ledger struct {
	t      *testing.T
	dir    string
	random *rand.Rand

	accepted map[string]appio.MessageID // by key
	to       map[appio.MessageID]int
	unsure   int   // messages whose acceptance was not answered
	kept     int   // of them, those that were found to be accepted
	read     int64 // of the log

	begun     map[appio.DeliveryID]*delivery
	delivered map[appio.MessageID]map[string]bool // channels
	copies    int                                 // attempts beyond the first that did not fail

	deaths map[string]float64 // by point; "": at a random moment
}

// A delivery is what the log says of one.
type delivery struct {
	message appio.MessageID
	channel string
	life    int  // of the last attempt
	failed  bool // the last attempt did
	settled bool // the engine knew, when it came back, that it was delivered
}

// mostCopies is how many deliveries can be under way at a crash: those that the workers of both channels make, and those of which
// the outcome is not committed yet, which are more the slower the disk is.
const mostCopies = 2*16 + 500

// TestKill kills a child, at named points and at random moments: 20 times, or ITEST_COUNT times, at least 100 where ITEST_SECONDS
// is set.
func TestKill(t *testing.T) {
	seed := form.Seed(t)
	cycles, most := 20, form.Given(t, 0.1)
	if most > 0 {
		cycles = 100
	}
	more := form.Rounds(t, 0.1, cycles, 4)
	form.Watch(t, most+time.Duration(form.Number(t, "ITEST_COUNT", cycles))*5*time.Second+2*time.Minute)
	l := &ledger{
		t: t, dir: t.TempDir(), random: rand.New(rand.NewPCG(seed, 0)), accepted: map[string]appio.MessageID{}, to: map[appio.MessageID]int{},
		begun: map[appio.DeliveryID]*delivery{}, delivered: map[appio.MessageID]map[string]bool{}, deaths: map[string]float64{},
	}
	e, r, err := open(l.dir, 0)
	require.NoError(t, err)
	require.NoError(t, e.PutService(t.Context(), appio.Service{ID: service, Name: "Avvisi", Organization: "01199250158", State: appio.Live}))
	for i := range citizens {
		require.NoError(t, e.Citizen(appio.Identity{Code: person(i)}).SetMode(t.Context(), appio.Auto))
	}
	require.NoError(t, e.Close())
	require.NoError(t, r.file.Close())

	began := time.Now()
	life := 0
	for more() {
		life++
		before := l.content()
		heard := l.live(life)
		if life == 3 && os.Getenv(envForget) != "" {
			require.NoError(t, os.WriteFile(filepath.Join(l.dir, "io.db"), before, 0o600))
		}
		l.check(life, heard)
	}
	took := time.Since(began)
	l.finish(life + 1)
	t.Logf("%d cycles in %v: %d messages accepted, %d more not answered, of which %d were kept; %d deliveries, %d copies of what was under way at a crash",
		life, took.Round(time.Millisecond), len(l.accepted)-l.unsure, l.unsure, l.kept, len(l.begun), l.copies)
	form.Figures(t, map[string]float64{
		"cycles": float64(life), "at points": float64(life) - l.deaths[""], "points_max": float64(len(l.deaths) - 1),
		"accepted": float64(len(l.accepted) - l.unsure), "unanswered": float64(l.unsure),
		"deliveries": float64(len(l.begun)), "copies": float64(l.copies), "keys of 32": float64(life),
	})
	t.Logf("deaths: %v", l.deaths)
	require.Greater(t, len(l.accepted), life)
}

// content is the file, where a life is to be forgotten.
func (l *ledger) content() []byte {
	if os.Getenv(envForget) == "" {
		return nil
	}
	b, err := os.ReadFile(filepath.Join(l.dir, "io.db"))
	require.NoError(l.t, err)
	return b
}

// live is one life of a child, up to a point or a random moment.
func (l *ledger) live(life int) *listener {
	point, after := "", 0
	if l.random.IntN(2) == 0 {
		p := points[l.random.IntN(len(points))]
		point, after = p.name, 1+l.random.IntN(p.after)
	}
	cmd := exec.CommandContext(l.t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envDir+"="+l.dir, fmt.Sprintf("%s=%d", envLife, life),
		envPoint+"="+point, fmt.Sprintf("%s=%d", envAfter, after))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	require.NoError(l.t, err)
	require.NoError(l.t, cmd.Start())
	heard := &listener{ready: make(chan struct{}), accepted: map[string]appio.MessageID{}}
	silent := make(chan struct{})
	go func() {
		defer close(silent)
		heard.listen(bufio.NewScanner(out))
	}()
	dead := func(within time.Duration) bool {
		select {
		case <-silent:
			return true
		case <-time.After(within):
			return false
		}
	}
	// Most die at work; some while they open the file, or look for what an earlier life left.
	itself := false
	switch {
	case point != "":
		itself = dead(500 * time.Millisecond)
	case l.random.IntN(8) > 0:
		select {
		case <-heard.ready:
		case <-silent:
		case <-time.After(30 * time.Second):
		}
		if l.random.IntN(4) > 0 {
			itself = dead(time.Duration(l.random.IntN(250)) * time.Millisecond)
		} else {
			itself = dead(time.Duration(l.random.IntN(5000)) * time.Microsecond)
		}
	default:
		itself = dead(time.Duration(l.random.IntN(60)) * time.Millisecond)
	}
	if itself {
		l.deaths[point]++
	} else {
		l.deaths[""]++
	}
	require.NoError(l.t, cmd.Process.Kill())
	<-silent
	_ = cmd.Wait()
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(l.t, ok && status.Signaled() && status.Signal() == syscall.SIGKILL, "life %d ended by itself: %v\n%s", life, cmd.ProcessState, stderr.String())
	require.Empty(l.t, heard.wrong, "life %d", life)
	return heard
}

// check opens the file after a crash and compares.
func (l *ledger) check(life int, heard *listener) {
	e, r, err := open(l.dir, life)
	require.NoError(l.t, err, "after life %d", life)
	defer func() {
		require.NoError(l.t, e.Close())
		require.NoError(l.t, r.file.Close())
	}()
	copies := l.copies
	l.replay()
	require.LessOrEqual(l.t, l.copies-copies, mostCopies, "life %d made more copies than were under way when the one before it ended", life)
	l.crowd(e, life, heard)

	// The same key is the same message; what was not answered is accepted now, if it was not before.
	keys := heard.tried
	if old := l.someKey(); old != "" {
		keys = append(keys, old)
	}
	for page := range slices.Chunk(keys, 256) {
		ms := make([]appio.Message, len(page))
		for i, key := range page {
			ms[i] = message(key)
		}
		results, err := e.Sender(service).SendBatch(l.t.Context(), ms)
		require.NoError(l.t, err)
		for i, key := range page {
			id, known := heard.accepted[key]
			if !known {
				id, known = l.accepted[key]
			}
			switch res := results[i]; {
			case known:
				require.True(l.t, res.Repeated, "life %d: %s was accepted and is lost", life, key)
				require.Equal(l.t, id, res.ID, "life %d: %s has another id", life, key)
			default:
				l.unsure++
				if res.Repeated {
					l.kept++
				}
				id = res.ID
			}
			l.accepted[key], l.to[id] = id, recipient(key)
		}
	}

	// What the engine knows to be delivered must not go out again.
	for id, d := range l.begun {
		if d.life != life || d.settled {
			continue
		}
		to, known := l.to[d.message]
		require.True(l.t, known, "%s was delivered, and nobody sent it", d.message)
		record, err := e.Explain(l.t.Context(), person(to), d.message)
		require.NoError(l.t, err)
		d.settled = slices.ContainsFunc(record.Outcomes, func(o appio.DeliveryOutcome) bool {
			return o.ID == id && o.Result == appio.OutcomeDelivered
		})
	}
}

// crowd sends a message from 32 goroutines at once, under one key: it is one message. It is one of which the dead life did not hear
// whether it was accepted, if there is any.
func (l *ledger) crowd(e *appio.Engine, life int, heard *listener) {
	key := newKey(life, senders, 0, l.random)
	for _, tried := range heard.tried {
		if _, known := heard.accepted[tried]; !known {
			key = tried
		}
	}
	var together sync.WaitGroup
	results, errs := make([]appio.Result, 32), make([]error, 32)
	for i := range results {
		together.Go(func() { results[i], errs[i] = e.Sender(service).Send(l.t.Context(), message(key)) })
	}
	together.Wait()
	first := 0
	for i, res := range results {
		require.NoError(l.t, errs[i])
		require.Equal(l.t, results[0].ID, res.ID, "life %d: one key, and several messages", life)
		if !res.Repeated {
			first++
		}
	}
	require.LessOrEqual(l.t, first, 1, "life %d: one key, and several messages", life)
	if slices.Contains(heard.tried, key) {
		l.unsure++
		l.kept += 1 - first
	}
	heard.accepted[key] = results[0].ID
	l.accepted[key], l.to[results[0].ID] = results[0].ID, recipient(key)
}

// someKey is one of an earlier life.
func (l *ledger) someKey() string {
	for key := range l.accepted {
		return key
	}
	return ""
}

// replay reads what the channels did since the last time.
func (l *ledger) replay() {
	f, err := os.Open(filepath.Join(l.dir, "deliveries.log"))
	require.NoError(l.t, err)
	defer f.Close()
	_, err = f.Seek(l.read, io.SeekStart)
	require.NoError(l.t, err)
	text, err := io.ReadAll(f)
	require.NoError(l.t, err)
	l.read += int64(len(text))
	for line := range strings.Lines(string(text)) {
		var word string
		var life int
		var id appio.DeliveryID
		var message appio.MessageID
		var channel string
		_, err := fmt.Sscan(line, &word, &life, &id, &message, &channel)
		require.NoError(l.t, err, "%q", line)
		d := l.begun[id]
		if word == logsBegin {
			if d == nil {
				d = &delivery{message: message, channel: channel}
				l.begun[id] = d
			} else {
				require.False(l.t, d.settled, "%s was delivered and known to be, and went out again in life %d", id, life)
				require.True(l.t, d.failed || life > d.life, "%s went out twice in life %d", id, life)
				if !d.failed {
					l.copies++
				}
			}
			d.life, d.failed = life, false
			continue
		}
		require.NotNil(l.t, d, "%q", line)
		if d.failed = word == logsFailed; d.failed {
			continue
		}
		if l.delivered[message] == nil {
			l.delivered[message] = map[string]bool{}
		}
		l.delivered[message][channel] = true
	}
}

// finish delivers what is left, and then goes through everything.
func (l *ledger) finish(life int) {
	e, r, err := open(l.dir, life)
	require.NoError(l.t, err)
	defer func() {
		require.NoError(l.t, e.Close())
		require.NoError(l.t, r.file.Close())
	}()
	ctx, cancel := context.WithTimeout(l.t.Context(), time.Minute)
	defer cancel()
	for idle := 0; idle < 20; { // what failed comes again within some milliseconds
		tried, err := e.Flush(ctx)
		require.NoError(l.t, err)
		if idle++; tried > 0 {
			idle = 0
		}
		time.Sleep(time.Millisecond)
	}
	l.replay()

	by := map[int]map[appio.MessageID]string{}
	for key, id := range l.accepted {
		n := recipient(key)
		if by[n] == nil {
			by[n] = map[appio.MessageID]string{}
		}
		by[n][id] = key
	}
	parked := 0
	for n := range citizens {
		found := map[appio.MessageID]bool{}
		c := e.Citizen(appio.Identity{Code: person(n)})
		for m, err := range c.Inbox(nil).All(ctx) {
			require.NoError(l.t, err)
			key, ok := by[n][m.ID]
			require.True(l.t, ok, "an inbox has %s, which nobody sent", m.Subject)
			require.Equal(l.t, message(key).Subject, m.Subject)
			require.False(l.t, found[m.ID], "%s is in an inbox twice", m.Subject)
			found[m.ID] = true
		}
		require.Len(l.t, found, len(by[n]), "messages that were accepted are in no inbox")
		for id := range by[n] {
			if l.delivered[id][steady] && l.delivered[id][flaky] {
				continue
			}
			record, err := c.Explain(ctx, id)
			require.NoError(l.t, err)
			for _, channel := range []string{steady, flaky} {
				over := slices.ContainsFunc(record.Outcomes, func(o appio.DeliveryOutcome) bool { return o.Channel == channel })
				require.True(l.t, over || l.delivered[id][channel], "%s was lost on its way to %s", by[n][id], channel)
			}
			parked++
		}
	}
	h, err := e.Health(ctx)
	require.NoError(l.t, err)
	require.Zero(l.t, h.Waiting)
	require.Zero(l.t, h.Quarantined)
	require.LessOrEqual(l.t, parked, h.Parked, "deliveries that are over, never made, and not parked")
}
