package appio_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

func TestMessageLimits(t *testing.T) {
	t.Parallel()
	pay := func(change func(n *appio.Notice)) func(*appio.Message) {
		return func(m *appio.Message) {
			m.Payment = &appio.Notice{Number: "302032002700000251", Amount: 100}
			change(m.Payment)
		}
	}
	for _, c := range []struct {
		field string // empty: it is valid
		value string
		set   func(*appio.Message)
	}{
		{"To", "", func(m *appio.Message) { m.To = "" }},
		{"To", "grbgpp", func(m *appio.Message) { m.To = "grbgpp87l04l741x" }},
		{"To", "GRBGPP", func(m *appio.Message) { m.To = giuseppe[:15] }},
		{"", "", func(m *appio.Message) { m.Subject = strings.Repeat("a", 10) }},
		{"Subject", "aaa", func(m *appio.Message) { m.Subject = strings.Repeat("a", 9) }},
		{"Subject", "", func(m *appio.Message) { m.Subject = "" }},
		{"", "", func(m *appio.Message) { m.Subject = strings.Repeat("è", 120) }},
		{"Subject", "èè", func(m *appio.Message) { m.Subject = strings.Repeat("è", 121) }},
		{"", "", func(m *appio.Message) { m.Subject = strings.Repeat("😀", 5) }},
		{"Subject", "😀", func(m *appio.Message) { m.Subject = strings.Repeat("😀", 4) + "a" }},
		{"", "", func(m *appio.Message) { m.Subject = strings.Repeat("😀", 60) }},
		{"Subject", "😀", func(m *appio.Message) { m.Subject = strings.Repeat("😀", 60) + "a" }},
		{"", "", func(m *appio.Message) { m.Subject = strings.Repeat("\uffff", 120) }},
		{"Subject", "xyzzy", func(m *appio.Message) { m.Subject = "xyzzy xyzzy\xff" }},
		{"", "", func(m *appio.Message) { m.Markdown = strings.Repeat("a", 80) }},
		{"Markdown", "aaa", func(m *appio.Message) { m.Markdown = strings.Repeat("a", 79) }},
		{"Markdown", "", func(m *appio.Message) { m.Markdown = "" }},
		{"", "", func(m *appio.Message) { m.Markdown = strings.Repeat("a", 10_000) }},
		{"Markdown", "aaa", func(m *appio.Message) { m.Markdown = strings.Repeat("a", 10_001) }},
		{"", "", func(m *appio.Message) { m.Markdown = strings.Repeat("😀", 40) }},
		{"Markdown", "😀", func(m *appio.Message) { m.Markdown = strings.Repeat("😀", 39) + "a" }},
		{"", "", func(m *appio.Message) { m.Markdown = strings.Repeat("😀", 5000) }},
		{"Markdown", "😀", func(m *appio.Message) { m.Markdown = strings.Repeat("😀", 5000) + "a" }},
		{"", "", func(m *appio.Message) { m.Due = time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC) }},
		{"", "", func(m *appio.Message) { m.Due = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) }},
		{"Due", "10000", func(m *appio.Message) { m.Due = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{"Due", "9999", func(m *appio.Message) { m.Due = time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3600)) }},
		{"Due", "-1", func(m *appio.Message) { m.Due = time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{"", "", func(m *appio.Message) { m.TimeToLive = time.Hour }},
		{"", "", func(m *appio.Message) { m.TimeToLive = 7 * 24 * time.Hour }},
		{"TimeToLive", "59m", func(m *appio.Message) { m.TimeToLive = time.Hour - 1 }},
		{"TimeToLive", "168h", func(m *appio.Message) { m.TimeToLive = 7*24*time.Hour + 1 }},
		{"TimeToLive", "-", func(m *appio.Message) { m.TimeToLive = -time.Hour }},
		{"", "", func(m *appio.Message) { m.Key = strings.Repeat("k", 200) }},
		{"Key", "kkk", func(m *appio.Message) { m.Key = strings.Repeat("k", 201) }},
		{"Key", "xyzzy", func(m *appio.Message) { m.Key = "xyzzy\xff" }},
		{"", "", pay(func(n *appio.Notice) { n.Amount = 1 })},
		{"", "", pay(func(n *appio.Notice) { n.Amount = 9_999_999_999 })},
		{"Payment.Amount", "", pay(func(n *appio.Notice) { n.Amount = 0 })},
		{"Payment.Amount", "-5", pay(func(n *appio.Notice) { n.Amount = -5 })},
		{"Payment.Amount", "10000000000", pay(func(n *appio.Notice) { n.Amount = 10_000_000_000 })},
		{"Payment.Number", "3020320027000002", pay(func(n *appio.Notice) { n.Number = "30203200270000025" })},
		{"Payment.Number", "402032", pay(func(n *appio.Notice) { n.Number = "402032002700000251" })},
		{"Payment.Number", "", pay(func(n *appio.Notice) { n.Number = "" })},
		{"", "", pay(func(n *appio.Notice) { n.Number = "344012345678901233" })}, // a wrong check digit is let through
		{"", "", pay(func(n *appio.Notice) { n.Payee = "15376371009" })},
		{"", "", func(m *appio.Message) { m.Premium = true }},
		{"", "", func(m *appio.Message) { m.Prescription = &appio.Prescription{NRE: "010A12345678901"} }},
		{"", "", func(m *appio.Message) {
			m.Prescription = &appio.Prescription{NRE: "010A12345678901", IUP: strings.Repeat("1", 16), Prescriber: giuseppe}
		}},
		{"Prescription.NRE", "010A1234567890", func(m *appio.Message) { m.Prescription = &appio.Prescription{NRE: "010A1234567890"} }},
		{"Prescription.IUP", "11111", func(m *appio.Message) {
			m.Prescription = &appio.Prescription{NRE: "010A12345678901", IUP: strings.Repeat("1", 17)}
		}},
		{"Prescription.Prescriber", "doctor", func(m *appio.Message) {
			m.Prescription = &appio.Prescription{NRE: "010A12345678901", Prescriber: "doctor"}
		}},
		{"Payment.Payee", "1537637100", pay(func(n *appio.Notice) { n.Payee = "1537637100" })},
	} {
		w, ctx := newTown(t), t.Context()
		s := w.put(func(s *appio.Service) { s.MaxPayment, s.OtherPayees, s.Premium = 9_999_999_999, true, true })
		citizen := w.enrol(giuseppe, appio.Auto)
		before := len(recordsOf(t, w.store, ""))
		m := messageTo(giuseppe, c.set)
		r, err := s.Send(ctx, m)
		require.Equal(t, m.Validate(), err)
		if c.field == "" {
			require.NoError(t, err)
			require.Equal(t, appio.Processed, r.Status)
			got, err := citizen.Message(ctx, r.ID)
			require.NoError(t, err)
			require.Equal(t, m.Subject, got.Subject)
			require.Equal(t, m.Markdown, got.Markdown)
			require.True(t, m.Due.Equal(got.Due))
			require.Equal(t, m.Premium, got.Premium)
			require.Equal(t, m.Prescription, got.Prescription)
			continue
		}
		requireField(t, err, c.field, c.value)
		require.Equal(t, appio.Result{Err: err}, r)
		require.Len(t, recordsOf(t, w.store, ""), before, "nothing is written")
	}
}

func TestPremiumIsTheServicesToHave(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	w.enrol(giuseppe, appio.Auto)
	premium := messageTo(giuseppe, func(m *appio.Message) { m.Premium = true })
	_, err := w.put().Send(ctx, premium)
	require.ErrorIs(t, err, appio.ErrForbidden)
	_, err = w.put(func(s *appio.Service) { s.Premium = true }).Send(ctx, premium)
	require.NoError(t, err)
}
