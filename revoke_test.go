package appio_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// A crowd is citizens who change their minds about one service while it writes to them, on one or two engines, and what
// happened to each. The long form of this test, with a model and engines that stand still, is in itest/revocation.
type crowd struct {
	engines []*appio.Engine
	people  []*changeable
	at      atomic.Int64 // the one order of all that was seen
}

// A changeable is one citizen of a crowd.
type changeable struct {
	code   fiscalcode.Person
	mu     sync.Mutex
	minds  []*mindChange
	visits []*visit
}

// A mindChange is one call of SetPreference.
type mindChange struct {
	allow      bool
	begin, end int64
	named      []appio.DeliveryID // by its InFlightError
	from       *visit             // it was made from inside this one
}

// A visit is one call of a channel; its end is after everything else while it lasts.
type visit struct {
	id         appio.DeliveryID
	begin, end int64
}

// wrong reports what must not be: a visit that begins after a refusal returned, or lasts when one returns, with no choice since
// then that allows it, if the refusal did not name it and was not made from inside it.
func (c *changeable) wrong() (found []string) {
	for _, v := range c.visits {
		for _, no := range c.minds {
			if no.allow || no.end > v.end || no.from == v || slices.Contains(no.named, v.id) {
				continue
			}
			seen := max(v.begin, no.end)
			allowed := slices.ContainsFunc(c.minds, func(yes *mindChange) bool {
				return yes.allow && yes.end > no.begin && yes.begin < seen
			})
			if !allowed {
				found = append(found, fmt.Sprintf("delivery %.8s from %d to %d, refused from %d to %d", v.id, v.begin, v.end, no.begin, no.end))
			}
		}
	}
	return found
}

const notYet = int64(1) << 62

func newCrowd(t *testing.T, engines, people int) *crowd {
	c := &crowd{}
	s, keys := memstore.New(), appio.RandomKeys()
	for i := range people {
		c.people = append(c.people, &changeable{code: fiscalcode.Person(fmt.Sprintf("RSSMRA85M10H%03dS", i))})
	}
	for i := range engines {
		o := &appio.Options{
			Keys: keys, Lease: 2 * time.Second, DeliverTimeout: time.Second, Margin: 200 * time.Millisecond,
			MaxSkew: 600 * time.Millisecond, RevokeWait: 50 * time.Millisecond,
			Now:     func() time.Time { return time.Now().Add(time.Duration(i) * 500 * time.Millisecond) },
			Backoff: func(int) time.Duration { return time.Millisecond },
		}
		for _, name := range []string{"fast", "inside", "deaf"} {
			o.Channels = append(o.Channels, appio.Route{Name: name, Default: appio.Full, ByCode: true, Channel: c.channel(i, name)})
		}
		e, err := appio.New(s, o)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, e.Close()) })
		c.engines = append(c.engines, e)
	}
	require.NoError(t, c.engines[0].PutService(t.Context(), appio.Service{ID: "tari", Name: "Tassa rifiuti", Organization: "01199250158", State: appio.Live}))
	for _, p := range c.people {
		require.NoError(t, c.engines[0].Citizen(appio.Identity{Code: p.code}).SetMode(t.Context(), appio.Auto))
	}
	return c
}

// channel is fast, or revokes at times from inside with the context it was given, or sleeps at times whatever that says.
func (c *crowd) channel(engine int, name string) appio.Channel {
	return appio.ChannelFunc(func(ctx context.Context, d appio.Delivery) error {
		var n int
		fmt.Sscanf(strings.TrimPrefix(string(d.To), "RSSMRA85M10H"), "%d", &n)
		p := c.people[n]
		v := &visit{id: d.ID, end: notYet}
		p.mu.Lock()
		v.begin = c.at.Add(1)
		p.visits = append(p.visits, v)
		p.mu.Unlock()
		defer func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			v.end = c.at.Add(1)
		}()
		switch r := rand.IntN(100); {
		case name == "inside" && r < 3:
			return c.choose(ctx, engine, p, false, v)
		case name == "deaf" && r < 3:
			time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		case r < 50:
			time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond)
		}
		return nil
	})
}

