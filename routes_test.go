package appio_test

import (
	"context"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store/memstore"
)

func TestRate(t *testing.T) {
	t.Parallel()

	inBubble(t, "is so many deliveries a second", func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) { o.Channels[0].Rate = 10 })
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		var mu sync.Mutex
		var at []time.Time
		w.email.answer = func(context.Context, appio.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			at = append(at, time.Now())
			return nil
		}
		for range 60 {
			w.send(s, messageTo(giuseppe))
		}
		start := time.Now()
		w.flush()
		require.Len(t, at, 60)
		for i := range at {
			n := 0
			for j := i; j < len(at) && at[j].Sub(at[i]) < time.Second; j++ {
				n++
			}
			require.LessOrEqual(t, n, 20, "ten, and ten at once after a pause")
		}
		require.GreaterOrEqual(t, time.Since(start), 5*time.Second)
		require.Less(t, time.Since(start), 8*time.Second)
		require.Len(t, w.push.deliveries(), 60)
	})

	inBubble(t, "below one a second keeps its pace, whatever room other channels have", func(t *testing.T) {
		w := newTown(t, func(o *appio.Options) { o.Channels[0].Rate = 0.5; o.Channels[0].Workers = 1 })
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		end := w.run()
		time.Sleep(time.Second)
		const n = 40
		for range n {
			w.send(s, messageTo(giuseppe))
		}
		synctest.Wait()
		require.Len(t, w.push.deliveries(), n)
		time.Sleep(time.Minute)
		require.GreaterOrEqual(t, len(w.email.deliveries()), 27)
		time.Sleep(time.Minute)
		require.Len(t, w.email.deliveries(), n)
		end()
	})
}

func TestUnknownChannel(t *testing.T) {
	t.Parallel()
	s := memstore.New()
	w := newTownOn(t, s)
	sender := w.put()
	w.enrol(giuseppe, appio.Auto)
	id := w.send(sender, messageTo(giuseppe))

	without := newTownOn(t, s, func(o *appio.Options) { o.Channels = o.Channels[:1] })
	require.Equal(t, 1, without.flush())
	ps := without.parked()
	require.Len(t, ps, 1)
	require.Equal(t, appio.Push, ps[0].Channel)
	require.Equal(t, "unknown channel", ps[0].Cause)
	require.Zero(t, ps[0].Attempts)
	require.Equal(t, []appio.OutcomeResult{appio.OutcomeParked}, without.outcomes(giuseppe, id, appio.Push))

	require.NoError(t, w.Replay(t.Context()))
	require.Equal(t, 1, w.flush(), "with the channel back it is delivered")
	require.Len(t, w.push.deliveries(), 1)
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	ok := appio.ChannelFunc(func(context.Context, appio.Delivery) error { return nil })
	fifty := make([]appio.Route, 51)
	for i := range fifty {
		fifty[i] = appio.Route{Name: fmt.Sprintf("c%d", i), Channel: ok}
	}
	for name, c := range map[string]struct {
		field string
		o     appio.Options
	}{
		"no name":                     {"Options.Channels[0].Name", appio.Options{Channels: []appio.Route{{Channel: ok}}}},
		"a name that is none":         {"Options.Channels[0].Name", appio.Options{Channels: []appio.Route{{Name: "E-mail", Channel: ok}}}},
		"the same name twice":         {"Options.Channels[1].Name", appio.Options{Channels: []appio.Route{{Name: "a", Channel: ok}, {Name: "a", Channel: ok}}}},
		"a quota below one document":  {"Options.DocumentQuota", appio.Options{DocumentQuota: 1 << 20}},
		"a quota below none":          {"Options.DocumentQuota", appio.Options{DocumentQuota: -1}},
		"no channel":                  {"Options.Channels[0].Channel", appio.Options{Channels: []appio.Route{{Name: "a"}}}},
		"too much":                    {"Options.Channels[0]", appio.Options{Channels: []appio.Route{{Name: "a", Channel: ok, Default: 3}}}},
		"too much when secure":        {"Options.Channels[0]", appio.Options{Channels: []appio.Route{{Name: "a", Channel: ok, Secure: 3}}}},
		"a timeout beyond the lease":  {"Options.Channels[0].Timeout", appio.Options{Channels: []appio.Route{{Name: "a", Channel: ok, Timeout: 28*time.Second + 1}}}},
		"a timeout below 0":           {"Options.Channels[0].Timeout", appio.Options{Channels: []appio.Route{{Name: "a", Channel: ok, Timeout: -1}}}},
		"workers below 0":             {"Options.Channels[0].Workers", appio.Options{Channels: []appio.Route{{Name: "a", Channel: ok, Workers: -1}}}},
		"a rate below 0":              {"Options.Channels[0].Rate", appio.Options{Channels: []appio.Route{{Name: "a", Channel: ok, Rate: -1}}}},
		"too many":                    {"Options.Channels", appio.Options{Channels: fifty}},
		"a lease below the timeout":   {"Options.DeliverTimeout", appio.Options{Lease: 20 * time.Second}},
		"a duration below 0":          {"Options", appio.Options{Drain: -1}},
		"attempts below 0":            {"Options.MaxAttempts", appio.Options{MaxAttempts: -1}},
		"a rate of questions below 0": {"Options.ContactRate", appio.Options{ContactRate: -1}},
		"a rate that is no number":    {"Options.ManageRate", appio.Options{ManageRate: math.NaN()}},
		"a rate without end":          {"Options.AddressRate", appio.Options{AddressRate: math.Inf(1)}},
		"services below 0":            {"Options.MaxServices", appio.Options{MaxServices: -1}},
		"more services than listed":   {"Options.MaxServices", appio.Options{MaxServices: 10_001}},
	} {
		c.o.Keys = townKeys
		_, err := appio.New(memstore.New(), &c.o)
		require.Error(t, err, name)
		requireField(t, err, c.field, "")
	}
	_, err := appio.New(nil, &appio.Options{Keys: townKeys})
	requireField(t, err, "store", "")
	_, err = appio.New(memstore.New(), nil)
	requireField(t, err, "Options.Keys", "")
	_, err = appio.New(memstore.New(), &appio.Options{Keys: townKeys, Channels: fifty[:50]})
	require.NoError(t, err)
}
