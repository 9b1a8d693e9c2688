// Package disk shows what an engine does when its store has no room: it refuses, keeps all that it accepted, and goes on when
// there is room again.
package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/itest/internal/planted"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	service  = appio.ServiceID("avvisi")
	citizens = 8
	within   = time.Second // after there is room, sending works again
)

func person(i int) fiscalcode.Person { return fiscalcode.Person(fmt.Sprintf("RSSMRA85M10H%03dS", i)) }

func message(to fiscalcode.Person, n int) appio.Message {
	return appio.Message{
		To: to, Subject: fmt.Sprintf("Avviso numero %d", n), Key: fmt.Sprint(n), TimeToLive: 24 * time.Hour,
		Markdown: strings.Repeat("La informiamo che il servizio di raccolta cambia orario dal prossimo mese. ", 12),
	}
}

// An office is an engine, and what it accepted.
type office struct {
	*appio.Engine
	t         *testing.T
	accepted  map[int]map[appio.MessageID]bool
	delivered sync.Map // appio.MessageID
	numbers   int
	slowest   time.Duration // from when there was room to the next accepted message
	refused   int
	compacted int
	after     atomic.Int64 // added to the clock
}

// envLie plants a bug: a store without room says that it took the change.
const envLie = "APPIO_DISK_LIE"

type lying struct{ store.Store }

func (l *lying) Commit(ctx context.Context, changes []store.Change) ([]error, error) {
	errs, err := l.Store.Commit(ctx, changes)
	if errors.Is(err, store.ErrFull) {
		return nil, nil
	}
	return errs, err
}

func newOffice(t *testing.T, path string, opts *boltstore.Options) *office {
	o := &office{t: t, accepted: map[int]map[appio.MessageID]bool{}}
	s, err := boltstore.Open(path, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	var used store.Store = s
	if os.Getenv(envLie) != "" {
		used = &lying{s}
	}
	o.Engine, err = appio.New(used, &appio.Options{
		Keys: appio.RandomKeys(), Now: func() time.Time { return time.Now().Add(time.Duration(o.after.Load())) },
		Lease: 3 * time.Second, DeliverTimeout: time.Second, Margin: 200 * time.Millisecond, MaxSkew: 100 * time.Millisecond,
		Channels: []appio.Route{{Name: appio.Push, Default: appio.Full, ByCode: true, Channel: appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
			o.delivered.Store(d.Message, true)
			return nil
		})}},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, o.Close()) })
	require.NoError(t, o.PutService(t.Context(), appio.Service{ID: service, Name: "Avvisi", Organization: "01199250158", State: appio.Live}))
	for i := range citizens {
		require.NoError(t, o.citizen(i).SetMode(t.Context(), appio.Auto))
		o.accepted[i] = map[appio.MessageID]bool{}
	}
	return o
}

func (o *office) citizen(i int) *appio.Citizen {
	return o.Engine.Citizen(appio.Identity{Code: person(i)})
}

// send sends n messages, and notes those that were accepted. It returns the last error.
func (o *office) send(n int) error {
	ms, to := make([]appio.Message, n), make([]int, n)
	for i := range ms {
		o.numbers++
		to[i] = o.numbers % citizens
		ms[i] = message(person(to[i]), o.numbers)
	}
	results, err := o.Sender(service).SendBatch(o.t.Context(), ms)
	for i, r := range results {
		switch {
		case r.Err == nil:
			require.Equal(o.t, appio.Processed, r.Status)
			o.accepted[to[i]][r.ID] = true
		default:
			require.ErrorIs(o.t, r.Err, store.ErrFull)
			require.ErrorIs(o.t, r.Err, store.ErrAborted, "what was refused is surely not there")
			o.refused++
		}
	}
	return err
}

// check compares the inboxes with what was accepted.
func (o *office) check(when string) {
	o.t.Helper()
	for i := range citizens {
		found := map[appio.MessageID]bool{}
		for m, err := range o.citizen(i).Inbox(nil).All(o.t.Context()) {
			require.NoError(o.t, err)
			require.Contains(o.t, m.Subject, "Avviso numero ")
			found[m.ID] = true
		}
		require.True(o.t, maps.Equal(o.accepted[i], found), "%s: the inbox of citizen %d has %d messages, %d were accepted", when, i, len(found), len(o.accepted[i]))
	}
}

// back measures how long it takes until a message is accepted again.
func (o *office) back(since time.Time) {
	o.t.Helper()
	for o.send(1) != nil {
		require.Less(o.t, time.Since(since), 10*time.Second, "there is room, and messages are still refused")
		time.Sleep(time.Millisecond)
	}
	o.slowest = max(o.slowest, time.Since(since))
}

func (o *office) total() (n int) {
	for _, ids := range o.accepted {
		n += len(ids)
	}
	return n
}