// choose changes a citizen's mind and keeps what came of it.
func (c *crowd) choose(ctx context.Context, engine int, p *changeable, allow bool, from *visit) error {
	m := &mindChange{allow: allow, from: from, begin: c.at.Add(1)}
	err := c.engines[engine].Citizen(appio.Identity{Code: p.code}).SetPreference(ctx, "tari",
		appio.Preference{Inbox: allow, Channels: appio.On("fast", "inside", "deaf")})
	m.end = c.at.Add(1)
	var left *appio.InFlightError
	if errors.As(err, &left) && len(left.Deliveries) > 0 {
		m.named, err = left.Deliveries, nil
	}
	switch {
	case err == nil:
	case allow: // perhaps it was done
		m.end = notYet
	default: // perhaps it was not
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.minds = append(p.minds, m)
	return err
}

func TestRevocationIsFinal(t *testing.T) {
	t.Parallel()
	for engines, name := range []string{1: "one engine", 2: "two engines on one store, their clocks apart"} {
		if name == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t, engines, 40)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var running, working sync.WaitGroup
			for _, e := range c.engines {
				running.Go(func() { _ = e.Run(ctx) })
			}
			stop := time.Now().Add(800 * time.Millisecond)
			for range 4 {
				working.Go(func() {
					for time.Now().Before(stop) {
						ms := make([]appio.Message, 16)
						for i := range ms {
							ms[i] = benchMessage(c.people[rand.IntN(len(c.people))].code)
						}
						_, _ = c.engines[rand.IntN(engines)].Sender("tari").SendBatch(ctx, ms)
						time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
					}
				})
			}
			for range 8 {
				working.Go(func() {
					for time.Now().Before(stop) {
						p := c.people[rand.IntN(len(c.people))]
						_ = c.choose(ctx, rand.IntN(engines), p, false, nil)
						time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
						_ = c.choose(ctx, rand.IntN(engines), p, true, nil)
					}
				})
			}
			working.Wait()
			cancel()
			running.Wait()
			visits, refusals := 0, 0
			for _, p := range c.people {
				p.mu.Lock()
				visits += len(p.visits)
				refusals += len(p.minds) / 2
				require.Empty(t, p.wrong())
				p.mu.Unlock()
			}
			t.Logf("%d deliveries, %d refusals", visits, refusals)
			require.Greater(t, visits, 20)
			require.Positive(t, refusals)
		})
	}
}

// The checker itself: what it must find, and what it must not.
func TestRevocationChecker(t *testing.T) {
	t.Parallel()
	no := func(begin, end int64) *mindChange { return &mindChange{begin: begin, end: end} }
	yes := func(begin, end int64) *mindChange { return &mindChange{allow: true, begin: begin, end: end} }
	sent := &visit{"a", 10, 20}
	named, inside := no(11, 12), no(11, 12)
	named.named, inside.from = []appio.DeliveryID{"a"}, sent
	for name, test := range map[string]struct {
		minds []*mindChange
		wrong int
	}{
		"before a refusal":             {[]*mindChange{no(21, 22)}, 0},
		"while one is under way":       {[]*mindChange{no(5, 25)}, 0},
		"begun after one returned":     {[]*mindChange{no(5, 6)}, 1},
		"under way as one returns":     {[]*mindChange{no(5, 15)}, 1},
		"named by it":                  {[]*mindChange{named}, 0},
		"named by it, and a second":    {[]*mindChange{named, no(13, 14)}, 1},
		"around it":                    {[]*mindChange{inside}, 0},
		"after a later choice":         {[]*mindChange{no(5, 6), yes(7, 8)}, 0},
		"while that one is under way":  {[]*mindChange{no(5, 6), yes(7, notYet)}, 0},
		"before a later choice begins": {[]*mindChange{no(5, 6), yes(11, 12)}, 1},
		"after an earlier choice":      {[]*mindChange{yes(1, 2), no(5, 6)}, 1},
	} {
		require.Len(t, (&changeable{minds: test.minds, visits: []*visit{sent}}).wrong(), test.wrong, name)
	}
}

// twoEngines are two engines on one store, with one citizen, of which the first delivers.
func twoEngines(t *testing.T, s store.Store, lease time.Duration, now [2]func() time.Time, deliver appio.ChannelFunc) (first, second *appio.Engine, m appio.Message) {
	keys := appio.RandomKeys()
	engine := func(s store.Store, now func() time.Time) *appio.Engine {
		e, err := appio.New(s, &appio.Options{
			Keys: keys, Now: now, Lease: lease, DeliverTimeout: lease / 3, Margin: lease / 6,
			MaxSkew: 20 * time.Millisecond, RevokeWait: 30 * time.Millisecond,
			Channels: []appio.Route{{Name: "letter", Default: appio.Full, ByCode: true, Channel: deliver}},
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, e.Close()) })
		return e
	}
	base := s
	if h, ok := s.(*holdingStore); ok {
		base = h.Store
	}
	second = engine(base, now[1])
	first = engine(s, now[0])
	require.NoError(t, second.PutService(t.Context(), appio.Service{ID: "tari", Name: "Tassa rifiuti", Organization: "01199250158", State: appio.Live}))
	require.NoError(t, revoker(second).SetMode(t.Context(), appio.Auto))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = first.Run(ctx) })
	t.Cleanup(running.Wait)
	t.Cleanup(cancel)
	return first, second, benchMessage("RSSMRA85M10H501S")
}

