package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

// What the real system makes of each kind of citizen, service and message, and what this one does where it decides otherwise.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	secure := with{"require_secure_channels": true}
	preference := func(inbox, email, push bool) with {
		return with{"inbox": inbox, "email": email, "push": push}
	}
	activation := func(status string, seconds int) with {
		return with{"status": status, "age_seconds": seconds}
	}
	special := with{"category": "SPECIAL"}
	payment := with{"payment_data": with{"amount": 5000, "notice_number": "302032002700000251"}}
	manual := with{"mode": "MANUAL"}

	rows := []struct {
		name       string
		unknown    bool // no entry in citizens.json
		citizen    with
		preference with
		activation with
		service    with
		content    with

		status, rule string
		channels     channels
	}{
		{name: "1: no profile", unknown: true, status: "REJECTED", rule: "unknown", channels: nothing},
		{name: "2: inbox off", citizen: with{"inbox": false}, status: "REJECTED", rule: "inbox-off", channels: nothing},
		{name: "no mode chosen", citizen: with{"mode": nil}, status: "REJECTED", rule: "undecided", channels: nothing},
		{name: "4: AUTO", status: "PROCESSED", rule: "mode-auto", channels: everything},
		{name: "5: e-mail off", citizen: with{"email": with{"address": "c@example.it", "validated": true, "enabled": false}},
			status: "PROCESSED", rule: "mode-auto", channels: channels{true, false, "full"}},
		{name: "6: e-mail not validated", citizen: with{"email": with{"address": "c@example.it", "enabled": true}},
			status: "PROCESSED", rule: "mode-auto", channels: channels{true, false, "full"}},
		{name: "7: no e-mail address", citizen: with{"email": with{"validated": true, "enabled": true}},
			status: "PROCESSED", rule: "mode-auto", channels: channels{true, false, "full"}},
		{name: "7: nothing about e-mail", citizen: with{"email": nil},
			status: "PROCESSED", rule: "mode-auto", channels: channels{true, false, "full"}},
		{name: "8: push off", citizen: with{"push": with{"enabled": false, "content": "FULL"}},
			status: "PROCESSED", rule: "mode-auto", channels: channels{true, true, "no"}},
		{name: "9: AUTO, service refused", preference: preference(false, true, true),
			status: "REJECTED", rule: "service-refused", channels: nothing},
		{name: "10: AUTO, e-mail of the service refused, which is honoured", preference: preference(true, false, true),
			status: "PROCESSED", rule: "service-chosen", channels: channels{true, false, "full"}},
		{name: "11: AUTO, push of the service refused", preference: preference(true, true, false),
			status: "PROCESSED", rule: "service-chosen", channels: channels{true, true, "no"}},
		{name: "12: MANUAL", citizen: manual, status: "REJECTED", rule: "mode-manual", channels: nothing},
		{name: "13: MANUAL, service chosen", citizen: manual, preference: preference(true, true, true),
			status: "PROCESSED", rule: "service-chosen", channels: everything},
		{name: "14: MANUAL, only the inbox chosen, which is honoured", citizen: manual, preference: preference(true, false, false),
			status: "PROCESSED", rule: "service-chosen", channels: channels{true, false, "no"}},
		{name: "15: MANUAL, all chosen but the inbox", citizen: manual, preference: preference(false, true, true),
			status: "REJECTED", rule: "service-refused", channels: nothing},
		{name: "21: secure service", service: secure,
			status: "PROCESSED", rule: "mode-auto", channels: channels{true, false, "anonymous"}},
		{name: "22: secure service, a message that would loosen it in vain", service: secure, content: with{"require_secure_channels": false},
			status: "PROCESSED", rule: "mode-auto", channels: channels{true, false, "anonymous"}},
		{name: "23: secure message, for push too", content: secure,
			status: "PROCESSED", rule: "mode-auto", channels: channels{true, false, "anonymous"}},
		{name: "26: push ANONYMOUS", citizen: with{"push": with{"content": "ANONYMOUS"}},
			status: "PROCESSED", rule: "mode-auto", channels: channels{true, true, "anonymous"}},
		{name: "27: push content not chosen", citizen: with{"push": with{"enabled": true}},
			status: "PROCESSED", rule: "mode-auto", channels: channels{true, true, "anonymous"}},
		{name: "27: nothing about push", citizen: with{"push": nil},
			status: "PROCESSED", rule: "mode-auto", channels: channels{true, true, "anonymous"}},
		{name: "29: SPECIAL, MANUAL, active", service: special, citizen: manual, activation: activation("ACTIVE", 0),
			status: "PROCESSED", rule: "activated", channels: everything},
		{name: "30: SPECIAL, AUTO, no activation", service: special,
			status: "REJECTED", rule: "not-activated", channels: nothing},
		{name: "31: SPECIAL, AUTO, pending for an hour", service: special, activation: activation("PENDING", 3600),
			status: "PROCESSED", rule: "activated", channels: everything},
		{name: "32: SPECIAL, AUTO, pending for 25 hours", service: special, activation: activation("PENDING", 90000),
			status: "REJECTED", rule: "not-activated", channels: nothing},
		{name: "SPECIAL, AUTO, pending for a day exactly", service: special, activation: activation("PENDING", 86400),
			status: "REJECTED", rule: "not-activated", channels: nothing},
		{name: "SPECIAL, MANUAL, active for 25 hours", service: special, citizen: manual, activation: activation("ACTIVE", 90000),
			status: "PROCESSED", rule: "activated", channels: everything},
		{name: "33: SPECIAL, AUTO, inactive but chosen", service: special, activation: activation("INACTIVE", 0), preference: preference(true, true, true),
			status: "REJECTED", rule: "not-activated", channels: nothing},
		{name: "34: SPECIAL, active, refused but for e-mail", service: special, activation: activation("ACTIVE", 0), preference: preference(false, true, false),
			status: "PROCESSED", rule: "activated", channels: channels{true, true, "no"}},
		{name: "SPECIAL, active, master switch off", service: special, activation: activation("ACTIVE", 0), citizen: with{"inbox": false},
			status: "REJECTED", rule: "inbox-off", channels: nothing},
		{name: "an activation by a STANDARD service", activation: activation("ACTIVE", 0), citizen: manual,
			status: "REJECTED", rule: "mode-manual", channels: nothing},
		{name: "41: payment without leave", content: payment, status: "ERROR", channels: nothing},
		{name: "42: payment of the maximum", content: payment, service: with{"max_allowed_payment_amount": 5000},
			status: "PROCESSED", rule: "mode-auto", channels: everything},
		{name: "44: e-mail and push off", citizen: with{"email": with{"address": "c@example.it", "validated": true}, "push": with{"enabled": false}},
			status: "PROCESSED", rule: "mode-auto", channels: channels{true, false, "no"}},
		{name: "absent members of a preference are false", preference: with{"inbox": true},
			status: "PROCESSED", rule: "service-chosen", channels: channels{true, false, "no"}},
		{name: "an empty preference", preference: with{}, status: "REJECTED", rule: "service-refused", channels: nothing},
	}

	d := newDir(t)
	emails, pushes := 0, 0
	for i, row := range rows {
		id := fmt.Sprint("service-", i)
		d.service(id, row.service)
		d.message(id, person(i), nil, row.content)
		if row.unknown {
			continue
		}
		c := with{}
		maps.Copy(c, row.citizen)
		if row.preference != nil {
			c["preferences"] = with{id: row.preference}
		}
		if row.activation != nil {
			c["activations"] = with{id: row.activation}
		}
		d.citizen(person(i), c)
	}
	db := filepath.Join(t.TempDir(), "io.db")
	a := start(t, "-dir", d.write(), "-db", db)
	require.Equal(t, 0, a.exit, a.stderr)
	require.Len(t, a.results, len(rows))
	for i, row := range rows {
		got := a.results[i]
		require.Equal(t, i+1, got.Line)
		require.Equal(t, row.status, got.Status, "%s: %s", row.name, got.Error)
		require.Equal(t, row.rule, got.Rule, row.name)
		require.Equal(t, row.channels, got.Channels, row.name)
		if got.Channels.Email {
			emails++
		}
		if got.Channels.Push != "no" {
			pushes++
		}
	}
	require.Equal(t, map[string]int64{"email": int64(emails), "push": int64(pushes)}, a.total.Deliveries)

	t.Run("every stored decision replays", func(t *testing.T) {
		eng := open(t, db)
		for i, r := range a.results {
			if r.Status == "ERROR" {
				continue
			}
			record, err := eng.Explain(t.Context(), fiscalcode.Person(person(i)), appio.MessageID(r.ID))
			require.NoError(t, err, rows[i].name)
			require.Equal(t, appio.Rule(r.Rule), record.Decision.Rule)
			require.True(t, appio.Decide(record.Facts).Equal(record.Decision), "%s: %+v", rows[i].name, record)
		}
	})
}

// open opens a database that a run has left.
func open(t *testing.T, db string) *appio.Engine {
	t.Helper()
	eng, err := appio.Open(db, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, eng.Close()) })
	return eng
}
