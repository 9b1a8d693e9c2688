package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

// ready is a folder with a service "a" that citizen 0 agrees to, a service "trial" that may write to citizen 0 alone, and no
// messages.
func ready(t *testing.T) *dir {
	d := newDir(t)
	d.service("a", with{"max_allowed_payment_amount": 10000})
	d.service("trial", with{"state": nil, "authorized_recipients": []string{person(0)}, "max_allowed_payment_amount": 10000})
	d.citizen(person(0), nil)
	d.citizen(person(1), nil)
	return d
}

func TestLinesInError(t *testing.T) {
	t.Parallel()
	payment := func(w with) with {
		return with{"payment_data": with{"amount": 100, "notice_number": "302032002700000251"}.and(w)}
	}
	long := func(n int) string { return strings.Repeat("x", n) }
	cases := []struct {
		name    string
		want    string // in the error; empty: PROCESSED
		line    string // whole, or made of these:
		of      string // service; "": a
		to      string // "": citizen 0
		top     with
		content with
	}{
		{name: "not JSON", line: `{"service_id"`, want: "not JSON"},
		{name: "two values", line: `{} {}`, want: "not JSON"},
		{name: "not UTF-8", line: "{\"service_id\":\"\xff\"}", want: "not JSON"},
		{name: "no object", line: `[]`, want: "JSON object"},
		{name: "null", line: `null`, want: "JSON object"},
		{name: "over 1 MiB", line: long(maxLine + 1), want: "over 1 MiB"},
		{name: "over 1 MiB, but JSON", line: `"` + long(maxLine) + `"`, want: "over 1 MiB"},
		{name: "over 1 MiB by far", line: long(3*maxLine + 17), want: "over 1 MiB"},
		{name: "1 MiB exactly", line: `"` + long(maxLine-2) + `"`, want: "JSON object"},

		{name: "no code", top: with{"fiscal_code": nil}, want: "fiscal_code is missing"},
		{name: "a code of another type", top: with{"fiscal_code": 1}, want: "fiscal_code must be a string"},
		{name: "a code in lower case", to: strings.ToLower(person(0)), want: "fiscal_code must be"},
		{name: "a code too short", to: "PRVCTZ80A01H001", want: "fiscal_code must be"},
		{name: "an organization's code", to: "90012340569", want: "fiscal_code must be"},

		{name: "no service", top: with{"service_id": nil}, want: "service_id is missing"},
		{name: "a service of another type", top: with{"service_id": true}, want: "service_id must be a string"},
		{name: "an unknown service", of: "b", want: "unknown service"},

		{name: "no content", top: with{"content": nil}, want: "content is missing"},
		{name: "content of another type", top: with{"content": "text"}, want: "content must be an object"},
		{name: "no subject", content: with{"subject": nil}, want: "content.subject is missing"},
		{name: "a subject of another type", content: with{"subject": 1234567890}, want: "content.subject must be a string"},
		{name: "a subject of 9", content: with{"subject": long(9)}, want: "content.subject must be"},
		{name: "a subject of 10", content: with{"subject": long(10)}},
		{name: "a subject of 120", content: with{"subject": long(120)}},
		{name: "a subject of 121", content: with{"subject": long(121)}, want: "content.subject must be"},
		{name: "a subject of 60 characters of two units", content: with{"subject": strings.Repeat("😀", 60)}},
		{name: "a subject of 61 characters of two units", content: with{"subject": strings.Repeat("😀", 61)}, want: "content.subject must be"},
		{name: "no markdown", content: with{"markdown": nil}, want: "content.markdown is missing"},
		{name: "a markdown of 79", content: with{"markdown": long(79)}, want: "content.markdown must be"},
		{name: "a markdown of 80", content: with{"markdown": long(80)}},
		{name: "a markdown of 10000", content: with{"markdown": long(10000)}},
		{name: "a markdown of 10001", content: with{"markdown": long(10001)}, want: "content.markdown must be"},
		{name: "markdown of another type", content: with{"markdown": []string{long(80)}}, want: "content.markdown must be a string"},
		{name: "secure of another type", content: with{"require_secure_channels": "true"}, want: "content.require_secure_channels must be true or false"},

		{name: "a life of an hour", top: with{"time_to_live": 3600}},
		{name: "a life of an hour, written as a fraction", line: strings.Replace(valid(t), `{`, `{"time_to_live":3600.0,`, 1)},
		{name: "a life of 7 days", top: with{"time_to_live": 604800}},
		{name: "a life too short", top: with{"time_to_live": 3599}, want: "time_to_live must be"},
		{name: "no life", top: with{"time_to_live": 0}, want: "time_to_live must be"},
		{name: "a negative life", top: with{"time_to_live": -3600}, want: "time_to_live must be"},
		{name: "a life too long", top: with{"time_to_live": 604801}, want: "time_to_live must be"},
		{name: "a life that overflows", line: strings.Replace(valid(t), `{`, `{"time_to_live":18446744073709555,`, 1), want: "time_to_live must be"},
		{name: "a life beyond all numbers", line: strings.Replace(valid(t), `{`, `{"time_to_live":1e999,`, 1), want: "time_to_live must be"},
		{name: "a life with a fraction", top: with{"time_to_live": 3600.5}, want: "time_to_live must be an integer"},
		{name: "a life of another type", top: with{"time_to_live": "3600"}, want: "time_to_live must be an integer"},
		{name: "a key of another type", top: with{"idempotency_key": 7}, want: "idempotency_key must be a string"},
		{name: "a key too long", top: with{"idempotency_key": long(201)}, want: "idempotency_key must be"},

		{name: "due in UTC", content: with{"due_date": "2026-06-30T21:59:59Z"}},
		{name: "due with an offset", content: with{"due_date": "2026-06-30T23:59:59+02:00"}},
		{name: "due without a zone", content: with{"due_date": "2026-06-30T23:59:59"}},
		{name: "due with a fraction", content: with{"due_date": "2026-06-30T23:59:59.999Z"}},
		{name: "due long ago", content: with{"due_date": "1999-12-31T23:59:59Z"}},
		{name: "due on a date", content: with{"due_date": "2026-06-30"}, want: "content.due_date must be"},
		{name: "due without seconds", content: with{"due_date": "2026-06-30T23:59Z"}, want: "content.due_date must be"},
		{name: "due with a blank", content: with{"due_date": "2026-06-30 23:59:59"}, want: "content.due_date must be"},
		{name: "due with half an offset", content: with{"due_date": "2026-06-30T23:59:59+02"}, want: "content.due_date must be"},
		{name: "due with a comma", content: with{"due_date": "2026-06-30T23:59:59,5Z"}, want: "content.due_date must be"},
		{name: "due on 30 February", content: with{"due_date": "2026-02-30T23:59:59Z"}, want: "content.due_date must be"},
		{name: "due at 24", content: with{"due_date": "2026-06-30T24:00:00Z"}, want: "content.due_date must be"},
		{name: "due in no words", content: with{"due_date": ""}, want: "content.due_date must be"},
		{name: "due in a number", content: with{"due_date": 1782856799}, want: "content.due_date must be"},

		{name: "a payment", content: payment(nil)},
		{name: "a payment to another", content: payment(with{"payee": with{"fiscal_code": "90076540328"}, "invalid_after_due_date": true})},
		{name: "payment of another type", content: with{"payment_data": 100}, want: "content.payment_data must be an object"},
		{name: "no amount", content: payment(with{"amount": nil}), want: "content.payment_data.amount is missing"},
		{name: "an amount of another type", content: payment(with{"amount": "100"}), want: "content.payment_data.amount must be an integer"},
		{name: "an amount with a fraction", content: payment(with{"amount": 100.5}), want: "content.payment_data.amount must be an integer"},
		{name: "an amount of 0", content: payment(with{"amount": 0}), want: "content.payment_data.amount must be"},
		{name: "an amount below 0", content: payment(with{"amount": -100}), want: "content.payment_data.amount must be"},
		{name: "an amount of 11 digits", content: payment(with{"amount": int64(10000000000)}), want: "content.payment_data.amount must be 1 to 9999999999"},
		{name: "no notice number", content: payment(with{"notice_number": nil}), want: "content.payment_data.notice_number is missing"},
		{name: "a notice number of 17 digits", content: payment(with{"notice_number": "30203200270000025"}), want: "content.payment_data.notice_number must be"},
		{name: "a notice number that begins with 4", content: payment(with{"notice_number": "402032002700000251"}), want: "content.payment_data.notice_number must be"},
		{name: "a notice number as a number", content: payment(with{"notice_number": int64(302032002700000251)}), want: "content.payment_data.notice_number must be a string"},
		{name: "invalid_after_due_date of another type", content: payment(with{"invalid_after_due_date": 1}), want: "content.payment_data.invalid_after_due_date must be true or false"},
		{name: "a payee of another type", content: payment(with{"payee": "90076540328"}), want: "content.payment_data.payee must be an object"},
		{name: "a payee without a code", content: payment(with{"payee": with{}}), want: "content.payment_data.payee.fiscal_code is missing"},
		{name: "a payee of 10 digits", content: payment(with{"payee": with{"fiscal_code": "9007654032"}}), want: "content.payment_data.payee.fiscal_code must be"},

		{name: "a recipient of the trial", of: "trial"},
		{name: "a recipient outside the trial", of: "trial", to: person(1), want: "the service is in trial"},
		{name: "the maximum", content: payment(with{"amount": 10000})},
		{name: "more than the maximum", content: payment(with{"amount": 10001}), want: "content.payment_data.amount must be no more"},

		{name: "a key", top: with{"idempotency_key": "k"}},
		{name: "the same key, the same body", top: with{"idempotency_key": "k"}},
		{name: "the same key, another subject", top: with{"idempotency_key": "k"}, content: with{"subject": "Un altro oggetto"}, want: "idempotency_key was used"},
		{name: "the same key, another service", of: "trial", top: with{"idempotency_key": "k"}, content: with{"subject": "Un altro oggetto"}},
		{name: "an empty key", top: with{"idempotency_key": ""}},
		{name: "another empty key", top: with{"idempotency_key": ""}, content: with{"subject": "Un altro oggetto"}},

		{name: "unknown members", top: with{"feature_level_type": "ADVANCED", "x": nil}, content: with{"prescription_data": with{"nre": 1}}},
		{name: "members in other letters", top: with{"Time_To_Live": "x", "FISCAL_CODE": 1}, content: with{"Due_Date": "x", "SUBJECT": 1}},
		{name: "null is absent", line: strings.Replace(valid(t), `{`, `{"time_to_live":null,"idempotency_key":null,`, 1)},
		{name: "null is missing", line: `{"service_id":"a","fiscal_code":null}`, want: "fiscal_code is missing"},

		// Of several faults the first of the list is named.
		{name: "JSON before code", line: `{"fiscal_code":"x"`, want: "not JSON"},
		{name: "code before service", of: "b", to: "x", want: "fiscal_code"},
		{name: "service before limits", of: "b", content: with{"subject": "x"}, want: "unknown service"},
		{name: "limits before trial", of: "trial", to: person(1), content: with{"subject": "x"}, want: "content.subject"},
		{name: "types before trial", of: "trial", to: person(1), top: with{"time_to_live": "x"}, want: "time_to_live"},
		{name: "trial before maximum", of: "trial", to: person(1), content: payment(with{"amount": 10001}), want: "the service is in trial"},
		{name: "maximum before key", top: with{"idempotency_key": "k"}, content: payment(with{"amount": 10001}), want: "content.payment_data.amount"},
		{name: "errors before consent", to: person(2), content: with{"subject": "x"}, want: "content.subject"},
	}
	d := ready(t)
	for _, c := range cases {
		if c.line != "" {
			d.messages = append(d.messages, c.line)
			continue
		}
		if c.of == "" {
			c.of = "a"
		}
		if c.to == "" {
			c.to = person(0)
		}
		d.message(c.of, c.to, c.top, c.content)
	}
	a := start(t, "-dir", d.write())
	require.Equal(t, 0, a.exit, a.stderr)
	require.Len(t, a.results, len(cases))
	ids := map[string]string{}
	for i, c := range cases {
		r := a.results[i]
		require.Equal(t, i+1, r.Line)
		if c.want == "" {
			require.Equal(t, "PROCESSED", r.Status, "%s: %s", c.name, r.Error)
		} else {
			require.Equal(t, "ERROR", r.Status, c.name)
			require.Contains(t, r.Error, c.want, c.name)
		}
		ids[c.name] = r.ID
	}
	require.Equal(t, ids["a key"], ids["the same key, the same body"])
	require.NotEqual(t, ids["a key"], ids["the same key, another service"])
	require.NotEqual(t, ids["an empty key"], ids["another empty key"])
}