// A revocation that names what another engine is sending is often followed by the same, or by another one. That must not seem to
// be done while the delivery is under way.
func TestASecondRevocationNamesTheSame(t *testing.T) {
	t.Parallel()
	citizen := func(f func(ctx context.Context, c *appio.Citizen) error) func(context.Context, *appio.Engine) error {
		return func(ctx context.Context, e *appio.Engine) error { return f(ctx, revoker(e)) }
	}
	revocations := map[string]func(context.Context, *appio.Engine) error{
		"preference": citizen(func(ctx context.Context, c *appio.Citizen) error {
			return c.SetPreference(ctx, "tari", appio.Preference{})
		}),
		"master switch": citizen(func(ctx context.Context, c *appio.Citizen) error {
			return c.UpdateProfile(ctx, func(p *appio.Profile) error {
				p.Channels = nil
				return nil
			})
		}),
		"stop of the service": func(ctx context.Context, e *appio.Engine) error {
			return e.PutService(ctx, appio.Service{ID: "tari", Name: "Tassa rifiuti", Organization: "01199250158", State: appio.Stopped})
		},
		"erasure": citizen(func(ctx context.Context, c *appio.Citizen) error { return c.Erase(ctx) }),
	}
	// try has one engine deliver, and revoke on the other, which is given the store that it is on.
	try := func(t *testing.T, revoke func(first, second *appio.Engine, s *hookedStore, id appio.DeliveryID), again func(context.Context, *appio.Engine) error) {
		begun, release := make(chan appio.DeliveryID, 1), make(chan struct{})
		var ahead atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		const lease = 10 * time.Second // so that no delivery is given up meanwhile
		s := newHookedStore()
		first, second, m := twoEngines(t, s, lease, [2]func() time.Time{now, now}, func(_ context.Context, d appio.Delivery) error {
			begun <- d.ID
			<-release
			return nil
		})
		open := sync.OnceFunc(func() { close(release) })
		defer open()
		ahead.Store(int64(2 * lease)) // what the citizen chose before is older than any lease
		_, err := first.Sender("tari").Send(t.Context(), m)
		require.NoError(t, err)
		revoke(first, second, s, <-begun)
		open()
		require.Eventually(t, func() bool { return again(t.Context(), second) == nil }, 5*time.Second, time.Millisecond)
	}
	for one, revokeFirst := range revocations {
		for other, revokeThen := range revocations {
			if one == "erasure" && other != "stop of the service" { // nothing of the citizen can be changed after that
				continue
			}
			t.Run(one+", then "+other, func(t *testing.T) {
				t.Parallel()
				try(t, func(_, second *appio.Engine, _ *hookedStore, id appio.DeliveryID) {
					for _, revoke := range []func(context.Context, *appio.Engine) error{revokeFirst, revokeThen} {
						requireNames(t, revoke(t.Context(), second), id)
					}
				}, revokeThen)
			})
			if one == "erasure" || one == other {
				continue
			}
			t.Run(one+", and before it looks "+other, func(t *testing.T) {
				t.Parallel()
				try(t, func(first, second *appio.Engine, s *hookedStore, id appio.DeliveryID) {
					var crossed atomic.Bool
					s.onCommit(func(ctx context.Context, changes []store.Change, next commitFunc) (errs []error, err error) {
						errs, err = next(ctx, changes)
						if crossed.CompareAndSwap(false, true) {
							requireNames(t, revokeThen(ctx, first), id)
						}
						return errs, err
					})
					requireNames(t, revokeFirst(t.Context(), second), id)
				}, revokeThen)
			})
		}
	}
}

// requireNames is for a revocation that could not wait until a delivery was over.
func requireNames(t *testing.T, err error, id appio.DeliveryID) {
	t.Helper()
	var left *appio.InFlightError
	require.ErrorAs(t, err, &left)
	require.Equal(t, []appio.DeliveryID{id}, left.Deliveries)
}

