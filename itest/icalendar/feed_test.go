package icalendar

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	ics "github.com/arran4/golang-ical"
	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/internal/mutate"
	"github.com/appio-go/appio/store/memstore"
)

// TestFeedOfHostileMessages: an engine's feed of messages whose writers try to add to the citizen's calendar.
func TestFeedOfHostileMessages(t *testing.T) {
	t.Parallel()
	const mario fiscalcode.Person = "RSSMRA85M10H501S"
	const many = 250 // some pages
	ctx, random := t.Context(), rand.New(rand.NewPCG(form.Seed(t), 1))
	eng, err := appio.New(memstore.New(), &appio.Options{Keys: appio.RandomKeys()})
	require.NoError(t, err)
	defer eng.Close()
	hostile := func() string { // a subject or a name: 10 to 110 UTF-16 units
		text := []rune("Scadenza: " + strings.ToValidUTF8(string(mutate.Bytes(random, seeds)), "\uFFFD"))
		return string(text[:min(len(text), 55)])
	}
	service := appio.Service{ID: "tari", Name: hostile(), Organization: "01199250158", State: appio.Live}
	require.NoError(t, eng.PutService(ctx, service))
	citizen := eng.Citizen(appio.Identity{Code: mario, Level: appio.L2})
	require.NoError(t, citizen.SetMode(ctx, appio.Auto))
	var want []string
	for range many {
		m := appio.Message{To: mario, Subject: hostile(), Markdown: strings.Repeat("Paga. ", 20), Due: time.Now().Add(time.Hour)}
		_, err := eng.Sender("tari").Send(ctx, m)
		require.NoError(t, err)
		want = append(want, normal(m.Subject))
	}
	slices.Reverse(want)
	var feed strings.Builder
	require.NoError(t, citizen.CalendarFeed(ctx, &feed, nil))
	require.NotContains(t, feed.String(), string(mario))

	parsed, err := ics.ParseCalendar(strings.NewReader(feed.String()))
	require.NoError(t, err)
	require.Len(t, parsed.Components, many)
	var got []string
	uids := map[string]bool{}
	for _, ev := range parsed.Events() {
		have := properties(ev.Properties)
		require.Len(t, have, 9, "%q", have)
		require.Equal(t, []string{normal(service.Name)}, have["DESCRIPTION"])
		require.Len(t, have["SUMMARY"], 1)
		got = append(got, have["SUMMARY"]...)
		uids[fmt.Sprint(have["UID"])] = true
		require.Len(t, ev.Alarms(), 1)
	}
	require.Equal(t, want, got)
	require.Len(t, uids, many)
}