func valid(t *testing.T) string {
	d := newDir(t)
	d.message("a", person(0), nil, nil)
	return d.messages[0]
}

func TestLines(t *testing.T) {
	t.Parallel()
	m := valid(t)
	for name, c := range map[string]struct {
		text  string
		lines []int
	}{
		"none":                         {"", nil},
		"blank ones only":              {"\n \n\t\r\n", nil},
		"without an end":               {m + "\n" + m, []int{1, 2}},
		"with an end":                  {m + "\n" + m + "\n", []int{1, 2}},
		"blank ones between":           {"\n" + m + "\n\n  \n" + m + "\n\n", []int{2, 5}},
		"ended as on Windows":          {m + "\r\n\r\n" + m + "\r\n", []int{1, 3}},
		"after a byte order mark":      {byteOrderMark + m + "\n" + m, []int{1, 2}},
		"after one that is too long":   {strings.Repeat("x", 2*maxLine) + "\n" + m, []int{1, 2}},
		"with blanks around the value": {"  " + m + "\t\n", []int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := ready(t)
			d.write()
			d.file("messages.jsonl", c.text)
			a := start(t, "-dir", d.path)
			require.Equal(t, 0, a.exit, a.stderr)
			var lines []int
			for _, r := range a.results {
				lines = append(lines, r.Line)
			}
			require.Equal(t, c.lines, lines)
			require.Equal(t, "PROCESSED", append(a.results, result{Status: "PROCESSED"})[max(len(a.results)-1, 0)].Status)
		})
	}
}

