package appio_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store/memstore"
)

func hours(from, to string) appio.QuietHours {
	of := func(s string) time.Duration {
		t, err := time.Parse("15:04", s)
		if err != nil {
			panic(err)
		}
		return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute
	}
	return appio.QuietHours{From: of(from), To: of(to)}
}

func TestQuietHours(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to, zone, at, next string }{ // times in UTC
		{"22:00", "07:00", "", "2026-01-10T20:59", "2026-01-10T20:59"},
		{"22:00", "07:00", "", "2026-01-10T21:00", "2026-01-11T06:00"},
		{"22:00", "07:00", "", "2026-01-11T05:59", "2026-01-11T06:00"},
		{"22:00", "07:00", "", "2026-01-11T06:00", "2026-01-11T06:00"},
		{"22:00", "07:00", "", "2026-07-10T20:00", "2026-07-11T05:00"},
		{"13:00", "15:30", "", "2026-07-10T11:30", "2026-07-10T13:30"},
		{"00:00", "06:00", "", "2026-07-10T22:00", "2026-07-11T04:00"},
		{"22:00", "00:00", "", "2026-07-10T21:30", "2026-07-10T22:00"},
		{"00:00", "00:00", "", "2026-07-10T22:00", "2026-07-10T22:00"},
		{"22:00", "07:00", "Europe/London", "2026-01-10T21:30", "2026-01-10T21:30"},
		{"22:00", "07:00", "Asia/Kathmandu", "2026-01-10T16:15", "2026-01-11T01:15"},
		// The night of 23 hours: at two it is three.
		{"22:00", "07:00", "", "2026-03-28T21:00", "2026-03-29T05:00"},
		{"22:00", "02:30", "", "2026-03-28T23:00", "2026-03-29T01:00"},
		{"02:30", "07:00", "", "2026-03-29T00:59", "2026-03-29T00:59"},
		{"02:30", "07:00", "", "2026-03-29T01:00", "2026-03-29T05:00"},
		{"02:00", "02:59", "", "2026-03-29T01:00", "2026-03-29T01:00"},
		// The night of 25: at three it is two.
		{"22:00", "07:00", "", "2026-10-24T20:00", "2026-10-25T06:00"},
		{"22:00", "02:30", "", "2026-10-25T00:30", "2026-10-25T01:30"},
		{"22:00", "02:30", "", "2026-10-25T01:29", "2026-10-25T01:30"},
		{"22:00", "02:30", "", "2026-10-25T01:30", "2026-10-25T01:30"},
		{"02:30", "07:00", "", "2026-10-25T00:29", "2026-10-25T00:29"},
		{"02:30", "07:00", "", "2026-10-25T00:30", "2026-10-25T06:00"},
		{"02:30", "07:00", "", "2026-10-25T01:00", "2026-10-25T06:00"},
		{"02:00", "02:30", "", "2026-10-25T00:45", "2026-10-25T01:30"},
	} {
		q := hours(c.from, c.to)
		q.Zone = c.zone
		at, err := time.Parse("2006-01-02T15:04", c.at)
		require.NoError(t, err)
		require.Equal(t, c.next, q.Next(at).UTC().Format("2006-01-02T15:04"), "%+v", c)
	}
}

// clocks is what a zone's clock shows in each quarter of an hour, and so all that an oracle needs: it knows no rule of any clock.
type clocks struct {
	begin  time.Time
	shows  []string // date and time, which sort as they are
	offset []int    // from UTC
	byDate map[string][2]int
}

const quarter = 15 * time.Minute

func newClocks(zone *time.Location, from, to time.Time) *clocks {
	c := &clocks{begin: from.UTC(), byDate: map[string][2]int{}}
	for at := c.begin; at.Before(to); at = at.Add(quarter) {
		s := at.In(zone).Format("2006-01-02 15:04")
		n := len(c.shows)
		_, offset := at.In(zone).Zone()
		c.shows, c.offset = append(c.shows, s), append(c.offset, offset)
		of := c.byDate[s[:10]]
		if of[1] == 0 {
			of[0] = n
		}
		of[1] = n + 1
		c.byDate[s[:10]] = of
	}
	return c
}

