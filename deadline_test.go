package appio_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store/memstore"
)

// A vevent is what an event of a calendar says, by property; alarms are under ALARMS.
type vevent map[string]string

func (v vevent) sequence(t *testing.T) int {
	n, err := strconv.Atoi(v["SEQUENCE"])
	require.NoError(t, err)
	return n
}

// events reads a calendar, line by line; package calendar's own tests are about the format.
func events(t *testing.T, text string) (all []vevent) {
	t.Helper()
	require.True(t, strings.HasPrefix(text, "BEGIN:VCALENDAR\r\n") && strings.HasSuffix(text, "END:VCALENDAR\r\n"), text)
	in := ""
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\r\n ", ""), "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		switch {
		case name == "BEGIN":
			if in = value; in == "VEVENT" {
				all = append(all, vevent{})
			}
		case line == "END:VALARM":
			in = "VEVENT"
		case name == "END":
			in = ""
		case in == "VEVENT" && len(all) > 0:
			require.NotContains(t, all[len(all)-1], name)
			all[len(all)-1][name] = value
		case in == "VALARM" && name == "TRIGGER":
			all[len(all)-1]["ALARMS"] += value + " "
		}
	}
	return all
}

func feedOf(t *testing.T, c *appio.Citizen, opts *appio.CalendarOptions) []vevent {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, c.CalendarFeed(t.Context(), &b, opts))
	return events(t, b.String())
}

func fileOf(t *testing.T, c *appio.Citizen, id appio.MessageID, opts *appio.CalendarOptions) vevent {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, c.Calendar(t.Context(), id, &b, opts))
	all := events(t, b.String())
	require.Len(t, all, 1)
	return all[0]
}

func due(at string) func(*appio.Message) {
	return func(m *appio.Message) {
		var err error
		if m.Due, err = time.Parse(time.RFC3339Nano, at); err != nil {
			panic(err)
		}
	}
}

const midsummer = "2099-06-21T21:59:59Z" // ends the day in Italy

// deadlineTown has an organization with a name, a service and a citizen.
func deadlineTown(t *testing.T) (*town, *appio.Sender, *appio.Citizen) {
	w := newTown(t, withPayments(&gateway{}))
	require.NoError(t, w.PutOrganization(t.Context(), appio.Organization{Code: comune, Name: "Comune di Esempio"}))
	return w, w.put(), w.enrol(giuseppe, appio.Auto)
}

