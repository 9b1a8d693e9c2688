package main

import (
	"encoding/json"
	"io"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/pagopa"
)

// An event is news of a notice as the server tells it.
type event struct {
	ID    string             `json:"id"`
	RPTID string             `json:"rptId"`
	State appio.PaymentState `json:"state"`
	At    time.Time          `json:"at"`
}

func readEvent(r io.Reader, to *appio.PaymentEvent) error {
	var ev event
	if err := json.NewDecoder(io.LimitReader(r, 64<<10)).Decode(&ev); err != nil {
		return err
	}
	id, err := pagopa.ParseRPTID(ev.RPTID)
	*to = appio.PaymentEvent{ID: ev.ID, RPTID: id, State: ev.State, At: ev.At}
	return err
}
