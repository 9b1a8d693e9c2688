// Package providers shows that a sick provider hurts only its own channel, and that what is poison is put aside, with the real channels
// over their real protocols: e-mail to an SMTP server with STARTTLS, push to an APNs of HTTP/2, and webhooks to a server of https.
// Package channels shows the same of the engine alone, with functions as channels.
package providers

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net/http"
	netmail "net/mail"
	"net/netip"
	"os"
	"runtime"
	"runtime/metrics"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/email"
	"github.com/appio-go/appio/channel/push"
	"github.com/appio-go/appio/channel/webhook"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/itest/internal/planted"
	"github.com/appio-go/appio/store/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	service = appio.ServiceID("avvisi")

	// envShared plants a bug: all channels have their workers in common.
	envShared = "APPIO_PROVIDERS_SHARED"

	rate    = 100 // messages a second, each by all three channels: a small part of what two cores can do
	crowd   = 60  // citizens
	workers = 8   // of a channel

	// The p99 of the healthy beside a sick one is at most a fifth above that of the stretch of time just before, and what a scheduler of two
	// cores makes anybody wait at times. What else the machine does shows in one stretch more than in another, so a comparison that fails is
	// made again so often; one of the last two stretches, or of the quietest two so far, is enough. A sick provider that delays the
	// others does so each time.
	tolerance = 2 * time.Millisecond
	tries     = 15

	mostGoroutines = 500       // of the engine, the channels and the providers together
	mostMemory     = 256 << 20 // bytes of objects
)

// times are how long a delivery may take, which what hangs does, and what is well in a small part of it on a busy machine too; and a
// stretch of time, which is longer.
func times() (timeout, stretch time.Duration) {
	if testing.Short() {
		return 500 * time.Millisecond, 800 * time.Millisecond
	}
	return time.Second, 1500 * time.Millisecond
}

// A town is an engine with three channels, whose providers are of the test.
type town struct {
	*providers
	t      *testing.T
	engine *appio.Engine
	sender *appio.Sender
	stop   func()

	due    []time.Time             // of each message by its number: when it was to be sent
	number map[appio.MessageID]int // which number it has

	goroutines int
	memory     uint64
}

// A counted channel counts what it is asked, and panics while its provider says so.
type counted struct {
	appio.Channel
	p      *provider
	shared chan struct{} // nil: nothing is in common
}

func (c *counted) Deliver(ctx context.Context, d appio.Delivery) error {
	c.p.asked.Add(1)
	if c.p.is() == panics {
		panic("out of luck")
	}
	if c.shared != nil {
		c.shared <- struct{}{}
		defer func() { <-c.shared }()
	}
	err := c.Channel.Deliver(ctx, d)
	if ctx.Err() != nil {
		c.p.givenUp(d.ID)
	}
	return err
}

func newTown(t *testing.T) *town {
	w := &town{providers: start(t), t: t, number: map[appio.MessageID]int{}}
	mail, err := email.New(&email.Options{
		Addr: w.mailAddr, TLSConfig: w.trust, From: netmail.Address{Name: "Sportello digitale", Address: "avvisi@comune.example.org"},
	})
	require.NoError(t, err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	usual := http.DefaultTransport.(*http.Transport) // of which the channel makes its own
	trusting := usual.Clone()
	trusting.TLSClientConfig = w.trust.Clone()
	http.DefaultTransport = trusting
	notify, err := push.New(&push.Options{APNs: &push.Apple{
		Key: key, KeyID: "ABC123DEFG", TeamID: "DEF123GHIJ", Topic: "it.example.app", URL: w.pushURL,
	}})
	http.DefaultTransport = usual
	require.NoError(t, err)
	hook, err := webhook.New(&webhook.Options{
		Keys: []webhook.Key{w.key}, TLS: &tls.Config{RootCAs: w.trust.RootCAs}, Ports: []uint16{w.hookPort},
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
	})
	require.NoError(t, err)
	var shared chan struct{}
	if os.Getenv(envShared) != "" {
		shared = make(chan struct{}, workers)
	}
	route := func(p *provider, ch appio.Channel) appio.Route {
		return appio.Route{
			Name: p.name, Channel: &counted{ch, p, shared}, Default: appio.Full, Unvalidated: true, Workers: workers,
			Breaker: appio.Breaker{Share: 0.3, Least: 5, Window: 500 * time.Millisecond, Open: 200 * time.Millisecond, Longest: 200 * time.Millisecond, Probes: 2},
		}
	}
	s := memstore.New()
	timeout, _ := times()
	// With two attempts, the second a while after the first, an outage that costs attempts parks what it meets.
	w.engine, err = appio.New(s, &appio.Options{
		Keys: appio.RandomKeys(), MaxAttempts: 2, Backoff: func(int) time.Duration { return 600 * time.Millisecond },
		Lease: 8 * time.Second, DeliverTimeout: timeout, Margin: 400 * time.Millisecond, MaxSkew: 100 * time.Millisecond, Drain: 5 * time.Second,
		Channels: []appio.Route{route(w.mail, mail), route(w.push, notify), route(w.hook, hook)},
	})
	require.NoError(t, err)
	ctx := t.Context()
	require.NoError(t, w.engine.PutService(ctx, appio.Service{ID: service, Name: "Avvisi", Organization: "01199250158", State: appio.Live}))
	w.sender = w.engine.Sender(service)
	for i := range crowd {
		c := w.engine.Citizen(appio.Identity{Code: person(i)})
		require.NoError(t, c.SetMode(ctx, appio.Auto))
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Addresses = []appio.Address{
				{Channel: appio.Email, Value: fmt.Sprintf("citizen%d@example.org", i)},
				{Channel: appio.Push, Value: push.Installation{Platform: push.APNs, Token: fmt.Sprintf("%064x", i)}.Value()},
				{Channel: "webhook", Value: fmt.Sprintf("%s/citizen/%d", w.hookURL, i)},
			}
			return nil
		}))
	}
	running, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.engine.Run(running) }()
	w.stop = func() {
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, w.engine.Close())
		require.NoError(t, mail.Close())
		require.NoError(t, s.Close())
	}
	return w
}