func TestCalendar(t *testing.T) {
	t.Parallel()
	t.Run("of a message", func(t *testing.T) {
		t.Parallel()
		w, s, c := deadlineTown(t)
		id := w.send(s, messageTo(giuseppe, due(midsummer)))
		m, err := c.Message(t.Context(), id)
		require.NoError(t, err)
		var b bytes.Buffer
		require.NoError(t, c.Calendar(t.Context(), id, &b, nil))
		sent := m.SentAt.Format("20060102T150405Z")
		got := regexp.MustCompile(`UID:[0-9a-f]{32}\r`).ReplaceAllString(b.String(), "UID:X\r")
		require.Equal(t, strings.ReplaceAll(`BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//appio//appio//EN
BEGIN:VEVENT
UID:X
DTSTAMP:`+sent+`
DTSTART;VALUE=DATE:20990621
SEQUENCE:0
STATUS:CONFIRMED
TRANSP:TRANSPARENT
SUMMARY:La mensa riapre lunedì
DESCRIPTION:Mensa scolastica\nComune di Esempio
LAST-MODIFIED:`+sent+`
BEGIN:VALARM
ACTION:DISPLAY
TRIGGER:-PT15H
DESCRIPTION:La mensa riapre lunedì
END:VALARM
END:VEVENT
END:VCALENDAR
`, "\n", "\r\n"), got)
	})
	t.Run("is a day where it ends one in Italy, and else a moment", func(t *testing.T) {
		t.Parallel()
		w, s, c := deadlineTown(t)
		for at, want := range map[string]string{
			midsummer:                        "20990621 -PT15H ",
			"2099-06-21T21:59:00Z":           "20990621 -PT15H ",
			"2099-06-21T22:00:00Z":           "20990621 -PT15H ", // the midnight after
			"2099-06-21T22:00:00.000001Z":    "20990621T220000Z -P1D ",
			"2099-06-21T22:00:01Z":           "20990621T220001Z -P1D ",
			"2099-06-21T21:58:59.999999Z":    "20990621T215859Z -P1D ",
			"2099-06-21T23:59:59Z":           "20990621T235959Z -P1D ", // a quarter of the day in UTC is none in Italy
			"2099-06-21T00:00:00Z":           "20990621T000000Z -P1D ",
			"2099-12-31T22:59:59.999999Z":    "20991231 -PT15H ",
			"2099-12-31T23:00:00Z":           "20991231 -PT15H ",
			"2099-12-31T21:59:59Z":           "20991231T215959Z -P1D ",
			"2099-03-29T23:59:59+02:00":      "20990329 -PT15H ", // an hour was left out of it
			"2099-10-25T23:59:00.5+01:00":    "20991025 -PT15H ",
			"9999-12-31T22:59:59Z":           "99991231 -PT15H ",
			"9999-12-31T23:00:00Z":           "99991231 -PT15H ",
			"9999-12-31T23:59:59.999999999Z": "99991231T235959Z -P1D ", // the year 10000 in Italy
			"0001-01-01T00:00:00.000001Z":    "00010101T000000Z ",
		} {
			got := fileOf(t, c, w.send(s, messageTo(giuseppe, due(at))), nil)
			require.Equal(t, want, cmp.Or(got["DTSTART"], got["DTSTART;VALUE=DATE"])+" "+got["ALARMS"], at)
		}
		require.Len(t, feedOf(t, c, nil), 17)
	})
	t.Run("has the alarms that are asked for, while there is time", func(t *testing.T) {
		t.Parallel()
		w, s, c := deadlineTown(t)
		id := w.send(s, messageTo(giuseppe, func(m *appio.Message) { m.Due = w.now().Add(time.Hour) }))
		for want, alarms := range map[string][]time.Duration{"-P1D ": nil, "": {}, "-PT0S -PT1M30S -P7D ": {0, 90 * time.Second, 7 * 24 * time.Hour}} {
			o := &appio.CalendarOptions{Alarms: alarms}
			require.Equal(t, want, fileOf(t, c, id, o)["ALARMS"])
			require.Equal(t, want, feedOf(t, c, o)[0]["ALARMS"])
		}
		w.advance(time.Hour + time.Second)
		require.Empty(t, fileOf(t, c, id, &appio.CalendarOptions{Alarms: []time.Duration{0}})["ALARMS"])
		require.Equal(t, "CONFIRMED", fileOf(t, c, id, nil)["STATUS"], "it was missed, and that stays")
	})
	t.Run("is told of what is wrong", func(t *testing.T) {
		t.Parallel()
		w, s, c := deadlineTown(t)
		ctx := t.Context()
		id, none := w.send(s, messageTo(giuseppe, due(midsummer))), w.send(s, messageTo(giuseppe))
		var b bytes.Buffer
		for _, o := range []appio.CalendarOptions{
			{Alarms: make([]time.Duration, 11)}, {Alarms: []time.Duration{-time.Second}}, {Alarms: []time.Duration{time.Millisecond}},
			{Refresh: -time.Second}, {Refresh: time.Microsecond},
		} {
			require.ErrorIs(t, c.Calendar(ctx, id, &b, &o), appio.ErrInvalid)
			require.ErrorIs(t, c.CalendarFeed(ctx, &b, &o), appio.ErrInvalid)
		}
		require.ErrorIs(t, c.Calendar(ctx, none, &b, nil), appio.ErrNotFound)
		require.ErrorIs(t, c.Calendar(ctx, "no id", &b, nil), appio.ErrNotFound)
		require.ErrorIs(t, w.enrol(matteo, appio.Auto).Calendar(ctx, id, &b, nil), appio.ErrNotFound, "another's")
		require.ErrorIs(t, w.person("nobody").Calendar(ctx, id, &b, nil), appio.ErrInvalid)
		require.ErrorIs(t, w.person("nobody").CalendarFeed(ctx, &b, nil), appio.ErrInvalid)
		require.NoError(t, c.Erase(ctx))
		require.ErrorIs(t, c.Calendar(ctx, id, &b, nil), appio.ErrErasing)
		require.ErrorIs(t, c.CalendarFeed(ctx, &b, nil), appio.ErrErasing)
		require.Empty(t, b.Bytes(), "nothing was written")
		w.flush()
		require.ErrorIs(t, c.Calendar(ctx, id, &b, nil), appio.ErrNotFound)
		require.Empty(t, feedOf(t, c, nil), "who is not known has an empty calendar, as an empty inbox")
		require.ErrorIs(t, c.CalendarFeed(ctx, brokenWriter{}, nil), errBroken)
		canceled, cancel := context.WithCancel(ctx)
		cancel()
		require.ErrorIs(t, c.CalendarFeed(canceled, &b, nil), context.Canceled)
	})
}

