// Package counts kills a process while services send and citizens read and choose, again and again, and holds the statistics and the
// subscriptions feed against a recount of what citizens' exports and histories of consent say.
package counts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/failpoint"
	"github.com/appio-go/appio/internal/form"
)

// A child is this test binary again. It works on the file in the folder until it is killed; each life begins some hours after the last.
const (
	envDir   = "APPIO_COUNTS_DIR"
	envLife  = "APPIO_COUNTS_LIFE"
	envPoint = "APPIO_COUNTS_POINT" // where it kills itself, or "": nowhere
	envAfter = "APPIO_COUNTS_AFTER" // at which passing, from 1

	citizens = 12
	lifetime = 5 * time.Hour // of the clock, from one life to the next
	mostDays = 80            // after which what was rejected is no longer there to be recounted
)

var services = []appio.ServiceID{"avvisi", "mensa"}

func TestMain(m *testing.M) {
	if os.Getenv(envDir) != "" {
		fmt.Fprintln(os.Stderr, child())
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

var start = time.Date(2026, 4, 10, 8, 0, 0, 0, time.UTC)

// open opens the folder's file at the time of a life.
func open(dir string, life int) (*appio.Engine, error) {
	began, now := time.Now(), start.Add(time.Duration(life)*lifetime)
	return appio.Open(filepath.Join(dir, "io.db"), &appio.Options{
		Statistics: true, FeedDays: 90, FeedRate: 1e6, Now: func() time.Time { return now.Add(time.Since(began)) },
		Backoff: func(int) time.Duration { return time.Millisecond },
		Channels: []appio.Route{{Name: appio.Push, Default: appio.Full, ByCode: true, Channel: appio.ChannelFunc(func(context.Context, appio.Delivery) error {
			if rand.IntN(10) == 0 {
				return fmt.Errorf("try again")
			}
			return nil
		})}},
	})
}

func person(i int) fiscalcode.Person { return fiscalcode.Person(fmt.Sprintf("RSSMRA85M10H%03dS", i)) }

// child never returns, unless something is wrong.
func child() error {
	life, err := strconv.Atoi(os.Getenv(envLife))
	if err != nil {
		return err
	}
	if point := os.Getenv(envPoint); point != "" {
		n, err := strconv.Atoi(os.Getenv(envAfter))
		if err != nil {
			return err
		}
		var passed atomic.Int64
		failpoint.Set(func(name string) error {
			if name == point && passed.Add(1) == int64(n) {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
			return nil
		})
	}
	e, err := open(os.Getenv(envDir), life)
	if err != nil {
		return err
	}
	ctx, failed := context.Background(), make(chan error, 8)
	go func() { failed <- fmt.Errorf("Run ended: %w", e.Run(ctx)) }()
	for range 3 {
		go func() {
			for {
				if err := step(ctx, e); err != nil {
					failed <- err
					return
				}
				time.Sleep(rand.N(2 * time.Millisecond))
			}
		}()
	}
	return <-failed
}

// step is something that a service or a citizen does.
func step(ctx context.Context, e *appio.Engine) error {
	c := e.Citizen(appio.Identity{Code: person(rand.IntN(citizens)), Level: appio.L2})
	id := services[rand.IntN(len(services))]
	switch n := rand.IntN(20); {
	case n < 13:
		_, err := e.Sender(id).Send(ctx, appio.Message{To: person(rand.IntN(citizens + 3)), Subject: "Il calendario della raccolta",
			Markdown: "La informiamo che il servizio di raccolta cambia orario dal prossimo mese, come da calendario."})
		return err
	case n < 16:
		p, err := c.Inbox(nil).Page(ctx, "", 5)
		if err != nil || len(p.Items) == 0 {
			return err
		}
		return c.MarkRead(ctx, p.Items[rand.IntN(len(p.Items))].ID)
	case n < 17:
		return c.SetMode(ctx, []appio.Mode{appio.Auto, appio.Manual}[rand.IntN(2)])
	default:
		p, err := c.Profile(ctx)
		if err != nil || p.Mode == appio.Undecided {
			return err
		}
		return c.SetPreference(ctx, id, appio.Preference{Inbox: rand.IntN(2) == 0})
	}
}

var points = []struct {
	name  string
	after int
}{
	{"writer/commit", 150}, {"writer/committed", 150}, {"effects/tell", 20}, {"effects/told", 20}, {"tally/counted", 1}, {"tally/counted", 1},
	{"tally/counted", 1}, {"tally/kept", 1},
	{"dispatch/record", 60}, {"cleanup/page", 2}, {"cleanup/done", 2},
}

// TestCountsAfterKills kills a child, at named points and at random moments: 20 times, or ITEST_COUNT times, more where ITEST_SECONDS is set.
func TestCountsAfterKills(t *testing.T) {
	seed := form.Seed(t)
	r := rand.New(rand.NewPCG(seed, 0))
	more := form.Rounds(t, 0.03, 20, 6)
	form.Watch(t, form.Given(t, 0.03)+5*time.Minute)
	dir := t.TempDir()
	e, err := open(dir, 0)
	require.NoError(t, err)
	for _, id := range services {
		require.NoError(t, e.PutService(t.Context(), appio.Service{ID: id, Name: string(id), Organization: "01199250158", State: appio.Live}))
	}
	require.NoError(t, e.Close())
	life, itself := 0, 0
	for ; life < mostDays*24/5 && more(); life++ {
		point, after := "", 0
		if r.IntN(3) > 0 {
			p := points[r.IntN(len(points))]
			point, after = p.name, 1+r.IntN(p.after)
		}
		if live(t, dir, life, point, after, time.Duration(50+r.IntN(400))*time.Millisecond) {
			itself++
		}
	}
	accepted, entries := recount(t, dir, life)
	t.Logf("%d lives, %d of them ended at a named point: %d messages, %d entries of the feed", life, itself, accepted, entries)
	form.Figures(t, map[string]float64{"cycles": float64(life), "at points": float64(itself), "accepted": float64(accepted), "entries": float64(entries)})
	require.Positive(t, accepted)
}

// live is one life of a child, and reports whether it ended at its point.
func live(t *testing.T, dir string, life int, point string, after int, most time.Duration) (itself bool) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), envDir+"="+dir, fmt.Sprintf("%s=%d", envLife, life), envPoint+"="+point, fmt.Sprintf("%s=%d", envAfter, after))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	dead := make(chan error, 1)
	go func() { dead <- cmd.Wait() }()
	select {
	case <-dead:
		itself = true
	case <-time.After(most):
		require.NoError(t, cmd.Process.Kill())
		<-dead
	}
	status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
	require.True(t, ok && status.Signaled() && status.Signal() == syscall.SIGKILL, "life %d ended by itself: %v\n%s", life, cmd.ProcessState, stderr.String())
	return itself
}

