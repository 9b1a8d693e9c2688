package appio_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

func TestStatistics(t *testing.T) {
	t.Parallel()
	clock := newHandClock("2026-04-10 08:00")
	w := newTown(t, func(o *appio.Options) { o.Now, o.Payments, o.Statistics = clock.now, &gateway{}, true })
	ctx, first := t.Context(), clock.now()
	s := w.put()
	anna := w.enrol(giuseppe, appio.Auto)
	notice := pagopa.RPTID{Creditor: comune, Notice: "301000000000000123"}
	paying := func(m *appio.Message) { m.Payment = &appio.Notice{Number: notice.Notice, Amount: 1} }
	read, err := s.Send(ctx, messageTo(giuseppe, paying))
	require.NoError(t, err)
	w.send(s, messageTo(giuseppe))
	w.send(s, messageTo(giuseppe, withKey("k")))
	_, err = s.Send(ctx, messageTo(giuseppe, withKey("k")))
	require.NoError(t, err)
	refused, err := s.Send(ctx, messageTo(matteo))
	require.NoError(t, err)
	require.Equal(t, appio.Rejected, refused.Status)
	w.flush()
	today := func() appio.Day {
		t.Helper()
		days, err := w.Statistics(ctx, mensa, clock.now(), clock.now())
		require.NoError(t, err)
		require.Len(t, days, 1)
		return days[0]
	}
	want := appio.Day{
		Day: first.Truncate(24 * time.Hour), Accepted: 4, Processed: 3, Rejected: 1, Delivered: map[string]int{appio.Email: 3, appio.Push: 3},
	}
	require.Equal(t, want, today())
	require.NoError(t, anna.MarkRead(ctx, read.ID))
	require.NoError(t, anna.MarkRead(ctx, read.ID), "a second time is none")
	for range 2 {
		require.NoError(t, w.Settle(ctx, appio.PaymentEvent{RPTID: notice, State: appio.Paid, At: clock.now(), ID: "e"}))
		w.flush()
	}
	want.Read, want.Paid = 1, 1
	require.Equal(t, want, today())

	// An hour after its end a day is counted for good. It is not counted before, nor are the days beside it.
	clock.set(at("2026-04-11 02:59"))
	w.flush()
	days, err := w.Statistics(ctx, mensa, first, first)
	require.NoError(t, err)
	require.Equal(t, []appio.Day{want}, days)
	days, err = s.Statistics(ctx, first, first)
	require.NoError(t, err)
	require.Empty(t, days)
	clock.set(at("2026-04-11 03:00"))
	w.flush()
	days, err = w.Statistics(ctx, mensa, first.AddDate(0, 0, -20), first.AddDate(0, 0, 20))
	require.NoError(t, err)
	want.Final = true
	require.Equal(t, []appio.Day{want}, days)

	// What comes later is of its own day, and all that was there for the count goes at its time.
	w.send(s, messageTo(giuseppe))
	require.Equal(t, appio.Day{Day: want.Day.AddDate(0, 0, 1), Accepted: 1, Processed: 1, Delivered: map[string]int{}}, today())
	clock.set(first.AddDate(0, 0, 100))
	w.flush()
	seen, err := w.Check(ctx, func(f appio.Finding) { t.Error(f) })
	require.NoError(t, err)
	require.Zero(t, seen.Records["mark for statistics"])
	require.EqualValues(t, 4, seen.Records["decision"], "that of what was rejected has gone")
	days, err = w.Statistics(ctx, mensa, first, first)
	require.NoError(t, err)
	require.Equal(t, []appio.Day{want}, days)
	days, err = w.Statistics(ctx, "another", first, first)
	require.NoError(t, err)
	require.Empty(t, days)
	for _, to := range []time.Time{first.AddDate(0, 0, -1), first.AddDate(0, 0, 400)} {
		_, err = w.Statistics(ctx, mensa, first, to)
		require.ErrorIs(t, err, appio.ErrInvalid)
	}
}

// A pausedCount is a store of which the first reading of a day's records waits.
type pausedCount struct {
	store.Store
	once     sync.Once
	at, goOn chan struct{}
}

func (p *pausedCount) Due(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
	if q.After.Due.Year() > 2000 {
		p.once.Do(func() { close(p.at); <-p.goOn })
	}
	return p.Store.Due(ctx, q)
}