// quietHours marks the quarters that are quiet, day by day: from the first that shows From or later, to the last that shows less than To.
func (c *clocks) quietHours(from, to string) []bool {
	quiet := make([]bool, len(c.shows))
	for day := range c.byDate {
		date, err := time.Parse(time.DateOnly, day)
		if err != nil {
			panic(err)
		}
		end := day
		if to < from {
			end = date.AddDate(0, 0, 1).Format(time.DateOnly)
		}
		first, last, begins, ends := c.byDate[day][0], -1, day+" "+from, end+" "+to
		for first < len(c.shows) && c.shows[first] < begins {
			first++
		}
		for i := first; i < len(c.shows) && i < first+200; i++ {
			if c.shows[i] < ends {
				last = i
			}
		}
		for i := first; i <= last; i++ {
			quiet[i] = true
		}
	}
	return quiet
}

func TestQuietHoursAgreeWithWhatTheClockShows(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo"} {
		l := rome
		if zone != "" {
			var err error
			l, err = time.LoadLocation(zone)
			require.NoError(t, err)
		}
		// All eleven years of Italian time; of the others some years are enough.
		end := 2037
		if zone != "" {
			end = 2028
		}
		c := newClocks(l, time.Date(2025, 12, 30, 0, 0, 0, 0, time.UTC), time.Date(end, 1, 3, 0, 0, 0, 0, time.UTC))
		for _, h := range [][2]string{{"22:00", "07:00"}, {"23:30", "02:15"}, {"02:15", "02:45"}, {"02:30", "10:00"}, {"00:00", "02:30"}, {"13:00", "15:00"}, {"21:15", "00:00"}, {"03:00", "23:00"}} {
			q, quiet := hours(h[0], h[1]), c.quietHours(h[0], h[1])
			q.Zone = zone
			next := len(quiet)
			wrong := 0
			for i := len(quiet) - 300; i >= 300; i-- { // not at the edges, of whose days not all is known
				if !quiet[i] {
					next = i
				}
				if c.offset[i-200] == c.offset[i+200] && i%97 > 0 { // far from any change of the clock some moments are enough
					continue
				}
				at := c.begin.Add(time.Duration(i) * quarter)
				want := c.begin.Add(time.Duration(next) * quarter)
				for _, moment := range []time.Time{at, at.Add(7 * time.Minute)}[:1+i%2] {
					if w := want; wrong < 3 && next < len(quiet) {
						if !quiet[i] {
							w = moment
						}
						if got := q.Next(moment); !got.Equal(w) {
							wrong++
							t.Errorf("%v in %q: after %s comes %s, not %s", h, zone, moment.In(l), got.In(l), w.In(l))
						}
					}
				}
			}
		}
	}
}

func TestQuietHoursAreChecked(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	c := w.enrol(giuseppe, appio.Auto)
	for _, q := range []appio.QuietHours{
		{From: -time.Minute}, {To: 24 * time.Hour}, {From: time.Second}, {From: time.Hour, To: 21*time.Hour + time.Minute}, {From: 4 * time.Hour, To: time.Hour},
		{Zone: "Local"}, {Zone: "Europe/Roma"}, {Zone: "../Europe/Rome"}, {Zone: "Europe//Rome"}, {Zone: "/etc/passwd"}, {Zone: strings.Repeat("a/", 40)},
	} {
		err := c.UpdateProfile(t.Context(), func(p *appio.Profile) error { p.Quiet = q; return nil })
		require.ErrorIs(t, err, appio.ErrInvalid, "%+v", q)
	}
	require.NoError(t, c.UpdateProfile(t.Context(), func(p *appio.Profile) error {
		p.Quiet = appio.QuietHours{From: 22 * time.Hour, To: 7 * time.Hour, Zone: "Europe/London"}
		return nil
	}))
	p, err := c.Profile(t.Context())
	require.NoError(t, err)
	require.Equal(t, appio.QuietHours{From: 22 * time.Hour, To: 7 * time.Hour, Zone: "Europe/London"}, p.Quiet)
	for r, err := range c.Consents().All(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, p.Quiet, r.Quiet)
		break
	}
}

// A patient town notes when which channel got what.
type patient struct {
	slowTown
	got   []string // "push 2026-03-10 22:05"
	fails func(d appio.Delivery) error
}

func (p *patient) Deliver(_ context.Context, d appio.Delivery) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fails != nil {
		if err := p.fails(d); err != nil {
			return err
		}
	}
	p.got = append(p.got, d.Channel+" "+p.clock.In(rome).Format(minutes))
	return nil
}

// newPatient is a town where push interrupts, and e-mail does not, with one citizen who has both.
func newPatient(t *testing.T, start string, changes ...func(*appio.Options)) (*patient, *appio.Sender, *appio.Citizen) {
	p := &patient{slowTown: slowTown{clock: at(start)}}
	p.town = newTown(t, append([]func(*appio.Options){func(o *appio.Options) {
		o.Now, o.Backoff = p.now, func(int) time.Duration { return 10 * time.Minute }
		for i := range o.Channels {
			r := &o.Channels[i]
			r.Channel, r.ByCode, r.Default, r.Interrupts = p, true, appio.Full, r.Name == appio.Push
		}
	}}, changes...)...)
	return p, p.put(), p.enrol(giuseppe, appio.Auto)
}