func person(i int) fiscalcode.Person { return fiscalcode.Person(fmt.Sprintf("RSSMRA85M10H%03dS", i)) }

// live sends at a steady rate for a time, and waits until each of some providers has taken what it does. It returns how long that took
// of each delivery, from when its message was to be sent.
func (w *town) live(lasts time.Duration, of ...*provider) (took []time.Duration) {
	first := len(w.due)
	for began := time.Now(); ; {
		n := len(w.due)
		at := began.Add(time.Duration(n-first) * time.Second / rate)
		if at.Sub(began) >= lasts {
			break
		}
		time.Sleep(time.Until(at))
		w.due = append(w.due, at)
		r, err := w.sender.Send(w.t.Context(), appio.Message{
			To: person(n % crowd), Subject: subject(n), TimeToLive: 24 * time.Hour,
			Markdown: "La informiamo che il servizio di raccolta cambia orario dal prossimo mese, come da calendario.",
		})
		require.NoError(w.t, err)
		w.number[r.ID] = n
		w.measure()
	}
	for n := first; n < len(w.due); n++ {
		for _, p := range of {
			if p.poison(n) {
				continue
			}
			var a arrival
			w.until(func() (ok bool) { a, ok = p.got(n); return ok }, "deliveries of a healthy provider, %s, are held up", p.name)
			took = append(took, a.at.Sub(w.due[n]))
		}
	}
	return took
}

// until waits for what has to come.
func (w *town) until(come func() bool, otherwise string, args ...any) {
	for limit := time.Now().Add(10 * time.Second); !come(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(limit) {
			for d, err := range w.engine.Parked().All(w.t.Context()) {
				w.t.Logf("parked: message %d by %s: %s (%v)", w.number[d.Message], d.Channel, d.Cause, err)
			}
			w.t.Fatalf(otherwise+"; attempts: %v", append(args, w.engine.Counts().Attempts)...)
		}
		w.measure()
	}
}

func (w *town) measure() {
	w.goroutines = max(w.goroutines, runtime.NumGoroutine())
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	w.memory = max(w.memory, sample[0].Value.Uint64())
}

// done reports whether a provider has taken all that it does.
func (w *town) done(p *provider) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := len(w.due) - 1; n >= 0; n-- {
		if _, ok := p.taken[n]; !ok && !p.poison(n) {
			return false
		}
	}
	return true
}

// An outage is what was seen of one.
type outage struct {
	before, beside []time.Duration // of the other providers: with all of them well, and beside the sick one
	calls          int             // of the sick one's channel
	recovered      time.Duration   // until the sick one had what waited for it
}

// outage has all be well for a stretch of time, then a provider sick for another.
func (w *town) outage(p *provider, f fault) (o outage) {
	_, stretch := times()
	others := slices.DeleteFunc(w.all(), func(other *provider) bool { return other == p })
	o.before = w.live(stretch, others...)
	asked, outages, first := p.asked.Load(), w.engine.Counts().Outages, len(w.due)
	p.fault.Store(int32(f))
	o.beside = w.live(stretch, others...)
	w.until(func() bool { return w.engine.Counts().Outages > outages }, "the breaker of %s stays closed while it %v", p.name, f)
	p.outages = append(p.outages, span{first, len(w.due)})
	sent := len(w.due) - first
	o.calls = int(p.asked.Load() - asked)
	w.measure()
	p.fault.Store(int32(well))
	require.Less(w.t, o.calls, sent/2, "%s is tried again and again while it %v: %d times of %d", p.name, f, o.calls, sent)
	w.parked()
	began := time.Now()
	w.until(func() bool { return w.done(p) }, "%s is well again, and not all that waited is delivered", p.name)
	o.recovered = time.Since(began)
	return o
}

// parked are the deliveries that are. Only poison may be.
func (w *town) parked() (n int) {
	byName := map[string]*provider{}
	for _, p := range w.all() {
		byName[p.name] = p
	}
	for d, err := range w.engine.Parked().All(w.t.Context()) {
		require.NoError(w.t, err)
		p := byName[d.Channel]
		require.True(w.t, p.poison(w.number[d.Message]), "an outage parks a delivery of %s: %s", p.name, d.Cause)
		require.Equal(w.t, p.cause, d.Cause)
		n++
	}
	return n
}