// An engine that counts a day so slowly that another closes it meanwhile, and what it was counted from goes, does not count less.
func TestStatisticsOfASlowEngine(t *testing.T) {
	t.Parallel()
	clock := newHandClock("2026-04-10 08:00")
	counts := func(o *appio.Options) { o.Now, o.Statistics = clock.now, true }
	a := newTown(t, counts)
	paused := &pausedCount{Store: a.store, at: make(chan struct{}), goOn: make(chan struct{})}
	b := newTownOn(t, paused, counts)
	s, ctx, first := a.put(), t.Context(), clock.now()
	read := a.send(s, messageTo(a.enrolled(giuseppe)))
	require.NoError(t, a.person(giuseppe).MarkRead(ctx, read))
	clock.set(first.AddDate(0, 0, 4)) // and nobody ran
	flushed := make(chan error)
	go func() {
		_, err := b.Flush(ctx)
		flushed <- err
	}()
	<-paused.at
	a.flush()
	a.flush() // the marks go
	close(paused.goOn)
	require.NoError(t, <-flushed)
	days, err := a.Statistics(ctx, mensa, first, first)
	require.NoError(t, err)
	require.Len(t, days, 1)
	require.True(t, days[0].Final)
	require.Equal(t, 1, days[0].Read)
}

// What a sender is told of citizens does not tell of few of them, nor does it tell more when it is asked again, or of several days.
func TestSenderStatistics(t *testing.T) {
	t.Parallel()
	clock := newHandClock("2026-04-10 08:00")
	w := newTown(t, func(o *appio.Options) { o.Now, o.Statistics = clock.now, true })
	ctx, first := t.Context(), clock.now()
	s := w.put()
	var people []*appio.Citizen
	for i := range 25 {
		people = append(people, w.enrol(personNumber(i), appio.Auto))
	}
	const days = 14
	reads := func(day int) int { return []int{3, 9, 10, 14, 19, 20, 25}[day%7] }
	for day := range days {
		for i, c := range people {
			r, err := s.Send(ctx, messageTo(personNumber(i)))
			require.NoError(t, err)
			if i < reads(day) {
				require.NoError(t, c.MarkRead(ctx, r.ID))
			}
		}
		w.flush()
		clock.set(clock.now().AddDate(0, 0, 1))
	}
	w.flush()
	exact, err := w.Statistics(ctx, mensa, first, clock.now())
	require.NoError(t, err)
	told, err := s.Statistics(ctx, first, clock.now())
	require.NoError(t, err)
	require.Len(t, exact, days)
	require.Len(t, told, days)
	shown := map[int]map[int]bool{}
	for i := range told {
		require.Equal(t, reads(i), exact[i].Read)
		require.Equal(t, 25, told[i].Accepted)
		require.Equal(t, map[string]int{appio.Push: 25, appio.Email: 25}, exact[i].Delivered)
		for _, figure := range [][2]int{{exact[i].Read, told[i].Read}, {25, told[i].Delivered[appio.Push]}, {25, told[i].Delivered[appio.Email]}} {
			is, says := figure[0], figure[1]
			require.Zero(t, says%appio.SmallNumber)
			require.LessOrEqual(t, says, is)
			require.Less(t, is-says, 2*appio.SmallNumber)
			if is < appio.SmallNumber {
				require.Zero(t, says)
			}
			if shown[is] == nil {
				shown[is] = map[int]bool{}
			}
			shown[is][says] = true
		}
	}
	require.Len(t, shown[25], 2, "where the tens begin is another for each figure")
	again, err := s.Statistics(ctx, first, clock.now())
	require.NoError(t, err)
	require.Equal(t, told, again)

	key, err := w.NewKey(ctx, mensa, appio.Primary)
	require.NoError(t, err)
	byKey, err := w.SenderByKey(ctx, key, netip.Addr{})
	require.NoError(t, err)
	_, err = byKey.Statistics(ctx, first, first)
	require.NoError(t, err)
	_, err = w.NewKey(ctx, mensa, appio.Primary)
	require.NoError(t, err)
	_, err = byKey.Statistics(ctx, first, first)
	require.ErrorIs(t, err, appio.ErrUnauthorized)
	_, err = newTown(t).put().Statistics(ctx, first, first)
	require.ErrorIs(t, err, appio.ErrUnsupported)
	_, err = w.Sender("another").Statistics(ctx, first, first)
	require.ErrorIs(t, err, appio.ErrNotFound)
}