func TestCalendarFeed(t *testing.T) {
	t.Parallel()
	t.Run("has what is in the inbox and due, and notices from paper", func(t *testing.T) {
		t.Parallel()
		w, s, c := deadlineTown(t)
		ctx := t.Context()
		send := func(subject string, changes ...func(*appio.Message)) appio.MessageID {
			m := messageTo(giuseppe, changes...)
			m.Subject = subject
			return w.send(s, m)
		}
		first := send("La prima scadenza", due(midsummer))
		send("Senza scadenza", withNotice)
		archived := send("Una scadenza archiviata", due(midsummer))
		send("Da pagare entro l'estate", due(midsummer), withNotice)
		require.NoError(t, c.Archive(ctx, archived, true))
		_, err := c.ScanNotice(ctx, "01199250158 301202400000000164")
		require.NoError(t, err)
		_, err = c.ScanNotice(ctx, "01199250158 "+string(notice)) // which came with a message too
		require.NoError(t, err)

		var b bytes.Buffer
		require.NoError(t, c.CalendarFeed(ctx, &b, &appio.CalendarOptions{Name: "Scadenze, tutte", Refresh: 12 * time.Hour}))
		require.Contains(t, b.String(), "\r\nNAME:Scadenze\\, tutte\r\n")
		require.Contains(t, b.String(), "\r\nREFRESH-INTERVAL;VALUE=DURATION:PT12H\r\n")
		require.NotContains(t, b.String(), string(giuseppe))
		require.NotContains(t, b.String(), "METHOD")
		all := events(t, b.String())
		var summaries []string
		for _, ev := range all {
			summaries = append(summaries, ev["SUMMARY"])
		}
		require.Equal(t, []string{"Da pagare entro l'estate", "La prima scadenza", "TARI 2026"}, summaries)
		require.Equal(t, "20270630", all[2]["DTSTART;VALUE=DATE"])
		require.Equal(t, "Comune di Esempio", all[2]["DESCRIPTION"])
		require.Equal(t, fileOf(t, c, first, nil), all[1], "a file says the same")
		require.NotEmpty(t, fileOf(t, c, archived, nil), "of what is archived there still is a file")
	})
	t.Run("does not say what must not leave by e-mail", func(t *testing.T) {
		t.Parallel()
		w, _, c := deadlineTown(t)
		secure := w.put(func(s *appio.Service) { s.ID, s.Name, s.SecureChannels = "fse", "Fascicolo sanitario", true })
		s := w.put()
		ids := []appio.MessageID{
			w.send(secure, messageTo(giuseppe, due(midsummer))),
			w.send(s, messageTo(giuseppe, due(midsummer), func(m *appio.Message) { m.SecureChannels = true })),
			w.send(s, messageTo(giuseppe, due(midsummer))),
		}
		feed := feedOf(t, c, nil)
		slices.Reverse(feed)
		for i, want := range []string{"Fascicolo sanitario", "Mensa scolastica", subject} {
			require.Equal(t, want, feed[i]["SUMMARY"])
			require.Contains(t, feed[i]["DESCRIPTION"], "Comune di Esempio")
			require.Equal(t, i == 2, strings.Contains(fmt.Sprint(feed[i]), subject), "the alarm neither")
			require.Equal(t, subject, fileOf(t, c, ids[i], nil)["SUMMARY"], "the citizen asks for this one")
		}
	})
	t.Run("names events by what tells nobody whose they are", func(t *testing.T) {
		t.Parallel()
		kept := memstore.New()
		w := newTownOn(t, kept, withPayments(&gateway{}))
		s := w.put()
		seen := map[string]bool{}
		var before [][]vevent
		for _, code := range []fiscalcode.Person{giuseppe, matteo} {
			c := w.enrol(code, appio.Auto)
			_, err := c.ScanNotice(t.Context(), "01199250158 "+string(notice))
			require.NoError(t, err)
			for range 3 {
				w.send(s, messageTo(code, due(midsummer)))
			}
			all := feedOf(t, c, nil)
			require.Len(t, all, 4)
			for _, ev := range all {
				require.Regexp(t, `^[0-9a-f]{32}$`, ev["UID"])
				require.False(t, seen[ev["UID"]], "once, also of the same notice")
				seen[ev["UID"]] = true
			}
			before = append(before, all)
		}
		again := newTownOn(t, kept, withPayments(&gateway{}))
		require.Equal(t, before[0], feedOf(t, again.person(giuseppe), nil), "another process calls them the same")
		require.Equal(t, before[1], feedOf(t, again.person(matteo), nil))
	})
	t.Run("calls another due day of a notice from paper another event", func(t *testing.T) {
		t.Parallel()
		g := &gateway{}
		day := time.Date(2099, 6, 30, 0, 0, 0, 0, time.UTC)
		g.verify = func(id pagopa.RPTID) (appio.Debt, error) {
			return appio.Debt{RPTID: id, Amount: 1, Due: day}, nil
		}
		w := newTown(t, withPayments(g))
		c := w.enrol(giuseppe, appio.Auto)
		scan := func() vevent {
			_, err := c.ScanNotice(t.Context(), "01199250158 "+string(notice))
			require.NoError(t, err)
			all := feedOf(t, c, nil)
			require.Len(t, all, 1)
			return all[0]
		}
		one := scan()
		require.Equal(t, "20990630", one["DTSTART;VALUE=DATE"])
		require.Equal(t, string(notice), one["SUMMARY"], "there is nothing else to say")
		require.Equal(t, one, scan())
		day = day.AddDate(0, 0, 1)
		other := scan()
		require.Equal(t, "20990701", other["DTSTART;VALUE=DATE"])
		require.NotEqual(t, one["UID"], other["UID"])

		day = time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)
		_, err := c.ScanNotice(t.Context(), "01199250158 "+string(notice))
		require.NoError(t, err)
		require.Empty(t, feedOf(t, c, nil), "a day that no calendar has spoils none")
	})
	t.Run("is read as it is written", func(t *testing.T) {
		t.Parallel()
		h := newHookedStore()
		w := newTownOn(t, h)
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		const many = 10_000
		want := 0
		for range many / 500 {
			ms := make([]appio.Message, 500)
			for i := range ms {
				ms[i] = messageTo(giuseppe)
				if i%10 != 3 { // some have no due date, and pages that have fewer do not end it
					ms[i], want = messageTo(giuseppe, due(midsummer)), want+1
				}
			}
			_, err := s.SendBatch(t.Context(), ms)
			require.NoError(t, err)
		}
		reads, written := 0, 0
		var readsBefore []int // the writes
		h.onRead(func() error { reads++; return nil })
		seen := map[string]bool{}
		var rest strings.Builder
		require.NoError(t, c.CalendarFeed(t.Context(), writerFunc(func(p []byte) (int, error) {
			written += len(p)
			readsBefore = append(readsBefore, reads)
			rest.Write(p)
			return len(p), nil
		}), nil))
		for _, ev := range events(t, rest.String()) {
			seen[ev["UID"]] = true
		}
		require.Len(t, seen, want)
		require.LessOrEqual(t, readsBefore[0], 5, "it is written once a page is read")
		require.Greater(t, readsBefore[len(readsBefore)-1], many/200)
		h.onRead(func() error {
			if reads++; reads%20 == 0 {
				return errors.New("the disk is gone")
			}
			return nil
		})
		var b bytes.Buffer
		require.ErrorContains(t, c.CalendarFeed(t.Context(), &b, nil), "the disk is gone")
		require.NotContains(t, b.String(), "END:VCALENDAR")
	})
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestCalendarSequence tells a notice's news in each order, and looks at the events after each: what has changed has a greater
// SEQUENCE, and it never falls.
func TestCalendarSequence(t *testing.T) {
	t.Parallel()
	told := []appio.PaymentEvent{
		event("a", appio.Paying, 1), event("b", appio.Cancelled, 2), event("c", appio.Unpaid, 3), event("d", appio.Paid, 5), event("e", appio.Paid, 4),
	}
	n := 0
	for order := range permutations(len(told)) {
		if n++; testing.Short() && n%10 != 1 {
			continue
		}
		w := newTown(t, withPayments(&gateway{}))
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		id := w.send(s, messageTo(giuseppe, due(midsummer), withNotice))
		w.flush()
		before := fileOf(t, c, id, nil)
		require.Equal(t, "0", before["SEQUENCE"])
		cancelled := false
		for _, i := range order {
			require.NoError(t, w.Settle(t.Context(), told[i]))
			w.flush()
			ev := fileOf(t, c, id, nil)
			require.Equal(t, ev, feedOf(t, c, nil)[0])
			require.Equal(t, before["UID"], ev["UID"])
			require.GreaterOrEqual(t, ev.sequence(t), before.sequence(t), "order %v", order)
			if ev["STATUS"] != before["STATUS"] {
				require.Greater(t, ev.sequence(t), before.sequence(t), "order %v", order)
			}
			m, err := c.Message(t.Context(), id)
			require.NoError(t, err)
			cancelled = m.PaymentState == appio.Paid || m.PaymentState == appio.Cancelled
			require.Equal(t, cancelled, ev["STATUS"] == "CANCELLED", m.PaymentState)
			require.Equal(t, cancelled, ev["ALARMS"] == "")
			before = ev
		}
		require.True(t, cancelled)
	}
	require.Equal(t, 120, n)
}

