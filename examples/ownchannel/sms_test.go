package ownchannel_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/appiotest"
	"github.com/appio-go/appio/channel/channeltest"
	"github.com/appio-go/appio/examples/ownchannel"
)

const number = "+390655501234"

// A provider keeps what it is sent, and answers with a status.
type provider struct {
	mu     sync.Mutex
	status int // 0: 200
	refs   []appio.DeliveryID
	texts  []string
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.status != 0 {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(p.status)
		return
	}
	p.refs = append(p.refs, appio.DeliveryID(r.FormValue("ref")))
	p.texts = append(p.texts, r.FormValue("to")+" "+r.FormValue("text"))
}

func (p *provider) answer(status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status = status
}

func (p *provider) got() []appio.DeliveryID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.refs)
}

func (p *provider) sent() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.texts)
}

func setup(t *testing.T) (*ownchannel.SMS, *provider) {
	p := &provider{}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return &ownchannel.SMS{Client: server.Client(), URL: server.URL}, p
}

func TestSMSKeepsTheContract(t *testing.T) {
	channeltest.Run(t, func(t *testing.T) (appio.Channel, func() []appio.DeliveryID) {
		sms, p := setup(t)
		return channeltest.Adapt(sms, func(d *appio.Delivery) { d.Address.Value = number }), p.got
	})
}

func TestSMSOnThePlatform(t *testing.T) {
	ctx := t.Context()
	sms, p := setup(t)
	k := appiotest.New(t, &appio.Options{Channels: []appio.Route{sms.Route()}})
	school := k.Service("mensa")
	mario := k.Person(appiotest.Mario, appio.Auto)
	send := func() appio.MessageID {
		r, err := school.Send(ctx, appiotest.Message(appiotest.Mario))
		require.NoError(t, err)
		k.Advance(time.Minute)
		return r.ID
	}

	send()
	require.Empty(t, p.got(), "not chosen")

	require.NoError(t, ownchannel.Choose(ctx, mario, number, k.Now()))
	send()
	require.Equal(t, []string{number + " Servizio mensa: c'è un messaggio per te"}, p.sent())

	p.answer(http.StatusTooManyRequests)
	send()
	p.answer(0)
	k.Advance(59 * time.Second)
	require.Len(t, p.got(), 1, "the provider asked for two minutes")
	k.Advance(2 * time.Minute)
	require.Len(t, p.got(), 2)

	p.answer(http.StatusUnprocessableEntity)
	send()
	for parked, err := range k.Parked().All(ctx) {
		require.NoError(t, err)
		require.Equal(t, "sms: the provider answered 422 Unprocessable Entity", parked.Cause)
	}

	p.answer(http.StatusGone)
	send()
	profile, err := mario.Profile(ctx)
	require.NoError(t, err)
	for _, a := range profile.Addresses {
		require.NotEqual(t, "sms", a.Channel, "the number does not exist any more")
	}
}

func TestSMSTriesAgainWhenTheProviderIsDown(t *testing.T) {
	ctx := t.Context()
	sms, p := setup(t)
	k := appiotest.New(t, &appio.Options{Channels: []appio.Route{sms.Route()}})
	school := k.Service("mensa")
	require.NoError(t, ownchannel.Choose(ctx, k.Person(appiotest.Anna, appio.Auto), number, k.Now()))
	for _, status := range []int{http.StatusInternalServerError, http.StatusUnauthorized, http.StatusFound} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			before := len(p.got())
			p.answer(status)
			_, err := school.Send(ctx, appiotest.Message(appiotest.Anna))
			require.NoError(t, err)
			_, err = k.Flush(ctx)
			require.NoError(t, err)
			require.Len(t, p.got(), before)
			p.answer(0)
			k.Advance(30 * time.Minute)
			require.Len(t, p.got(), before+1)
		})
	}
}