// TestSmallNumbersAreNotTold is a sender who wants to know whether one more citizen has got or read something: by a figure that is small,
// by one that is just about a ten, by the differences of days, ranges, figures and services, and by asking again.
func TestSmallNumbersAreNotTold(t *testing.T) {
	t.Parallel()
	clock := newHandClock("2026-04-10 08:00")
	w := newTown(t, func(o *appio.Options) { o.Now, o.Statistics = clock.now, true })
	ctx, first := t.Context(), clock.now()
	senders := map[appio.ServiceID]*appio.Sender{mensa: w.put(), "altro": w.put(called("altro"))}
	var people []*appio.Citizen
	for i := range 15 {
		people = append(people, w.enrol(personNumber(i), appio.Auto))
	}
	const days = 60 // so many that what chance has the same on all of them is no chance
	reads := func(day int) int { return []int{1, 9, 10, 15}[day%4] }
	for day := range days {
		for _, s := range senders {
			for i, c := range people {
				r, err := s.Send(ctx, messageTo(personNumber(i)))
				require.NoError(t, err)
				if i < reads(day) {
					require.NoError(t, c.MarkRead(ctx, r.ID))
				}
			}
		}
		w.flush()
		clock.set(clock.now().AddDate(0, 0, 1))
	}
	_, err := senders[mensa].Send(ctx, messageTo(personNumber(0))) // today
	require.NoError(t, err)
	w.flush()
	ask := func(s *appio.Sender, from, to time.Time) []appio.Day {
		t.Helper()
		told, err := s.Statistics(ctx, from, to)
		require.NoError(t, err)
		return told
	}
	begins := map[string]map[int]bool{} // what was told of fifteen, by service and figure: where the ten begins
	together := 0                       // days on which both services' figures say the same of fifteen
	of := map[appio.ServiceID][]appio.Day{}
	for id, s := range senders {
		of[id] = ask(s, first, clock.now())
		require.Len(t, of[id], days, "a day that is not over is not told")
		for i, d := range of[id] {
			if reads(i) < appio.SmallNumber {
				require.Zero(t, d.Read, "fewer than ten are told")
			}
			for channel := range map[string]bool{appio.Email: true, appio.Push: true} {
				of := string(id) + " " + channel
				if begins[of] == nil {
					begins[of] = map[int]bool{}
				}
				begins[of][d.Delivered[channel]] = true
			}
		}
		// What one day is, by itself, by a range that ends with it, and by the difference of two ranges.
		for i := range days {
			day := first.AddDate(0, 0, i)
			require.Equal(t, of[id][i:i+1], ask(s, day, day), "asked again it is the same")
			require.Equal(t, of[id][:i+1], ask(s, first, day), "asked again it is the same")
		}
	}
	for figure, told := range begins {
		require.Equal(t, map[int]bool{0: true, 10: true}, told, "where the ten begins is another each day: %s", figure)
	}
	for i := range days {
		if of[mensa][i].Delivered[appio.Push] == of["altro"][i].Delivered[appio.Push] {
			together++
		}
	}
	require.Less(t, together, days, "it is another for each service")
}

// A counter is the figures by day and service, as somebody counts them who hears each answer.
type counter map[time.Time]map[appio.ServiceID]*appio.Day

func (c counter) of(now time.Time, id appio.ServiceID) *appio.Day {
	day := now.UTC().Truncate(24 * time.Hour)
	if c[day] == nil {
		c[day] = map[appio.ServiceID]*appio.Day{}
	}
	if c[day][id] == nil {
		c[day][id] = &appio.Day{Day: day, Delivered: map[string]int{}, Final: true}
	}
	return c[day][id]
}

// TestStatisticsAgreeWithARecount lets a service's life go on for some days with an engine that dies at one commit after another, before it
// is made or after. The figures are what can be counted of the answers, and of the outcomes that each citizen finds.
func TestStatisticsAgreeWithARecount(t *testing.T) {
	t.Parallel()
	dieAtRandom(t, 5, statisticsRun)
}

type sentMessage struct {
	to      fiscalcode.Person
	id      appio.MessageID
	service appio.ServiceID
	read    bool
	notice  pagopa.RPTID
}

