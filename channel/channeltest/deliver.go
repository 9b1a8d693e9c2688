package channeltest

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/appio-go/appio"
)

const (
	callers = 16 // goroutines that call at a time
	each    = 8  // calls of each
)

var deliverChecks = []check{
	{"a delivery has arrived when Deliver returns", false, func(t tester, s *subject) {
		for range 3 {
			s.accepted(t, "an ordinary delivery", full())
		}
	}},

	{"the same delivery may come twice", false, func(t tester, s *subject) {
		d := full()
		s.accepted(t, "a first attempt", d)
		d.Attempt++
		s.accepted(t, "a second attempt with the same id", d)
	}},

	{"Deliver may be called concurrently", false, func(t tester, s *subject) {
		ds := many(callers * each)
		concurrently(t, func(i int) (string, error) {
			for _, d := range ds[i*each : (i+1)*each] {
				if problem, err := s.try(t.Context(), d); err != nil || problem != "" {
					return problem, err
				}
			}
			return "", nil
		})
		s.arrived(t, "concurrent calls", ds...)
	}},
}

// concurrently runs calls of 16 goroutines at a time, none of which may fail.
func concurrently(t tester, calls func(i int) (problem string, err error)) {
	t.Helper()
	var wait sync.WaitGroup
	problems := make([]string, callers)
	for i := range callers {
		wait.Go(func() {
			problem, err := calls(i)
			if err != nil {
				problem = fmt.Sprintf("error %q; want nil, as for one call after the other", err)
			}
			problems[i] = problem
		})
	}
	wait.Wait()
	for _, p := range problems {
		if p != "" {
			t.Fatalf("%d goroutines called at the same time: %s", callers, p)
		}
	}
}

var contentChecks = []check{
	{"a delivery that shows no content is accepted", false, func(t tester, s *subject) {
		s.accepted(t, "a Generic delivery, which has no subject, text or payment", generic())
		d := generic()
		d.Due, d.Language, d.OrganizationName, d.Withdraw = time.Time{}, "", "", ""
		s.accepted(t, "a Generic delivery without deadline, language, and name of the organization", d)
	}},

	{"whatever a message may hold is accepted", false, func(t tester, s *subject) {
		for _, c := range []struct {
			what   string
			change func(d *appio.Delivery)
		}{
			{"a full message without language, deadline and payment", func(d *appio.Delivery) {
				d.Language, d.Due, d.Payment = "", time.Time{}, nil
			}},
			{"the longest subject and text", func(d *appio.Delivery) {
				d.Subject, d.Markdown = strings.Repeat("M", 120), strings.Repeat("parole ", 10000/7)
			}},
			{"the longest subject and text in characters of four bytes", func(d *appio.Delivery) {
				d.Subject, d.Markdown = strings.Repeat("\U0001F4EC", 60), strings.Repeat("\U0001F3DB", 5000)
			}},
			{"a subject in other scripts and both directions", func(d *appio.Delivery) {
				d.Subject = "تذكير: رسوم المدرسة — Напоминание — 学費のお知らせ — e\u0301"
			}},
			{"what is markup elsewhere", func(d *appio.Delivery) {
				d.Subject = `</title><script>x</script> "'{{.}} %s %00 \u0000 $(id) =?utf-8?q?x?=`
				d.Markdown = strings.Repeat("\r\n.\r\n<!-- ]]> \x00\x1b[31m `${x}` ", 20)
			}},
			{"the longest names", func(d *appio.Delivery) {
				d.ServiceName, d.OrganizationName = strings.Repeat("à", 200), strings.Repeat("\U0001F3DB", 100)
			}},
			{"a service's id of any text", func(d *appio.Delivery) { d.Service = appio.ServiceID(strings.Repeat("è/?&=% ", 25)) }},
			{"a deadline of the year 9999", func(d *appio.Delivery) {
				d.Due = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
			}},
			{"a deadline of the year 1", func(d *appio.Delivery) { d.Due = time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC) }},
			{"the highest amount", func(d *appio.Delivery) {
				d.Payment.Amount, d.Payment.InvalidAfterDue = 9_999_999_999, true
			}},
			{"another language", func(d *appio.Delivery) { d.Language = "sl-rozaj-biske-1994" }},
			{"a late attempt", func(d *appio.Delivery) { d.Attempt = 1_000_000 }},
		} {
			d := full()
			c.change(&d)
			s.accepted(t, c.what, d)
		}
	}},

	{"what a channel cannot use is refused", false, func(t tester, s *subject) {
		s.acceptedOrRefused(t, "a delivery by code, without an address", byCode())
		for _, value := range oddAddresses {
			d := full()
			d.Address.Value = value
			s.acceptedOrRefused(t, "an address that is none", d)
		}
		d := full()
		d.Subject = "Avviso\r\nBcc: altri@example.org\r\n\r\n"
		s.acceptedOrRefused(t, "a subject with line breaks", d)
		d.ID, d.Subject = generic().ID, "Avviso \x00\x07\x7f\u2028\ufffe\u202e"
		s.acceptedOrRefused(t, "a subject with control characters", d)
	}},
}

// oddAddresses are values that a profile can have, as the engine does not know what the addresses of a channel look like.
var oddAddresses = []string{
	"x",
	"maria.bianchi@@example..org",
	"Maria <maria.bianchi@example.org>, altri@example.org",
	"maria.bianchi%zz@example.org:%3A?&=#",
	"http://[::maria.bianchi/%",
	"\u202emaria.bianchi\u00a0@esempio.org",
	"+39 06 1234 maria.bianchi",
	strings.Repeat("maria.bianchi-", 142) + "0123456789ab", // 2,000 bytes, the most
	"maria.bianchi\xff\xfe@example.org",
}