func TestCalendarOfNotices(t *testing.T) {
	t.Parallel()
	at := func(w *town, state appio.PaymentState, at time.Time) {
		require.NoError(w.t, w.Settle(w.t.Context(), appio.PaymentEvent{ID: string(state), RPTID: rptID, State: state, At: at}))
		w.flush()
	}
	t.Run("one that is paid from paper is cancelled", func(t *testing.T) {
		t.Parallel()
		w, _, c := deadlineTown(t)
		_, err := c.ScanNotice(t.Context(), "01199250158 "+string(notice))
		require.NoError(t, err)
		before := feedOf(t, c, nil)[0]
		require.Equal(t, "CONFIRMED", before["STATUS"])
		at(w, appio.Paid, w.now().Add(time.Hour))
		after := feedOf(t, c, nil)[0]
		require.Equal(t, "CANCELLED", after["STATUS"])
		require.Equal(t, before["UID"], after["UID"])
		require.Greater(t, after.sequence(t), before.sequence(t))
		require.Greater(t, after["DTSTAMP"], before["DTSTAMP"])
		require.Equal(t, after["DTSTAMP"], after["LAST-MODIFIED"])
	})
	t.Run("one that is known to be payable no more before its time is cancelled, one whose time has passed is not", func(t *testing.T) {
		t.Parallel()
		for want, news := range map[string]time.Duration{"CANCELLED": -time.Minute, "CONFIRMED": time.Minute} {
			w, s, c := deadlineTown(t)
			end := w.now().Add(2 * time.Hour)
			id := w.send(s, messageTo(giuseppe, withNotice, func(m *appio.Message) { m.Due, m.Payment.InvalidAfterDue = end, true }))
			w.flush()
			w.advance(3 * time.Hour)
			m, err := c.Message(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, appio.Expired, m.PaymentState)
			require.Equal(t, "CONFIRMED", fileOf(t, c, id, nil)["STATUS"], "the clock alone changes nothing")
			require.Equal(t, "0", fileOf(t, c, id, nil)["SEQUENCE"])
			at(w, appio.Expired, end.Add(news))
			require.Equal(t, want, fileOf(t, c, id, nil)["STATUS"])
		}
	})
	t.Run("one that the citizen begins to pay stays as it is", func(t *testing.T) {
		t.Parallel()
		w, s, c := deadlineTown(t)
		id := w.send(s, messageTo(giuseppe, withNotice, due(midsummer)))
		w.flush()
		at(w, appio.Unpaid, w.now().Add(-time.Minute))
		before := fileOf(t, c, id, nil)
		_, err := c.Pay(t.Context(), rptID)
		require.NoError(t, err)
		require.Equal(t, before, fileOf(t, c, id, nil))
		w.advance(2 * time.Hour)
		require.Equal(t, before, fileOf(t, c, id, nil))
	})
	t.Run("news of any time fits", func(t *testing.T) {
		t.Parallel()
		w, s, c := deadlineTown(t)
		id := w.send(s, messageTo(giuseppe, withNotice, due(midsummer)))
		w.flush()
		last := 0
		for _, when := range []time.Time{time.Unix(1, 0), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)} {
			at(w, appio.Unpaid, when)
			n := fileOf(t, c, id, nil).sequence(t)
			require.Greater(t, n, last)
			last = n
		}
		at(w, appio.Paid, time.Unix(2, 0))
		require.Greater(t, fileOf(t, c, id, nil).sequence(t), last)
	})
	t.Run("where notices are not followed a deadline is only that", func(t *testing.T) {
		t.Parallel()
		w := newTown(t)
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		ev := fileOf(t, c, w.send(s, messageTo(giuseppe, withNotice, due(midsummer))), nil)
		require.Equal(t, "CONFIRMED 0", ev["STATUS"]+" "+ev["SEQUENCE"])
		require.Equal(t, []string{"ALARMS", "DESCRIPTION", "DTSTAMP", "DTSTART;VALUE=DATE", "LAST-MODIFIED", "SEQUENCE", "STATUS", "SUMMARY", "TRANSP", "UID"},
			slices.Sorted(maps.Keys(ev)))
	})
}