func (p *patient) quiet(c *appio.Citizen, q appio.QuietHours) {
	p.t.Helper()
	require.NoError(p.t, c.UpdateProfile(p.t.Context(), func(pr *appio.Profile) error {
		pr.Quiet = q
		return nil
	}))
}

func (p *patient) of(channel string) (times []string) {
	for _, s := range p.got {
		if when, ok := strings.CutPrefix(s, channel+" "); ok {
			times = append(times, when)
		}
	}
	return times
}

func TestQuietHoursHoldBackWhatInterrupts(t *testing.T) {
	t.Parallel()
	night := hours("22:00", "07:00")

	t.Run("until they end, and nothing else", func(t *testing.T) {
		t.Parallel()
		p, s, c := newPatient(t, "2026-03-10 23:00")
		p.quiet(c, night)
		id := p.send(s, messageTo(giuseppe))
		p.flush()
		require.Equal(t, []string{"email 2026-03-10 23:00"}, p.got)
		p.until("2026-03-12 00:00", 5*time.Minute)
		require.Equal(t, []string{"2026-03-11 07:00"}, p.of(appio.Push))
		r, err := c.Explain(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, 3, r.RuleSet)
		require.True(t, appio.Decide(r.Facts).Equal(r.Decision))
		for _, d := range r.Decision.Channels {
			require.Equal(t, map[string]time.Duration{appio.Email: 0, appio.Push: 8 * time.Hour}[d.Name], d.After)
		}
		p.sound()
	})
	t.Run("in a night of 23 hours, and in one of 25", func(t *testing.T) {
		t.Parallel()
		for _, start := range []string{"2026-03-28 23:30", "2026-10-24 23:30"} {
			p, s, c := newPatient(t, start)
			p.quiet(c, night)
			p.send(s, messageTo(giuseppe))
			p.until(start[:8]+"30 00:00", 5*time.Minute)
			require.Equal(t, []string{map[string]string{"03": "2026-03-29 07:00", "10": "2026-10-25 07:00"}[start[5:7]]}, p.of(appio.Push))
		}
	})
	t.Run("also what is tried again, and its time waits with it", func(t *testing.T) {
		t.Parallel()
		p, s, c := newPatient(t, "2026-03-10 21:30")
		p.quiet(c, night)
		p.fails = func(d appio.Delivery) error {
			if h := p.clock.In(rome).Hour(); d.Channel == appio.Push && (h >= 21 || p.clock.In(rome).Format("15:04") < "07:20") {
				return errors.New("the provider is away")
			}
			return nil
		}
		id := p.send(s, messageTo(giuseppe)) // an hour to live, half of which has passed at ten
		p.until("2026-03-11 12:00", 5*time.Minute)
		require.Equal(t, []string{"2026-03-11 07:20"}, p.of(appio.Push))
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeDelivered}, p.outcomes(giuseppe, id, appio.Push))
		p.sound()
	})
	t.Run("with an hour to live from the morning on", func(t *testing.T) {
		t.Parallel()
		for last, want := range map[string]appio.OutcomeResult{"07:50": appio.OutcomeDelivered, "08:10": appio.OutcomeExpired} {
			p, s, c := newPatient(t, "2026-03-10 23:00")
			p.quiet(c, night)
			p.fails = func(d appio.Delivery) error {
				if d.Channel == appio.Push && p.clock.In(rome).Format("15:04") < last {
					return errors.New("the provider is away")
				}
				return nil
			}
			id := p.send(s, messageTo(giuseppe))
			p.until("2026-03-11 12:00", 5*time.Minute)
			require.Equal(t, []appio.OutcomeResult{want}, p.outcomes(giuseppe, id, appio.Push), last)
		}
	})
	t.Run("as the citizen chooses while it waits", func(t *testing.T) {
		t.Parallel()
		for _, x := range []struct {
			name string
			q    appio.QuietHours
			want string
		}{
			{"shorter", hours("22:00", "05:00"), "2026-03-11 05:00"},
			{"longer", hours("21:00", "10:30"), "2026-03-11 10:30"},
			{"none", appio.QuietHours{}, "2026-03-11 01:05"},
			{"over", hours("13:00", "15:00"), "2026-03-11 01:05"},
		} {
			p, s, c := newPatient(t, "2026-03-10 23:00")
			p.quiet(c, night)
			id := p.send(s, messageTo(giuseppe))
			p.until("2026-03-11 01:00", 5*time.Minute)
			p.quiet(c, x.q)
			p.until("2026-03-11 12:00", 5*time.Minute)
			require.Equal(t, []string{x.want}, p.of(appio.Push), x.name)
			require.Equal(t, []appio.OutcomeResult{appio.OutcomeDelivered}, p.outcomes(giuseppe, id, appio.Push))
			p.sound()
		}
	})
	t.Run("but what nobody came to send in its time is not sent after it, whatever is chosen", func(t *testing.T) {
		t.Parallel()
		for _, q := range []appio.QuietHours{{}, hours("12:00", "15:00"), hours("09:00", "11:00")} {
			p, s, c := newPatient(t, "2026-03-10 23:00")
			p.quiet(c, night)
			var ids []appio.MessageID
			for range 100 { // more than are claimed at a time
				ids = append(ids, p.send(s, messageTo(giuseppe))) // with an hour to live, until eight
			}
			p.flush()
			p.set("2026-03-11 10:00")
			p.quiet(c, q)
			p.until("2026-03-11 18:00", 10*time.Minute)
			require.Empty(t, p.of(appio.Push), "%v", q)
			for _, id := range ids {
				require.Equal(t, []appio.OutcomeResult{appio.OutcomeExpired}, p.outcomes(giuseppe, id, appio.Push))
			}
		}
	})
	t.Run("also if it was chosen after the message came", func(t *testing.T) {
		t.Parallel()
		p, s, c := newPatient(t, "2026-03-10 23:00")
		p.send(s, messageTo(giuseppe))
		p.quiet(c, night)
		p.until("2026-03-11 12:00", 5*time.Minute)
		require.Equal(t, []string{"2026-03-11 07:00"}, p.of(appio.Push))
	})
	t.Run("and consent is read in the morning", func(t *testing.T) {
		t.Parallel()
		p, s, c := newPatient(t, "2026-03-10 23:00")
		p.quiet(c, night)
		id := p.send(s, messageTo(giuseppe))
		p.until("2026-03-11 01:00", 5*time.Minute)
		require.NoError(t, c.SetPreference(t.Context(), mensa, appio.Preference{Inbox: true, Channels: appio.On(appio.Email)}))
		p.until("2026-03-11 12:00", 5*time.Minute)
		require.Empty(t, p.of(appio.Push))
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeVoid}, p.outcomes(giuseppe, id, appio.Push))
	})
	t.Run("unless the service has a law for it, which is recorded", func(t *testing.T) {
		t.Parallel()
		p, s, c := newPatient(t, "2026-03-10 23:00")
		const law = "d.lgs. 1/2018, art. 17"
		p.put(func(s *appio.Service) { s.QuietBasis = law })
		p.quiet(c, night)
		id := p.send(s, messageTo(giuseppe))
		p.flush()
		require.Equal(t, []string{"2026-03-10 23:00"}, p.of(appio.Push))
		r, err := c.Explain(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, law, r.Facts.QuietBasis)
		require.True(t, appio.Decide(r.Facts).Equal(r.Decision))
		for _, o := range r.Outcomes {
			require.Equal(t, map[string]string{appio.Push: law, appio.Email: ""}[o.Channel], o.QuietBasis)
		}
		svc, err := p.Service(t.Context(), mensa)
		require.NoError(t, err)
		require.Equal(t, law, svc.QuietBasis)
		p.put() // it has none any more
		p.send(s, messageTo(giuseppe))
		p.until("2026-03-11 12:00", 5*time.Minute)
		require.Equal(t, []string{"2026-03-10 23:00", "2026-03-11 07:00"}, p.of(appio.Push))
		require.ErrorIs(t, p.PutService(t.Context(), appio.Service{ID: "x", Name: "x", Organization: "01199250158", QuietBasis: strings.Repeat("x", 201)}), appio.ErrInvalid)
	})
	t.Run("reminders too", func(t *testing.T) {
		t.Parallel()
		p, s, c := newPatient(t, "2026-03-10 09:30", func(o *appio.Options) {
			o.Reminders = &appio.ReminderSchedule{Unread: []time.Duration{24 * time.Hour}}
			o.Channels[1].Reminders = true
		})
		require.NoError(t, c.UpdateProfile(t.Context(), func(p *appio.Profile) error {
			p.Reminders.Unread, p.Quiet = true, hours("09:00", "11:15")
			return nil
		}))
		p.send(s, messageTo(giuseppe))
		p.until("2026-03-13 00:00", 5*time.Minute)
		require.Equal(t, []string{"2026-03-10 11:15", "2026-03-11 11:15"}, p.of(appio.Push))
		p.sound()
	})
	t.Run("with an engine at work", func(t *testing.T) {
		t.Parallel()
		p, s, c := newPatient(t, "2026-03-10 23:00")
		p.quiet(c, night)
		stop := p.run()
		var ids []appio.MessageID
		for range 20 {
			ids = append(ids, p.send(s, messageTo(giuseppe)))
		}
		require.Eventually(t, func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.got) == len(ids) }, 10*time.Second, time.Millisecond)
		stop()
		require.Empty(t, p.of(appio.Push))
		p.until("2026-03-11 07:00", 30*time.Minute)
		require.Len(t, p.of(appio.Push), len(ids))
		for _, id := range ids {
			require.Equal(t, []appio.OutcomeResult{appio.OutcomeDelivered}, p.outcomes(giuseppe, id, appio.Push))
		}
	})
	t.Run("more than a page of them", func(t *testing.T) {
		t.Parallel()
		p, s, c := newPatient(t, "2026-03-10 23:00")
		p.quiet(c, night)
		const n = 600
		for range n {
			p.send(s, messageTo(giuseppe))
		}
		p.flush()
		require.Empty(t, p.of(appio.Push))
		p.quiet(c, appio.QuietHours{})
		p.until("2026-03-10 23:10", 5*time.Minute)
		require.Len(t, p.of(appio.Push), n)
	})
}