func TestLongLineIsNotKept(t *testing.T) {
	t.Parallel()
	l := lines{r: bufio.NewReaderSize(io.MultiReader(bytes.NewReader(make([]byte, 32*maxLine)), strings.NewReader("\nnext")), 1<<16)}
	line, err := l.next()
	require.NoError(t, err)
	require.Len(t, line, maxLine+1)
	require.Less(t, cap(line), 3*maxLine)
	line, err = l.next()
	require.NoError(t, err)
	require.Equal(t, "next", string(line))
	require.Equal(t, 2, l.read)
	_, err = l.next()
	require.Equal(t, io.EOF, err)
}

func TestMessageAsRead(t *testing.T) {
	t.Parallel()
	known := map[appio.ServiceID]appio.Service{"a": {}}
	d := newDir(t)
	d.message("a", person(0), with{"time_to_live": 7200, "idempotency_key": "k"}, with{
		"due_date": "2026-06-30T23:59:59+02:00", "require_secure_channels": true,
		"payment_data": with{"amount": int64(9999999999), "notice_number": "302032002700000251", "invalid_after_due_date": true, "payee": with{"fiscal_code": "90076540328"}},
	})
	s := parseSubmission([]byte(d.messages[0]), known)
	require.NoError(t, s.err)
	require.Equal(t, appio.ServiceID("a"), s.service)
	require.Equal(t, appio.Message{
		To: "PRVCTZ80A01H000X", Subject: "Un oggetto lungo abbastanza", Markdown: strings.Repeat("Un testo che dice poco. ", 4),
		Due: time.Date(2026, 6, 30, 21, 59, 59, 0, time.UTC), SecureChannels: true, TimeToLive: 2 * time.Hour, Key: "k",
		Payment: &appio.Notice{Number: "302032002700000251", Amount: 9999999999, Payee: "90076540328", InvalidAfterDue: true},
	}, s.message)

	d.message("a", person(0), nil, with{"due_date": "2026-06-30T23:59:59"})
	s = parseSubmission([]byte(d.messages[1]), known)
	require.NoError(t, s.err)
	require.Equal(t, time.Date(2026, 6, 30, 23, 59, 59, 0, time.UTC), s.message.Due)
}

