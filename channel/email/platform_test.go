package email_test

import (
	"crypto/ed25519"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store/memstore"
)

const (
	maria  = "BNCMRA80A41H501F"
	comune = "01199250158"
	text   = "Gentile cittadina, la retta della mensa di ottobre è di 84,50 euro. Si può pagare fino alla fine di novembre."
)

// A platform is an engine with one service, and one person whose e-mail address is proved.
type platform struct {
	*appio.Engine
	t       testing.TB
	ahead   atomic.Int64
	citizen *appio.Citizen
}

func newPlatform(t testing.TB, c appio.Channel, changes ...func(*appio.Options)) *platform {
	t.Helper()
	ctx := t.Context()
	w := &platform{t: t}
	o := &appio.Options{
		Plain: true, Now: func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) },
		Backoff:  func(int) time.Duration { return time.Minute },
		Channels: []appio.Route{{Name: appio.Email, Channel: c, Bounces: true}},
	}
	for _, change := range changes {
		change(o)
	}
	var err error
	w.Engine, err = appio.New(memstore.New(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.Close()) })
	require.NoError(t, w.PutService(ctx, appio.Service{ID: "mensa", Name: "Mensa scolastica", Organization: comune, State: appio.Live, MaxPayment: 100_00}))
	w.citizen = w.Engine.Citizen(appio.Identity{Code: maria, Level: appio.L2})
	require.NoError(t, w.citizen.SetMode(ctx, appio.Auto))
	require.NoError(t, w.citizen.UpdateProfile(ctx, func(p *appio.Profile) error {
		p.Channels = appio.On(appio.Email)
		p.Addresses = []appio.Address{{ID: "home", Channel: appio.Email, Value: "maria.bianchi@example.org", ValidatedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}}
		return nil
	}))
	return w
}

func (w *platform) advance(d time.Duration) { w.ahead.Add(int64(d)) }

func (w *platform) send() appio.MessageID {
	w.t.Helper()
	r, err := w.Sender("mensa").Send(w.t.Context(), appio.Message{To: maria, Subject: "Mensa: retta di ottobre", Markdown: text})
	require.NoError(w.t, err)
	require.Equal(w.t, appio.Processed, r.Status)
	return r.ID
}

// flush is how many deliveries were tried.
func (w *platform) flush() int {
	w.t.Helper()
	n, err := w.Flush(w.t.Context())
	require.NoError(w.t, err)
	return n
}

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	return key
}
