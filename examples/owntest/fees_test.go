package owntest_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/appiotest"
	"github.com/appio-go/appio/examples/owntest"
	"github.com/appio-go/appio/fiscalcode"
)

func TestRemind(t *testing.T) {
	ctx := t.Context()
	k := appiotest.New(t, nil)
	school := k.Service("mensa")
	mario := k.Person(appiotest.Mario, appio.Auto)
	k.Person(appiotest.Anna, appio.Manual) // has not chosen the school

	letters, err := owntest.Remind(ctx, school, []appio.Message{
		appiotest.Message(appiotest.Mario), appiotest.Message(appiotest.Anna),
	})
	require.NoError(t, err)
	require.Equal(t, []fiscalcode.Person{appiotest.Anna}, letters)

	t.Run("a provider that is down is asked again", func(t *testing.T) {
		k.Push.Fail = func(appio.Delivery) error { return errors.New("provider down") }
		_, err := k.Flush(ctx)
		require.NoError(t, err)
		require.Empty(t, k.Push.Deliveries())

		k.Push.Fail = nil
		k.Advance(time.Hour)
		pushes := k.Push.Deliveries()
		require.Len(t, pushes, 1)
		require.Equal(t, appio.Generic, pushes[0].Content)
		require.Empty(t, pushes[0].Subject)
	})

	t.Run("no e-mail after the citizen has turned it off", func(t *testing.T) {
		_, err := owntest.Remind(ctx, school, []appio.Message{appiotest.Message(appiotest.Mario)})
		require.NoError(t, err)
		k.Email.Reset()
		require.NoError(t, mario.SetPreference(ctx, school.ID(), appio.Preference{Inbox: true, Channels: appio.On(appio.Push)}))
		k.Advance(time.Hour)
		require.Empty(t, k.Email.Deliveries())
	})
}

// The rule alone, without an engine.
func TestDecide(t *testing.T) {
	d := appio.Decide(appio.Facts{
		Known: true, Mode: appio.Auto, Inbox: true, Secure: true,
		Channels: []appio.ChannelFacts{
			{Name: appio.Push, Switch: appio.Full, Secure: appio.Generic, Address: true, Validated: true},
		},
	})
	require.Equal(t, appio.Decision{
		Status: appio.Processed, Rule: appio.RuleModeAuto,
		Channels: []appio.ChannelDecision{{Name: appio.Push, Content: appio.Generic, Rule: appio.RuleSecure}},
	}, d)
}