// A figure is of a day.
type figures struct {
	Processed, Rejected, Read int
}

// recount goes through what citizens are told of themselves, and compares.
func recount(t *testing.T, dir string, life int) (accepted, entries int) {
	ctx := t.Context()
	e, err := open(dir, life+10) // two days later
	require.NoError(t, err)
	defer func() { require.NoError(t, e.Close()) }()
	for range 3 {
		_, err = e.Flush(ctx)
		require.NoError(t, err)
	}
	days, delivered := map[appio.ServiceID]map[time.Time]*figures{}, map[appio.ServiceID]int{}
	of := func(id appio.ServiceID, at time.Time) *figures {
		day := at.UTC().Truncate(24 * time.Hour)
		if days[id] == nil {
			days[id] = map[time.Time]*figures{}
		}
		if days[id][day] == nil {
			days[id][day] = &figures{}
		}
		return days[id][day]
	}
	feed := feedCount{}
	for i := range citizens + 3 {
		c := e.Citizen(appio.Identity{Code: person(i), Level: appio.L2})
		for cursor, more := appio.Cursor(""), true; more; more = cursor != "" {
			page, err := c.ExportPage(ctx, cursor)
			require.NoError(t, err)
			for _, b := range page.Items {
				var item struct {
					Kind       string
					Service    appio.ServiceID
					At         time.Time
					Status     appio.Status
					Read       time.Time `json:"read_at"`
					Deliveries []struct{ Result appio.OutcomeResult }
				}
				require.NoError(t, json.Unmarshal(b, &item))
				switch {
				case item.Kind == "decision" && item.Status == appio.Processed:
					of(item.Service, item.At).Processed++
				case item.Kind == "decision":
					of(item.Service, item.At).Rejected++
				case item.Kind == "message" && !item.Read.IsZero():
					of(item.Service, item.Read).Read++
				}
				for _, d := range item.Deliveries {
					if d.Result == appio.OutcomeDelivered {
						delivered[item.Service]++
					}
				}
			}
			cursor = page.Next
		}
		history, err := gather(ctx, c.Consents().All)
		require.NoError(t, err)
		feed.citizen(person(i), history)
	}
	for _, id := range services {
		got, sum := map[time.Time]*figures{}, 0
		all, err := e.Statistics(ctx, id, start, start.Add(time.Duration(life)*lifetime))
		require.NoError(t, err)
		for _, d := range all {
			require.True(t, d.Final)
			require.Equal(t, d.Processed+d.Rejected, d.Accepted)
			if sum += d.Delivered[appio.Push]; d.Accepted+d.Read > 0 {
				got[d.Day] = &figures{d.Processed, d.Rejected, d.Read}
			}
			accepted += d.Accepted
		}
		require.Equal(t, days[id], got, "the statistics of %s are not what is there", id)
		require.Equal(t, delivered[id], sum, "the statistics of %s are not what is there: deliveries", id)
		for day := start.Truncate(24 * time.Hour); day.Before(start.Add(time.Duration(life) * lifetime)); day = day.AddDate(0, 0, 1) {
			found, err := gather(ctx, e.Sender(id).SubscriptionsFeed(day).All)
			require.NoError(t, err)
			is := map[string]bool{}
			for _, f := range found {
				is[f.Hash] = f.Subscribed
			}
			require.Equal(t, feed.read(day, id), is, "the feed of %s on %v is not what was chosen", id, day)
			entries += len(is)
		}
	}
	seen, err := e.Check(ctx, func(f appio.Finding) { t.Error(f) })
	require.NoError(t, err)
	require.Zero(t, seen.Records["mark for statistics"])
	require.Zero(t, seen.Records["effect on the feed"])
	return accepted, entries
}

