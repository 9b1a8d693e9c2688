package appio_test

import (
	"context"
	"encoding/json"
	"errors"
	"expvar"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/appiotest"
	"github.com/appio-go/appio/fiscalcode"
)

// A fixedAnswer is a channel that answers the same to all.
type fixedAnswer struct{ next error }

func (a *fixedAnswer) Deliver(context.Context, appio.Delivery) error { return a.next }

func TestCounts(t *testing.T) {
	t.Parallel()
	ctx, channel := t.Context(), &fixedAnswer{}
	k := appiotest.New(t, &appio.Options{
		MaxAttempts: 2, Backoff: func(int) time.Duration { return time.Minute },
		Channels: []appio.Route{{Name: appio.Email, Channel: channel}, {Name: appio.Push, Channel: channel}},
	})
	s := k.Service("tari")
	send := func(to fiscalcode.Person, key string) {
		t.Helper()
		m := appiotest.Message(to)
		m.Key = key
		_, err := s.Send(ctx, m)
		require.NoError(t, err)
	}
	flush := func() {
		t.Helper()
		_, err := k.Flush(ctx)
		require.NoError(t, err)
	}
	const anna, bruno, carla = fiscalcode.Person("NNANNA80A41H501A"), fiscalcode.Person("BRNBRN75B15F205B"), fiscalcode.Person("CRLCRL90C50L219C")
	byEmail := func(p *appio.Profile) error {
		p.Channels = appio.Channels{appio.Email: appio.Full}
		return nil
	}
	citizen := k.Person(anna, appio.Auto)
	require.NoError(t, citizen.UpdateProfile(ctx, byEmail))
	k.Person(bruno, appio.Manual)

	zero := k.Counts()
	require.Len(t, zero.Decided, 9)
	require.Len(t, zero.Attempts, 7)
	for _, n := range zero.Decided {
		require.Zero(t, n)
	}

	send(anna, "one")
	send(anna, "one") // the same message
	send(bruno, "")
	send(carla, "")
	_, err := s.Send(ctx, appio.Message{To: anna})
	require.ErrorIs(t, err, appio.ErrInvalid)
	c := k.Counts()
	require.EqualValues(t, 1, c.Decided[appio.RuleModeAuto])
	require.EqualValues(t, 1, c.Decided[appio.RuleModeManual])
	require.EqualValues(t, 1, c.Decided[appio.RuleUnknown])
	require.Zero(t, c.Decided[appio.RuleServiceChosen])

	flush() // delivered
	channel.next = errors.New("later")
	send(anna, "two")
	flush() // failed
	channel.next = appio.Permanent(errors.New("never"))
	send(anna, "three")
	flush()
	send(anna, "four")
	require.NoError(t, citizen.SetPreference(ctx, "tari", appio.Preference{Inbox: true, Channels: appio.Channels{}}))
	flush()
	c = k.Counts()
	require.EqualValues(t, 1, c.Attempts["delivered"])
	require.EqualValues(t, 1, c.Attempts["failed"])
	require.EqualValues(t, 1, c.Attempts["permanent"])
	require.EqualValues(t, 0, c.Attempts["gone"])
}

// The names are those of docs/operations.md, and each figure is what it says it is.
func TestVars(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	e, err := appio.Open(filepath.Join(t.TempDir(), "io.db"), &appio.Options{
		Channels: []appio.Route{{Name: appio.Email, Channel: &fixedAnswer{}, ByCode: true}},
	})
	require.NoError(t, err)
	defer e.Close()
	require.NoError(t, e.PutService(ctx, appio.Service{ID: "tari", Name: "Tari", Organization: "01199250158", State: appio.Live}))
	anna := e.Citizen(appio.Identity{Code: "NNANNA80A41H501A", Level: appio.L2})
	require.NoError(t, anna.SetMode(ctx, appio.Auto))
	require.NoError(t, anna.UpdateProfile(ctx, func(p *appio.Profile) error { p.Channels = appio.On(appio.Email); return nil }))
	_, err = e.Sender("tari").Send(ctx, appiotest.Message("NNANNA80A41H501A"))
	require.NoError(t, err)

	var v expvar.Var = e.Vars()
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(v.String()), &got))
	operations, err := os.ReadFile("docs/operations.md")
	require.NoError(t, err)
	for name := range got {
		require.Contains(t, string(operations), "`"+name, "docs/operations.md")
	}
	require.EqualValues(t, 1, got["appio_up"])
	require.EqualValues(t, 1, got["appio_deliveries_waiting"])
	require.EqualValues(t, 0, got["appio_deliveries_parked"])
	require.Greater(t, got["appio_deliveries_oldest_due_seconds"], 0.0)
	require.Greater(t, got["appio_store_bytes"], 0.0)
	require.GreaterOrEqual(t, got["appio_store_bytes"], got["appio_store_free_bytes"])
	require.EqualValues(t, 1, got["appio_decisions_total"].(map[string]any)["mode-auto"])
	require.NotContains(t, strings.ToUpper(v.String()), "NNANNA80A41H501A")
	_, err = e.Flush(ctx)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal([]byte(v.String()), &got))
	require.EqualValues(t, 0, got["appio_deliveries_waiting"])
	require.EqualValues(t, 1, got["appio_attempts_total"].(map[string]any)["delivered"])

	h, err := e.Health(ctx)
	require.NoError(t, err)
	require.Positive(t, h.Size.Bytes)

	require.NoError(t, e.Close())
	got = nil
	require.NoError(t, json.Unmarshal([]byte(v.String()), &got))
	require.EqualValues(t, 0, got["appio_up"])
	require.NotContains(t, got, "appio_deliveries_waiting", "what is not known is not said")
}
