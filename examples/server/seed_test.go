package main

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/appiotest"
	"github.com/appio-go/appio/fiscalcode"
)

// A second start changes nothing that somebody did since the first, and takes what the seed says otherwise.
func TestPlantedAgain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	eng := appiotest.New(t, nil).Engine
	s, err := parseSeed(example)
	require.NoError(t, err)
	first, err := s.plant(ctx, eng)
	require.NoError(t, err)
	require.Len(t, first, 5)

	// Luigi refuses the service that he had chosen, Mario's choices are the seed's, and a service has another key, or is gone.
	me := func(code string) *appio.Citizen {
		id, err := s.login(&http.Request{Header: http.Header{"Authorization": {"Bearer " + code}}})
		require.NoError(t, err)
		return eng.Citizen(id)
	}
	require.NoError(t, me("token-luigi").SetPreference(ctx, "tari", appio.Preference{}))
	comune, asl := eng.Authority("90012340569"), eng.Authority("90076540328")
	renewed, err := comune.NewKey(ctx, "tari", appio.Primary)
	require.NoError(t, err)
	require.NotEqual(t, first["key-tari"], renewed)
	require.NoError(t, asl.Delete(ctx, "referti"))
	consents := history(t, me("token-mario"))

	s, err = parseSeed([]byte(strings.Replace(string(example), `"token-paolo"`, `"token-paolo", "mode": "AUTO"`, 1)))
	require.NoError(t, err)
	again, err := s.plant(ctx, eng)
	require.NoError(t, err)
	require.Equal(t, renewed, again["key-tari"])
	require.NotContains(t, again, "key-referti")
	require.Equal(t, first["manage-borgo-san-lucio"], again["manage-borgo-san-lucio"])
	p, err := me("token-luigi").Preference(ctx, "tari")
	require.NoError(t, err)
	require.False(t, p.Inbox)
	require.Equal(t, consents, history(t, me("token-mario")))
	paolo, err := me("token-paolo").Profile(ctx)
	require.NoError(t, err)
	require.Equal(t, appio.Auto, paolo.Mode)

	// Who has been erased stays so.
	require.NoError(t, me("token-mario").Erase(ctx))
	_, err = eng.Flush(ctx)
	require.NoError(t, err)
	_, err = s.plant(ctx, eng)
	require.NoError(t, err)
	mario, err := me("token-mario").Profile(ctx)
	require.NoError(t, err)
	require.Zero(t, mario.Version)
}

// An address that is two people's is proved by one.
func TestOneAddressForTwo(t *testing.T) {
	t.Parallel()
	kit := appiotest.New(t, &appio.Options{Channels: []appio.Route{{Name: appio.Email, Unique: true, Channel: appio.ChannelFunc(
		func(context.Context, appio.Delivery) error { return nil })}}})
	const both = `"mode": "AUTO", "email": {"address": "casa@example.it", "validated": true, "enabled": true}}`
	s, err := parseSeed([]byte(`{"citizens": [{"fiscal_code": "` + mario + `", ` + both + `, {"fiscal_code": "` + luigi + `", ` + both + `]}`))
	require.NoError(t, err)
	for range 2 { // a second start, too
		_, err = s.plant(t.Context(), kit.Engine)
		require.NoError(t, err)
		proved := 0
		for _, code := range []fiscalcode.Person{mario, luigi} {
			p, err := kit.Citizen(appio.Identity{Code: code}).Profile(t.Context())
			require.NoError(t, err)
			require.Equal(t, "casa@example.it", p.Addresses[0].Value)
			if !p.Addresses[0].ValidatedAt.IsZero() {
				proved++
			}
		}
		require.Equal(t, 1, proved)
	}
}

func history(t *testing.T, c *appio.Citizen) (all []appio.ConsentRecord) {
	for r, err := range c.Consents().All(t.Context()) {
		require.NoError(t, err)
		all = append(all, r)
	}
	require.NotEmpty(t, all)
	return all
}