// Who wants no reminders any more is told of one that another engine is sending.
func TestARevokedReminderOfAnotherEngine(t *testing.T) {
	t.Parallel()
	begun, release := make(chan appio.DeliveryID, 1), make(chan struct{})
	var once sync.Once
	open := func() { once.Do(func() { close(release) }) }
	deliver := appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
		if d.Reminder != "" {
			begun <- d.ID
			<-release
		}
		return nil
	})
	s, keys := memstore.New(), appio.RandomKeys()
	engine := func() *appio.Engine {
		e, err := appio.New(s, &appio.Options{
			Keys: keys, Lease: 2 * time.Second, DeliverTimeout: time.Second, Margin: 50 * time.Millisecond,
			MaxSkew: 20 * time.Millisecond, RevokeWait: 30 * time.Millisecond,
			Reminders: &appio.ReminderSchedule{Unread: []time.Duration{time.Millisecond}, ToHour: 24},
			Channels:  []appio.Route{{Name: "letter", Default: appio.Full, ByCode: true, Channel: deliver, Reminders: true}},
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, e.Close()) })
		return e
	}
	first, second, ctx := engine(), engine(), t.Context()
	defer open()
	require.NoError(t, second.PutService(ctx, appio.Service{ID: "tari", Name: "Tassa rifiuti", Organization: "01199250158", State: appio.Live}))
	want := func(r appio.Reminders) error {
		return revoker(second).UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Reminders = r
			return nil
		})
	}
	require.NoError(t, revoker(second).SetMode(ctx, appio.Auto))
	require.NoError(t, want(appio.Reminders{Unread: true, Deadline: true}))
	r, err := first.Sender("tari").Send(ctx, benchMessage("RSSMRA85M10H501S"))
	require.NoError(t, err)
	require.Equal(t, appio.Processed, r.Status)
	time.Sleep(2 * time.Millisecond)
	var running sync.WaitGroup
	running.Go(func() { _, _ = first.Flush(ctx) })
	defer running.Wait()
	defer open()
	id := <-begun
	require.NoError(t, want(appio.Reminders{Unread: true}), "it is another kind")
	for range 2 {
		var left *appio.InFlightError
		require.ErrorAs(t, want(appio.Reminders{}), &left)
		require.Equal(t, []appio.DeliveryID{id}, left.Deliveries)
	}
	open()
	require.Eventually(t, func() bool { return want(appio.Reminders{}) == nil }, 5*time.Second, time.Millisecond)
}

// revoker is the citizen of twoEngines.
func revoker(e *appio.Engine) *appio.Citizen {
	return e.Citizen(appio.Identity{Code: "RSSMRA85M10H501S", Level: appio.L2})
}

// A holdingStore says when consent has been read for a delivery.
type holdingStore struct {
	store.Store
	read func()
}

func (h *holdingStore) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	snaps, err := h.Store.View(ctx, reads)
	if slices.ContainsFunc(reads[0].Keys, func(k store.Key) bool { return strings.HasPrefix(string(k), "m/") }) {
		h.read()
	}
	return snaps, err
}

// An engine may stand still at any look at its clock. What it saw before is then too old to send by.
func TestAnEngineThatStoodStillSendsNothing(t *testing.T) {
	t.Parallel()
	for look := range 3 { // after the one at consent
		t.Run(fmt.Sprintf("for longer than its lease, at look %d", look+1), func(t *testing.T) {
			t.Parallel()
			var armed atomic.Bool
			var looks atomic.Int64
			held, revoked := make(chan struct{}), make(chan struct{})
			s := &holdingStore{memstore.New(), func() { armed.CompareAndSwap(false, true) }}
			now := func() time.Time {
				at := time.Now()
				if armed.Load() && looks.Add(1) == int64(look+1) {
					close(held)
					<-revoked
				}
				return at
			}
			var late atomic.Bool
			first, second, m := twoEngines(t, s, 300*time.Millisecond, [2]func() time.Time{now}, func(context.Context, appio.Delivery) error {
				select {
				case <-revoked:
					late.Store(true)
				default:
				}
				return nil
			})
			_, err := first.Sender("tari").Send(t.Context(), m)
			require.NoError(t, err)
			select {
			case <-held:
			case <-time.After(time.Second): // it never looks so often
				close(revoked)
				return
			}
			time.Sleep(350 * time.Millisecond) // the lease and the skew are over
			require.NoError(t, revoker(second).SetPreference(t.Context(), "tari", appio.Preference{}))
			close(revoked)
			_, err = second.Flush(t.Context()) // nothing is left
			require.NoError(t, err)
			time.Sleep(20 * time.Millisecond)
			require.False(t, late.Load(), "a delivery began after the revocation had returned")
		})
	}
}