func ExampleQuietHours() {
	quiet := appio.QuietHours{From: 22 * time.Hour, To: 7 * time.Hour}
	rome, err := time.LoadLocation("Europe/Rome")
	check(err)
	// Clocks are put forward in this night.
	late := time.Date(2026, 3, 28, 23, 30, 0, 0, rome)
	next := quiet.Next(late).In(rome)
	fmt.Println(next.Format("2 January 15:04"), "after", next.Sub(late))
	fmt.Println(quiet.Next(next).Sub(next))
	// Output:
	// 29 March 07:00 after 6h30m0s
	// 0s
}

// What another engine holds as quiet hours begin by the citizen's choice may just be about to be sent: the choice returns when it is not.
func TestQuietHoursAndAnotherEngine(t *testing.T) {
	t.Parallel()
	begun, release := make(chan appio.DeliveryID), make(chan struct{})
	open := sync.OnceFunc(func() { close(release) })
	deliver := appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
		begun <- d.ID
		<-release
		return nil
	})
	s, keys, ctx := memstore.New(), appio.RandomKeys(), t.Context()
	engine := func() *appio.Engine {
		e, err := appio.New(s, &appio.Options{
			Keys: keys, Lease: 2 * time.Second, DeliverTimeout: time.Second, Margin: 50 * time.Millisecond,
			MaxSkew: 20 * time.Millisecond, RevokeWait: 30 * time.Millisecond,
			Channels: []appio.Route{{Name: appio.Push, Default: appio.Full, ByCode: true, Channel: deliver, Interrupts: true}},
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, e.Close()) })
		return e
	}
	first, second := engine(), engine()
	defer open()
	require.NoError(t, second.PutService(ctx, appio.Service{ID: "tari", Name: "Tassa rifiuti", Organization: "01199250158", State: appio.Live}))
	quiet := func(in time.Duration) error { // for two hours
		now := time.Now().In(rome)
		from := time.Duration(now.Hour())*time.Hour + time.Duration(now.Minute())*time.Minute + in
		return revoker(second).UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Quiet = appio.QuietHours{From: (from + 24*time.Hour) % (24 * time.Hour), To: (from + 26*time.Hour) % (24 * time.Hour)}
			return nil
		})
	}
	require.NoError(t, revoker(second).SetMode(ctx, appio.Auto))
	_, err := first.Sender("tari").Send(ctx, benchMessage("RSSMRA85M10H501S"))
	require.NoError(t, err)
	var running sync.WaitGroup
	running.Go(func() { _, _ = first.Flush(ctx) })
	defer running.Wait()
	defer open()
	id := <-begun
	require.NoError(t, quiet(3*time.Hour), "later")
	for range 2 {
		var left *appio.InFlightError
		require.ErrorAs(t, quiet(-time.Hour), &left)
		require.Equal(t, []appio.DeliveryID{id}, left.Deliveries)
	}
	open()
	require.Eventually(t, func() bool { return quiet(-time.Hour) == nil }, 5*time.Second, time.Millisecond)
}
