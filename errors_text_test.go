package appio_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/appiotest"
)

// Errors that an operator or an embedder meets say what is missing.
func TestErrorsSayWhatIsMissing(t *testing.T) {
	ctx, k := t.Context(), appiotest.New(t, nil)
	mario := k.Person(appiotest.Mario, appio.Auto)
	for _, c := range []struct {
		want error
		says string
		call func() error
	}{
		{appio.ErrUnsupported, "Options.Payments", func() error {
			return k.Settle(ctx, appio.PaymentEvent{})
		}},
		{appio.ErrUnsupported, "Options.Payments", func() error { _, err := mario.ScanNotice(ctx, "01199250158 302032002700000251"); return err }},
		{appio.ErrUnsupported, "Options.Statistics", func() error {
			_, err := k.Statistics(ctx, "tari", time.Now(), time.Now())
			return err
		}},
		{appio.ErrUnsupported, "Options.Documents", func() error { _, err := k.CollectDocuments(ctx); return err }},
		{appio.ErrUnsupported, "Options.FeedDays", func() error {
			_, err := k.Service("tari").SubscriptionsFeed(time.Now()).Page(ctx, "", 0)
			return err
		}},
		{appio.ErrUnsupported, "Compact", func() error { return k.Compact(ctx) }},
		{appio.ErrNotFound, "no service", func() error {
			_, err := k.Sender("none").Send(ctx, appiotest.Message(appiotest.Mario))
			return err
		}},
		{appio.ErrNotFound, "no service", func() error {
			return mario.SetPreference(ctx, "none", appio.Preference{})
		}},
		{appio.ErrNotFound, "no service", func() error {
			_, err := k.ExplainService(ctx, appiotest.Mario, "none")
			return err
		}},
		{appio.ErrNotFound, "no route", func() error { return k.PauseChannel(ctx, "none") }},
		{appio.ErrNotFound, "1 of the deliveries", func() error { return k.Replay(ctx, "none") }},
		{appio.ErrNotFound, "no citizen", func() error {
			_, err := k.ExplainMessage(ctx, "01KEBTYCM0DTXPPQEMWF0QGDK2")
			return err
		}},
	} {
		err := c.call()
		require.ErrorIs(t, err, c.want)
		require.ErrorContains(t, err, c.says)
	}
}
