package channeltest_test

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/channeltest"
)

func TestRecorderKeepsCopies(t *testing.T) {
	var r channeltest.Recorder
	n := &appio.Notice{Amount: 100}
	require.NoError(t, r.Deliver(t.Context(), appio.Delivery{ID: "a", Payment: n}))
	require.NoError(t, r.Deliver(t.Context(), appio.Delivery{ID: "b"}))
	n.Amount = 200

	ds := r.Deliveries()
	require.Len(t, ds, 2)
	require.EqualValues(t, 100, ds[0].Payment.Amount)
	ds[0].Payment.Amount, ds[1].ID = 300, "c"
	require.EqualValues(t, 100, r.Deliveries()[0].Payment.Amount)
	require.Equal(t, appio.DeliveryID("b"), r.Deliveries()[1].ID)

	r.Reset()
	require.Empty(t, r.Deliveries())
}

func TestRecorderKeepsWhatSucceeded(t *testing.T) {
	failure := errors.New("provider down")
	r := channeltest.Recorder{Fail: func(d appio.Delivery) error {
		if d.Attempt == 1 {
			return failure
		}
		if d.Payment != nil {
			d.Payment.Amount = 0 // its own copy
		}
		return nil
	}}
	require.ErrorIs(t, r.Deliver(t.Context(), appio.Delivery{ID: "a", Attempt: 1}), failure)
	require.Empty(t, r.Deliveries())
	require.NoError(t, r.Deliver(t.Context(), appio.Delivery{ID: "a", Attempt: 2, Payment: &appio.Notice{Amount: 5}}))
	require.EqualValues(t, 5, r.Deliveries()[0].Payment.Amount)

	ended, cancel := context.WithCancelCause(t.Context())
	cancel(failure)
	require.ErrorIs(t, r.Deliver(ended, appio.Delivery{ID: "b", Attempt: 2}), failure)
	require.Len(t, r.Deliveries(), 1)
}

func TestRecorderIsUsedConcurrently(t *testing.T) {
	var r channeltest.Recorder
	var wait sync.WaitGroup
	for i := range 50 {
		wait.Go(func() {
			if err := r.Deliver(t.Context(), appio.Delivery{ID: appio.DeliveryID(strconv.Itoa(i))}); err != nil {
				t.Error(err)
			}
			r.Deliveries()
		})
	}
	wait.Wait()
	require.Len(t, r.Deliveries(), 50)
}
