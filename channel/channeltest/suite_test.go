package channeltest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/conformance"
)

// The suite is right if sound channels pass all of it, and each rule is failed by a channel that breaks that rule on purpose.

// A provider keeps the ids that it is sent.
type provider struct {
	mu  sync.Mutex
	ids []appio.DeliveryID
}

func (p *provider) take(ids ...appio.DeliveryID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ids = append(p.ids, ids...)
}

func (p *provider) got() []appio.DeliveryID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.ids)
}

// direct takes everything at once.
func (p *provider) direct() appio.ChannelFunc {
	return func(ctx context.Context, d appio.Delivery) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		p.take(d.ID)
		return nil
	}
}

func TestSuitePassesSoundChannels(t *testing.T) {
	t.Run("one that only serves addresses", func(t *testing.T) {
		Run(t, func(*testing.T) (appio.Channel, func() []appio.DeliveryID) {
			p := &provider{}
			return strict{p.direct()}, p.got
		})
	})
	t.Run("one that speaks HTTP", func(t *testing.T) {
		Run(t, func(t *testing.T) (appio.Channel, func() []appio.DeliveryID) {
			p := &provider{}
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				p.take(appio.DeliveryID(r.FormValue("ref")))
			}))
			t.Cleanup(server.Close)
			return poster{server.Client(), server.URL}, p.got
		})
	})
	t.Run("one that takes batches", func(t *testing.T) {
		Run(t, func(*testing.T) (appio.Channel, func() []appio.DeliveryID) {
			p := &provider{}
			return &batcher{Channel: p.direct(), all: p.take}, p.got
		})
	})
	t.Run("one that answers for each delivery of a batch", func(t *testing.T) {
		Run(t, func(*testing.T) (appio.Channel, func() []appio.DeliveryID) {
			p := &provider{}
			return &batcher{Channel: strict{p.direct()}}, p.got
		})
	})
	t.Run("a Recorder", func(t *testing.T) {
		Run(t, func(*testing.T) (appio.Channel, func() []appio.DeliveryID) {
			r := &Recorder{}
			return r, ids(r)
		})
	})
	t.Run("Faults without any", func(t *testing.T) {
		Run(t, func(*testing.T) (appio.Channel, func() []appio.DeliveryID) {
			r := &Recorder{}
			return &Faults{Channel: r}, ids(r)
		})
	})
	t.Run("one for Route.ByCode, adapted", func(t *testing.T) {
		Run(t, func(*testing.T) (appio.Channel, func() []appio.DeliveryID) {
			p := &provider{}
			c := appio.ChannelFunc(func(ctx context.Context, d appio.Delivery) error {
				if d.To == "" || d.Address != (appio.Address{}) {
					return appio.Permanent(errors.New("not by code"))
				}
				return p.direct()(ctx, d)
			})
			return Adapt(c, func(d *appio.Delivery) { d.To, d.Address = code, appio.Address{} }), p.got
		})
	})
}

func TestAdaptKeepsBatches(t *testing.T) {
	var r Recorder
	change := func(d *appio.Delivery) { d.Address.Value = "+390612345678" }
	_, batch := Adapt(&r, change).(appio.BatchChannel)
	require.False(t, batch)

	b, batch := Adapt(&batcher{Channel: &r}, change).(appio.BatchChannel)
	require.True(t, batch)
	ds := []appio.Delivery{full(), generic()}
	require.Equal(t, []error{nil, nil}, b.DeliverBatch(t.Context(), ds))
	require.NoError(t, b.Deliver(t.Context(), full()))
	require.Equal(t, address, ds[0].Address.Value, "the caller's are as they were")
	require.Len(t, r.Deliveries(), 3)
	for _, d := range r.Deliveries() {
		require.Equal(t, "+390612345678", d.Address.Value)
	}
}

// strict refuses what is not for an e-mail address.
type strict struct{ appio.Channel }

func (s strict) Deliver(ctx context.Context, d appio.Delivery) error {
	switch {
	case d.Address.Value == "":
		return appio.Permanent(errors.New("no address"))
	case slices.Contains(oddAddresses, d.Address.Value):
		return appio.Permanent(errors.New("not an address"))
	case strings.ContainsAny(d.Subject, "\r\n"):
		return appio.Permanent(errors.New("not one line"))
	}
	return s.Channel.Deliver(ctx, d)
}

// poster posts a form.
type poster struct {
	client *http.Client
	url    string
}

func (p poster) Deliver(ctx context.Context, d appio.Delivery) error {
	form := url.Values{"ref": {string(d.ID)}, "to": {d.Address.Value}, "text": {d.Subject}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, strings.NewReader(form.Encode()))
	if err != nil {
		return appio.Permanent(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := p.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the provider answered %s", resp.Status)
	}
	return nil
}

// A batcher delivers batches: to all at once, and if it is nil one by one.
type batcher struct {
	appio.Channel
	all func(...appio.DeliveryID)
}

func (b *batcher) DeliverBatch(ctx context.Context, ds []appio.Delivery) []error {
	if b.all == nil {
		errs := make([]error, len(ds))
		for i, d := range ds {
			errs[i] = b.Deliver(ctx, d)
		}
		return errs
	}
	for _, d := range ds {
		b.all(d.ID)
	}
	return nil
}

func ids(r *Recorder) func() []appio.DeliveryID {
	return func() (ids []appio.DeliveryID) {
		for _, d := range r.Deliveries() {
			ids = append(ids, d.ID)
		}
		return ids
	}
}

func TestSuiteFailsBrokenChannels(t *testing.T) {
	for _, b := range bugs {
		t.Run(b.bug, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(checks(), func(c check) bool { return c.rule == b.rule })
			require.GreaterOrEqual(t, i, 0, "there is no rule %q", b.rule)
			p := &provider{}
			failures := conformance.Record(t, func(t tester) { checks()[i].run(t, &subject{b.open(t, p), p.got}) })
			require.NotEmpty(t, failures, "a channel with this bug passes %q", b.rule)
			require.Contains(t, failures[0], b.says)
			for _, f := range failures {
				require.NotContains(t, f, address)
			}
			t.Log(failures[0])
		})
	}
}

func TestEveryRuleFailsSomeBrokenChannel(t *testing.T) {
	for _, c := range checks() {
		if !slices.ContainsFunc(bugs, func(b bug) bool { return b.rule == c.rule }) {
			t.Errorf("no broken channel shows that %q can fail", c.rule)
		}
	}
}