func statisticsRun(t *testing.T, seed uint64) int {
	ctx, r := t.Context(), rand.New(rand.NewPCG(seed, 1))
	disk, clock := memstore.New(), newHandClock("2026-04-10 08:00")
	var mu sync.Mutex
	fails := false
	settingUp := true
	next := func() *mortal {
		m := &mortal{Store: disk, left: 1 << 30}
		if !settingUp {
			m.left = 1 + r.IntN(15)
		}
		m.made = r.IntN(2) == 0
		return m
	}
	e := newLives(t, fmt.Sprintf("seed %d", seed), next, func(mine *mortal) *appio.Options {
		deliver := appio.ChannelFunc(func(context.Context, appio.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case mine.dead():
				return errors.New("nobody hears")
			case fails:
				return appio.Permanent(errors.New("refused"))
			}
			return nil
		})
		return &appio.Options{
			Keys: townKeys, Now: clock.now, Payments: &gateway{}, Statistics: true, Channels: []appio.Route{
				{Name: appio.Push, Channel: deliver, ByCode: true, Default: appio.Full, Workers: 1},
				{Name: appio.Email, Channel: deliver, ByCode: true, Default: appio.Full, Workers: 1},
			},
		}
	})
	services := []appio.ServiceID{"mensa", "tari"}
	for _, id := range services {
		e.do(func() error { return e.PutService(ctx, newService(func(s *appio.Service) { s.ID = id })) })
	}
	for i := range 3 {
		e.do(func() error { return e.Citizen(appio.Identity{Code: personNumber(i)}).SetMode(ctx, appio.Auto) })
	}
	_ = e.Close()
	settingUp = false
	e.begin()
	want := counter{}
	var sent []*sentMessage
	paid := map[pagopa.RPTID]bool{}
	for n := range 60 {
		now := clock.now()
		switch k := r.IntN(20); {
		case k < 10:
			p := &sentMessage{to: personNumber(r.IntN(5)), service: services[r.IntN(2)]}
			if r.IntN(3) == 0 {
				p.notice = pagopa.RPTID{Creditor: comune, Notice: pagopa.NoticeNumber(fmt.Sprintf("3010000000000%05d", n))}
			}
			if r.IntN(8) == 0 {
				p.to = fiscalcode.Sandbox
			}
			var res appio.Result
			e.do(func() (err error) {
				res, err = e.Sender(p.service).Send(ctx, messageTo(p.to, withKey(fmt.Sprint(n)), func(m *appio.Message) {
					if p.notice.Valid() {
						m.Payment = &appio.Notice{Number: p.notice.Notice, Amount: 1}
					}
				}))
				return err
			})
			switch p.id = res.ID; {
			case p.to == fiscalcode.Sandbox:
			case res.Status == appio.Processed:
				want.of(now, p.service).Processed++
				want.of(now, p.service).Accepted++
				sent = append(sent, p)
			default:
				want.of(now, p.service).Rejected++
				want.of(now, p.service).Accepted++
			}
		case k < 13 && len(sent) > 0:
			p := sent[r.IntN(len(sent))]
			e.do(func() error { return e.Citizen(appio.Identity{Code: p.to}).MarkRead(ctx, p.id) })
			if !p.read {
				want.of(now, p.service).Read++
				p.read = true
			}
		case k < 15 && len(sent) > 0:
			p := sent[r.IntN(len(sent))]
			if !p.notice.Valid() {
				continue
			}
			e.do(func() error {
				return e.Settle(ctx, appio.PaymentEvent{RPTID: p.notice, State: appio.Paid, At: clock.now(), ID: "e"})
			})
			e.flush() // it is counted as the citizen hears of it
			if !paid[p.notice] {
				want.of(now, p.service).Paid++
				paid[p.notice] = true
			}
		case k < 16:
			mu.Lock()
			fails = !fails
			mu.Unlock()
		case k < 17:
			e.do(func() error { return e.Replay(ctx) })
			e.flush()
		case k < 19:
			e.flush()
		default:
			clock.set(now.Add(time.Duration(1+r.IntN(20)) * time.Hour))
		}
	}
	fails = false
	clock.set(clock.now().AddDate(0, 0, 4)) // marks are past their time as the engine comes back
	e.flush()
	clock.set(clock.now().AddDate(0, 0, 4)) // and so are those of the last deliveries
	e.flush()
	_ = e.Close()
	last, err := appio.New(disk, &appio.Options{Keys: townKeys, Now: clock.now, Statistics: true})
	require.NoError(t, err)
	start := at("2026-04-10 08:00")
	delivered := map[appio.ServiceID]map[string]int{}
	for _, p := range sent {
		d, err := last.Citizen(appio.Identity{Code: p.to}).Explain(ctx, p.id)
		require.NoError(t, err)
		for _, o := range d.Outcomes {
			if o.Result == appio.OutcomeDelivered {
				if delivered[p.service] == nil {
					delivered[p.service] = map[string]int{}
				}
				delivered[p.service][o.Channel]++
			}
		}
	}
	for _, id := range services {
		days, err := last.Statistics(ctx, id, start, clock.now())
		require.NoError(t, err)
		got, sum := map[time.Time]appio.Day{}, map[string]int{}
		for _, d := range days {
			if !d.Final {
				continue
			}
			for channel, n := range d.Delivered {
				sum[channel] += n
			}
			if d.Delivered = map[string]int{}; d.Accepted+d.Read+d.Paid > 0 {
				got[d.Day] = d
			}
		}
		expected := map[time.Time]appio.Day{}
		for day, of := range want {
			if of[id] != nil {
				expected[day] = *of[id]
			}
		}
		require.Equal(t, expected, got, "seed %d: %s", seed, id)
		of := delivered[id]
		if of == nil {
			of = map[string]int{}
		}
		require.Equal(t, of, sum, "seed %d: %s, deliveries of all days", seed, id)
	}
	_, err = last.Check(ctx, func(f appio.Finding) { t.Errorf("seed %d: %v", seed, f) })
	require.NoError(t, err)
	require.NoError(t, last.Close())
	return e.crashes
}