// Whatever is wrong with services.json or citizens.json ends the run before anything is sent, in one sentence that says where.
func TestBadEntries(t *testing.T) {
	t.Parallel()
	service := with{"id": "a", "name": "Mensa", "organization_name": "Comune", "organization_fiscal_code": "90012340569"}
	citizen := with{"fiscal_code": person(0), "mode": "AUTO"}
	for _, c := range []struct {
		file  string
		entry any    // the second of two, after a good one
		text  string // or the whole file
		want  string
	}{
		{file: "services.json", text: "[\n  {},\n  {]\n]", want: "services.json:3:4: not JSON"},
		{file: "services.json", text: "", want: "services.json:1:1: not JSON"},
		{file: "services.json", text: "[] []", want: "services.json:1:4: not JSON"},
		{file: "services.json", text: "[\n{}", want: "services.json:2:"},
		{file: "services.json", text: "{}", want: "services.json:1:1: must be a JSON array"},
		{file: "services.json", text: `["x"]`, want: "services.json:1:2: entry 1: must be a JSON object"},
		{file: "services.json", text: "[\n\t{\"id\": \"\xff\"}]", want: "services.json:2:2: entry 1: must be in UTF-8"},
		{file: "services.json", entry: nil, want: "must be a JSON object"},
		{file: "services.json", entry: service.and(with{"id": nil}), want: "id is missing"},
		{file: "services.json", entry: service.and(with{"id": ""}), want: "id must be 1 to 200"},
		{file: "services.json", entry: service.and(with{"id": 7}), want: "id must be a string"},
		{file: "services.json", entry: service.and(with{"id": "first"}), want: "id stands in an earlier entry"},
		{file: "services.json", entry: service.and(with{"name": nil}), want: "name is missing"},
		{file: "services.json", entry: service.and(with{"name": ""}), want: "name must be"},
		{file: "services.json", entry: service.and(with{"organization_name": nil}), want: "organization_name is missing"},
		{file: "services.json", entry: service.and(with{"organization_name": ""}), want: "organization_name must be"},
		{file: "services.json", entry: service.and(with{"organization_fiscal_code": nil}), want: "organization_fiscal_code is missing"},
		{file: "services.json", entry: service.and(with{"organization_fiscal_code": "9001234056"}), want: "organization_fiscal_code must be 11 digits"},
		{file: "services.json", entry: service.and(with{"organization_fiscal_code": person(0)}), want: "organization_fiscal_code must be 11 digits"},
		{file: "services.json", entry: service.and(with{"state": "stopped"}), want: "state must be one of live, trial"},
		{file: "services.json", entry: service.and(with{"state": ""}), want: "state must be one of"},
		{file: "services.json", entry: service.and(with{"category": "special"}), want: "category must be one of SPECIAL, STANDARD"},
		{file: "services.json", entry: service.and(with{"require_secure_channels": "no"}), want: "require_secure_channels must be true or false"},
		{file: "services.json", entry: service.and(with{"max_allowed_payment_amount": "100"}), want: "max_allowed_payment_amount must be an integer"},
		{file: "services.json", entry: service.and(with{"max_allowed_payment_amount": -1}), want: "max_allowed_payment_amount must be 0 to 9999999999"},
		{file: "services.json", entry: service.and(with{"max_allowed_payment_amount": int64(10000000000)}), want: "max_allowed_payment_amount must be 0 to 9999999999"},
		{file: "services.json", entry: service.and(with{"authorized_recipients": person(0)}), want: "authorized_recipients must be an array"},
		{file: "services.json", entry: service.and(with{"authorized_recipients": []int{1}}), want: "authorized_recipients must be an array"},
		{file: "services.json", entry: service.and(with{"authorized_recipients": []string{person(0), strings.ToLower(person(1))}}), want: "authorized_recipients must be"},

		{file: "citizens.json", text: "[\r\n  {\"fiscal_code\": \"" + person(0) + "\"},\r\n\r\n    {\"mode\": \"AUTO\"}]", want: "citizens.json:4:5: entry 2: fiscal_code is missing"},
		{file: "citizens.json", text: byteOrderMark + "[]x", want: "citizens.json:1:3: not JSON"},
		{file: "citizens.json", entry: citizen.and(with{"fiscal_code": "x"}), want: "fiscal_code must be"},
		{file: "citizens.json", entry: citizen.and(with{"fiscal_code": strings.ToLower(person(0))}), want: "fiscal_code must be"},
		{file: "citizens.json", entry: citizen.and(with{"fiscal_code": person(999)}), want: "fiscal_code stands in an earlier entry"},
		{file: "citizens.json", entry: citizen.and(with{"mode": "LEGACY"}), want: "mode must be one of AUTO, MANUAL"},
		{file: "citizens.json", entry: citizen.and(with{"mode": false}), want: "mode must be a string"},
		{file: "citizens.json", entry: citizen.and(with{"inbox": 1}), want: "inbox must be true or false"},
		{file: "citizens.json", entry: citizen.and(with{"email": "c@example.it"}), want: "email must be an object"},
		{file: "citizens.json", entry: citizen.and(with{"email": with{"address": 1}}), want: "email.address must be a string"},
		{file: "citizens.json", entry: citizen.and(with{"email": with{"address": person(0)}}), want: "email.address must be an e-mail address"},
		{file: "citizens.json", entry: citizen.and(with{"email": with{"address": "Mario <m@example.it>"}}), want: "email.address must be an e-mail address"},
		{file: "citizens.json", entry: citizen.and(with{"email": with{"address": "m@example.it\r\nBcc: x@example.it"}}), want: "email.address must be an e-mail address"},
		{file: "citizens.json", entry: citizen.and(with{"email": with{"validated": "yes"}}), want: "email.validated must be true or false"},
		{file: "citizens.json", entry: citizen.and(with{"email": with{"enabled": 0}}), want: "email.enabled must be true or false"},
		{file: "citizens.json", entry: citizen.and(with{"push": true}), want: "push must be an object"},
		{file: "citizens.json", entry: citizen.and(with{"push": with{"enabled": "on"}}), want: "push.enabled must be true or false"},
		{file: "citizens.json", entry: citizen.and(with{"push": with{"content": "NONE"}}), want: "push.content must be one of ANONYMOUS, FULL"},
		{file: "citizens.json", entry: citizen.and(with{"preferences": []string{"a"}}), want: "preferences must be an object"},
		{file: "citizens.json", entry: citizen.and(with{"preferences": with{"first": true}}), want: "preferences.* must be an object"},
		{file: "citizens.json", entry: citizen.and(with{"preferences": with{"first": with{"email": "no"}}}), want: "preferences.*.email must be true or false"},
		{file: "citizens.json", entry: citizen.and(with{"preferences": with{person(0): with{"email": "no"}}}), want: "preferences.*.email must be true or false"},
		{file: "citizens.json", entry: citizen.and(with{"preferences": with{person(0): with{}}}), want: "preferences names an unknown service"},
		{file: "citizens.json", entry: citizen.and(with{"activations": with{"a": with{"status": "ACTIVE"}}}), want: "activations names an unknown service"},
		{file: "citizens.json", entry: citizen.and(with{"activations": with{"first": with{}}}), want: "activations.*.status is missing"},
		{file: "citizens.json", entry: citizen.and(with{"activations": with{"first": with{"status": "ON"}}}), want: "activations.*.status must be one of ACTIVE, INACTIVE, PENDING"},
		{file: "citizens.json", entry: citizen.and(with{"activations": with{"first": with{"status": "ACTIVE", "age_seconds": -1}}}), want: "activations.*.age_seconds must be"},
		{file: "citizens.json", entry: citizen.and(with{"activations": with{"first": with{"status": "ACTIVE", "age_seconds": "1"}}}), want: "activations.*.age_seconds must be an integer"},
		{file: "citizens.json", entry: citizen.and(with{"activations": with{"first": with{"status": "ACTIVE", "age_seconds": 1e18}}}), want: "activations.*.age_seconds must be"},

		// Who is undecided is checked like others.
		{file: "citizens.json", entry: with{"fiscal_code": person(0), "push": with{"content": "NONE"}}, want: "push.content must be one of"},
		{file: "citizens.json", entry: with{"fiscal_code": person(0), "preferences": with{"a": with{}}}, want: "preferences names an unknown service"},
	} {
		d := newDir(t)
		d.service("first", nil)
		d.citizen(person(999), nil)
		d.message("first", person(999), nil, nil)
		want := c.want
		if c.text == "" && (c.entry != nil || want == "must be a JSON object") {
			entry, _ := c.entry.(with)
			if c.file == "services.json" {
				d.services = append(d.services, entry)
			} else {
				d.citizens = append(d.citizens, entry)
			}
			want = ": entry 2: " + want
		}
		d.write()
		if c.entry == nil && c.want != "must be a JSON object" {
			d.file(c.file, c.text)
		}
		db := filepath.Join(t.TempDir(), "io.db")
		a := start(t, "-dir", d.path, "-db", db)
		require.Equal(t, 1, a.exit, c.want)
		require.Contains(t, a.stderr, want)
		require.Contains(t, a.stderr, filepath.Join(d.path, c.file)+":")
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"services.json", "citizens.json", "messages.jsonl"} {
		d := ready(t)
		d.write()
		require.NoError(t, os.Remove(filepath.Join(d.path, name)))
		a := start(t, "-dir", d.path)
		require.Equal(t, 1, a.exit)
		require.Equal(t, fmt.Sprintf("quickstart: %s: no such file or directory\n", filepath.Join(d.path, name)), a.stderr)

		require.NoError(t, os.Mkdir(filepath.Join(d.path, name), 0o700))
		a = start(t, "-dir", d.path)
		require.Equal(t, 1, a.exit)
		require.Contains(t, a.stderr, filepath.Join(d.path, name)+": ")
	}
	a := start(t, "-dir", filepath.Join(t.TempDir(), "none"))
	require.Equal(t, 1, a.exit)
	require.Contains(t, a.stderr, filepath.Join("none", "services.json")+": ")

	t.Run("the database", func(t *testing.T) {
		t.Parallel()
		db := filepath.Join(t.TempDir(), "io.db")
		require.NoError(t, os.WriteFile(db, []byte("no database"), 0o600))
		a := start(t, "-dir", ready(t).write(), "-db", db)
		require.Equal(t, 1, a.exit)
		require.NotEmpty(t, a.stderr)
	})

	t.Run("the database's key", func(t *testing.T) {
		t.Parallel()
		db := filepath.Join(t.TempDir(), "io.db")
		dir := ready(t).write()
		require.Equal(t, 0, start(t, "-dir", dir, "-db", db).exit)
		require.NoError(t, os.Remove(db+".key"))
		a := start(t, "-dir", dir, "-db", db)
		require.Equal(t, 1, a.exit)
		require.Contains(t, a.stderr, "key")
	})
}