// judge holds what the providers have taken against what was sent: each message once at each, under one id, but poison, which is parked.
// copies are what a provider was sent again that had taken it: its connection was cut before it could say so, or its time was over.
func (w *town) judge() (delivered, parked, copies int) {
	poisoned := 0
	for _, p := range w.all() {
		for n := range w.due {
			if p.poison(n) {
				poisoned++
			}
		}
	}
	w.until(func() bool { parked = w.parked(); return parked == poisoned }, "poison is not parked")
	for _, p := range w.all() {
		p.mu.Lock()
		for n := range w.due {
			a, ok := p.taken[n]
			require.Equal(w.t, !p.poison(n), ok, "message %d at %s", n, p.name)
			require.LessOrEqual(w.t, len(a.ids), 1, "message %d at %s has several ids", n, p.name)
			for id, times := range a.ids {
				require.True(w.t, times == 1 || p.wasSick(n) || p.late[id], "message %d is %d times at %s, which was well", n, times, p.name)
				delivered++
				copies += times - 1
			}
		}
		p.mu.Unlock()
	}
	return delivered, parked, copies
}

func p99(took []time.Duration) time.Duration {
	slices.Sort(took)
	return took[len(took)*99/100]
}

func median(of []time.Duration) time.Duration {
	slices.Sort(of)
	return of[len(of)/2]
}

// within reports whether the p99 beside a sick provider is what is promised of it.
func within(before, beside time.Duration) bool { return beside <= before*6/5+tolerance }

// TestSickProviders makes each of the three providers sick in each way, and compares the other two with what they are like without it.
// A round is one way, of one provider after the other; with -short of one provider alone.
func TestSickProviders(t *testing.T) {
	form.Watch(t, 15*time.Minute)
	w := newTown(t)
	defer w.stop()
	w.live(200*time.Millisecond, w.all()...) // connections are made
	var before, beside []time.Duration       // p99 of each outage
	var recovered time.Duration
	rounds, again, calls := 0, 0, 0
	for more := form.Rounds(t, 0.05, 2, 1); more(); rounds++ {
		f := faults[rounds%len(faults)]
		of := w.all()
		if testing.Short() {
			of = of[rounds%len(of):][:1]
		}
		for _, p := range of {
			first := len(beside)
			for try := 1; ; try++ {
				o := w.outage(p, f)
				before, beside = append(before, p99(o.before)), append(beside, p99(o.beside))
				recovered, calls = max(recovered, o.recovered), max(calls, o.calls)
				if within(before[len(before)-1], beside[len(beside)-1]) || within(slices.Min(before[first:]), slices.Min(beside[first:])) {
					break
				}
				again++
				require.Less(t, try, tries, "%s, which %v, delays the others: p99 %v, and %v without", p.name, f, beside[first:], before[first:])
			}
			t.Logf("%s %v: p99 of the others %v, before that %v", p.name, f, beside[first:], before[first:])
		}
	}
	delivered, parked, copies := w.judge()
	require.Less(t, w.goroutines, mostGoroutines, "goroutines pile up")
	require.Less(t, w.memory, uint64(mostMemory), "memory piles up")
	t.Logf("%d outages, %d of them for another comparison, with %d calls and over after %v at most; median p99 %v, without a sick provider %v; %d goroutines, %d MiB",
		len(beside), again, calls, recovered, median(beside), median(before), w.goroutines, w.memory>>20)
	form.Figures(t, map[string]float64{
		"rounds": float64(rounds), "again": float64(again), "outages": float64(len(beside)), "delivered": float64(delivered), "parked": float64(parked),
		"copies": float64(copies), "p99 us_max": float64(median(beside).Microseconds()), "p99 alone us_max": float64(median(before).Microseconds()),
		"calls_max": float64(calls), "recovered ms_max": float64(recovered.Milliseconds()), "goroutines_max": float64(w.goroutines), "memory MiB_max": float64(w.memory >> 20),
	})
}

func TestPlantedBugs(t *testing.T) {
	if testing.Short() {
		t.Skip("what never comes is waited for, and the tests are built anew")
	}
	const test = "TestSickProviders"
	planted.Run(t, os.Args[0],
		planted.Bug{Name: "channels that have their workers in common", Env: envShared + "=yes", Test: test, Says: "delays the others|held up|times at", Rounds: 1},
	)
	planted.Run(t, planted.Build(t),
		planted.Bug{Name: "breaker-stuck", Env: "APPIO_PLANT=breaker-stuck", Test: test, Says: "not all that waited is delivered", Rounds: 1},
		planted.Bug{Name: "breaker-restless", Env: "APPIO_PLANT=breaker-restless", Test: test, Says: "tried again and again", Rounds: 1, Count: "2"},
		planted.Bug{Name: "retry-at-once", Env: "APPIO_PLANT=retry-at-once", Test: test, Says: "an outage parks", Rounds: 1, Count: "2"},
	)
}