func (o *office) report(cycles int) {
	o.t.Logf("%d cycles: %d messages accepted, %d refused; after there was room it took %v at most; compacted %d times", cycles, o.total(), o.refused, o.slowest, o.compacted)
	form.Figures(o.t, map[string]float64{"cycles": float64(cycles), "accepted": float64(o.total()), "refused": float64(o.refused),
		"back ms_max": float64(o.slowest.Microseconds()) / 1000, "compacted": float64(o.compacted)})
	require.LessOrEqual(o.t, o.slowest, within)
}

// TestFullDisk fills a small disk, beside ballast of which some is then taken away, and goes on.
func TestFullDisk(t *testing.T) {
	form.Watch(t, 15*time.Minute)
	const size, step = 48 << 20, 512 << 10
	dir := smallDisk(t, size)
	ballast := filepath.Join(dir, "ballast")
	left := int64(size) - 4<<20
	f, err := os.Create(ballast)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	for n := int64(0); n < left; n += 1 << 20 {
		_, err := f.Write(make([]byte, 1<<20))
		require.NoError(t, err)
	}
	o := newOffice(t, filepath.Join(dir, "io.db"), nil)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- o.Run(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-ended) })
	cycles := 0
	for more := form.Rounds(t, 0.03, 5, 2); more() && left > step; {
		for o.send(50) == nil || o.send(1) == nil { // one message may still find room
		}
		o.check(fmt.Sprint("full, cycle ", cycles))
		require.ErrorIs(t, o.Backup(ctx, &bytes.Buffer{}), store.ErrFull)
		names, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, names, 2, "nothing is left beside the file")
		left -= step
		require.NoError(t, os.Truncate(ballast, left))
		o.back(time.Now())
		o.check(fmt.Sprint("with room again, cycle ", cycles))
		cycles++
	}
	require.NoError(t, os.Truncate(ballast, 0))
	require.Eventually(t, func() bool {
		for _, ids := range o.accepted {
			for id := range ids {
				if _, ok := o.delivered.Load(id); !ok {
					return false
				}
			}
		}
		return true
	}, time.Minute, 20*time.Millisecond, "messages that were accepted are delivered in the end")
	o.report(cycles)
}

// fill sends messages that are rejected until there is no room for more, and reports whether it came to that.
func (o *office) fill(key string) bool {
	for n := range 400 {
		ms := slices.Repeat([]appio.Message{message(person(citizens+n%100), 0)}, 200)
		for i := range ms {
			ms[i].Key = fmt.Sprintf("%s-%d-%d", key, n, i)
		}
		if _, err := o.Sender(service).SendBatch(o.t.Context(), ms); err != nil {
			require.ErrorIs(o.t, err, store.ErrFull)
			return true
		}
	}
	return false
}

// TestMaxSize fills a file that may not grow with what passes its time: decisions about messages to persons who never came. When
// it has passed, the clean-up, which may delete in a full file, makes room.
func TestMaxSize(t *testing.T) {
	form.Watch(t, 15*time.Minute)
	path := filepath.Join(t.TempDir(), "io.db")
	const limit = 8 << 20
	o := newOffice(t, path, &boltstore.Options{MaxSize: limit})
	ctx := t.Context()
	cycles := 0
	for more := form.Rounds(t, 0.03, 3, 1); more(); {
		_ = o.send(16) // some may be refused, if the last cycle has left little room
		full := false
		for fill := 0; !full && fill < 40 && o.fill(fmt.Sprintf("%d-%d", cycles, fill)); fill++ { // one message may still find room
			full = o.send(1) != nil
		}
		h, err := o.Health(ctx) // before the store has collected what makes room again
		_ = o.send(50)          // into what has little room, or none
		o.check(fmt.Sprint("full, cycle ", cycles))
		require.True(t, full)
		require.NoError(t, err)
		require.ErrorIs(t, h.Err, store.ErrFull)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.LessOrEqual(t, info.Size(), int64(limit))
		o.after.Add(int64(91 * 24 * time.Hour))
		// What is deleted is room once the store has collected it, a moment later. Where it cannot, for want of room for that too,
		// the operator compacts: that needs a second file, which is not part of the limit.
		for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			_, err := o.Flush(ctx)
			if err == nil {
				break
			}
			require.ErrorIs(t, err, store.ErrFull)
			if time.Since(began) > 2*time.Second {
				require.NoError(t, o.Compact(ctx))
				o.compacted++
				began = time.Now()
			}
			require.Less(t, o.compacted, 3*(cycles+1), "compacted, and there is no room")
		}
		o.back(time.Now())
		o.check(fmt.Sprint("with room again, cycle ", cycles))
		cycles++
	}
	o.report(cycles)
}

func TestPlantedBugs(t *testing.T) {
	planted.Run(t, os.Args[0], planted.Bug{
		Name: "a store without room says that it took the change", Env: envLie + "=yes", Test: "TestMaxSize", Says: "were accepted", Rounds: 1,
	})
}