// What is absent from an entry of citizens.json, and what is not for the program to know.
func TestDefaults(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	d.services = []with{
		{"id": "a", "name": "Mensa", "organization_name": "Comune", "organization_fiscal_code": "90012340569", "state": "live", "scope": 1, "State": 2},
		{"id": "b", "name": "Mensa", "organization_name": "Comune", "organization_fiscal_code": "90012340569", "state": nil, "category": nil},
	}
	d.citizens = []with{
		{"fiscal_code": person(0), "mode": "AUTO", "language": "it", "Inbox": false, "push": with{"Enabled": false}},
		{"fiscal_code": person(1), "mode": "AUTO", "email": nil, "push": nil, "preferences": nil, "activations": with{"a": nil}},
		{"fiscal_code": person(2), "mode": nil, "inbox": true, "email": with{"address": "c@example.it", "validated": true, "enabled": true}, "preferences": with{"a": with{"inbox": true}}},
	}
	for i := range 3 {
		d.message("a", person(i), nil, nil)
	}
	d.message("b", person(0), nil, nil)
	a := start(t, "-dir", d.write())
	require.Equal(t, 0, a.exit, a.stderr)
	require.Equal(t, channels{true, false, "anonymous"}, a.results[0].Channels)
	require.Equal(t, channels{true, false, "anonymous"}, a.results[1].Channels)
	require.Equal(t, "undecided", a.results[2].Rule)
	require.Contains(t, a.results[3].Error, "trial")
}

func FuzzParseSubmission(f *testing.F) {
	f.Add([]byte(`{"service_id":"a","fiscal_code":"PRVCTZ80A01H000X","content":{"subject":"x","payment_data":{"amount":1e3}}}`))
	f.Add([]byte(`{"content":{"due_date":"2026-06-30T23:59:59"}}`))
	f.Add(bytes.Repeat([]byte(`[`), 100))
	f.Fuzz(func(t *testing.T, text []byte) {
		s := parseSubmission(text, map[appio.ServiceID]appio.Service{"a": {}})
		if s.err == nil {
			require.NoError(t, s.message.Validate())
		} else if code := string(s.message.To); code != "" {
			require.NotContains(t, s.err.Error(), code)
		}
	})
}