func gather[T any](ctx context.Context, all func(context.Context) iter.Seq2[T, error]) (list []T, err error) {
	for v, err := range all(ctx) {
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// A feedCount is what was chosen on each day: of all services, under "", and of each.
type feedCount map[time.Time]map[appio.ServiceID]map[string]bool

// citizen follows a history of consent, which is newest first.
func (f feedCount) citizen(code fiscalcode.Person, history []appio.ConsentRecord) {
	sum := sha256.Sum256([]byte(code))
	hash := hex.EncodeToString(sum[:])
	mode := appio.Undecided
	for i := len(history) - 1; i >= 0; i-- {
		ev := history[i]
		day := ev.At.UTC().Truncate(24 * time.Hour)
		if f[day] == nil {
			f[day] = map[appio.ServiceID]map[string]bool{}
			for _, id := range append([]appio.ServiceID{""}, services...) {
				f[day][id] = map[string]bool{}
			}
		}
		switch {
		case ev.What == appio.ChangedPreference && ev.Before.Inbox != ev.After.Inbox:
			f[day][ev.Service][hash] = ev.After.Inbox
		case ev.What == appio.ChangedProfile && ev.Mode != mode:
			for _, id := range services {
				delete(f[day][id], hash)
			}
			if ev.Mode == appio.Auto || mode != appio.Undecided {
				f[day][""][hash] = ev.Mode == appio.Auto
			}
			mode = ev.Mode
		}
	}
}

// read is who is in the feed: IO's rule.
func (f feedCount) read(day time.Time, id appio.ServiceID) map[string]bool {
	got := map[string]bool{}
	all, one := f[day][""], f[day][id]
	for hash, on := range all {
		if chosen, ok := one[hash]; !ok || chosen == on {
			got[hash] = on
		}
	}
	for hash, on := range one {
		if _, ok := all[hash]; !ok {
			got[hash] = on
		}
	}
	return got
}