// Deliveries count on the day on which the message's are over, those that come after that on their own.
func TestStatisticsOfDeliveries(t *testing.T) {
	t.Parallel()
	clock := newHandClock("2026-04-10 08:00")
	w := newTown(t, func(o *appio.Options) { o.Now, o.Statistics = clock.now, true })
	ctx, first := t.Context(), clock.now()
	s := w.put()
	w.enrol(giuseppe, appio.Auto)
	refuse := errors.New("550 refused")
	w.email.answers(func(context.Context, appio.Delivery) error { return appio.Permanent(refuse) })
	w.send(s, messageTo(giuseppe))
	w.flush()
	clock.set(first.AddDate(0, 0, 1))
	w.flush()
	w.email.answers(nil)
	require.NoError(t, w.Replay(ctx))
	w.flush()
	clock.set(first.AddDate(0, 0, 3))
	w.flush()
	days, err := w.Statistics(ctx, mensa, first, clock.now())
	require.NoError(t, err)
	require.Len(t, days, 2)
	require.Equal(t, map[string]int{appio.Push: 1}, days[0].Delivered)
	require.Equal(t, map[string]int{appio.Email: 1}, days[1].Delivered)
	require.Zero(t, days[1].Accepted)
}

// A day is counted again after a crash, to the same.
func TestADayIsCountedAgain(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		clock := newHandClock("2026-04-10 08:00")
		disk := memstore.New()
		e, err := appio.New(disk, &appio.Options{Keys: townKeys, Now: clock.now, Statistics: true})
		require.NoError(t, err)
		require.NoError(t, e.PutService(t.Context(), newService()))
		for i := range 20 {
			_, err := e.Sender(mensa).Send(t.Context(), messageTo(personNumber(i)))
			require.NoError(t, err)
		}
		require.NoError(t, e.Close())
		clock.set(clock.now().AddDate(0, 0, 1))
		m := &mortal{Store: disk, left: n, made: true}
		e, err = appio.New(m, &appio.Options{Keys: townKeys, Now: clock.now, Statistics: true})
		require.NoError(t, err)
		_, failed := e.Flush(t.Context())
		_ = e.Close()
		e, err = appio.New(disk, &appio.Options{Keys: townKeys, Now: clock.now, Statistics: true})
		require.NoError(t, err)
		_, err = e.Flush(t.Context())
		require.NoError(t, err)
		days, err := e.Statistics(t.Context(), mensa, clock.now().AddDate(0, 0, -1), clock.now())
		require.NoError(t, err)
		require.Len(t, days, 1)
		require.Equal(t, 20, days[0].Rejected)
		require.True(t, days[0].Final)
		require.NoError(t, e.Close())
		if failed == nil {
			require.Greater(t, n, 1)
			return
		}
	}
}
