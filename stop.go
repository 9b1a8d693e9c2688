package appio

import (
	"context"
	"fmt"

	"github.com/appio-go/appio/store"
)

// StopService stops a service by the operator's word: when it returns nothing of it begins to be sent any more, see [InFlightError], and
// its organization cannot publish it until [Engine.AllowService]. All else of it goes on: it can be edited, submitted, approved and
// deleted. by and the reason, which the organization reads, are noted in the history of a service that an authority prepares; at most 200
// and 1,000 UTF-16 units. A deleted service is ErrConflict; one that is stopped so already stays as it is.
func (e *Engine) StopService(ctx context.Context, id ServiceID, by, reason string) error {
	if err := validText("reason", reason, 0, 1000); err != nil {
		return err
	}
	return e.changeHeld(ctx, id, by, func(m *managed) error {
		if m.live.Held {
			return nil
		}
		m.setLive(m.live, Stopped)
		m.live.Held = true
		if m.d != nil {
			m.log(ServiceStopped, reason, nil)
		}
		return nil
	})
}

// AllowService ends what StopService began, and publishes nothing: that is its organization's to do. A service of which no version was
// ever approved is in trial again. One of PutService stays Stopped until it is put otherwise. A service that is not stopped so stays as it is.
func (e *Engine) AllowService(ctx context.Context, id ServiceID, by string) error {
	return e.changeHeld(ctx, id, by, func(m *managed) error {
		if !m.live.Held {
			return nil
		}
		m.setLive(m.live, Stopped)
		m.live.Held = false
		if m.d == nil {
			return nil
		}
		if m.d.ApprovedAt == 0 {
			m.setLive(&m.d.Data, Trial)
		}
		m.log(ServiceAllowed, "", nil)
		return nil
	})
}

func (e *Engine) changeHeld(ctx context.Context, id ServiceID, by string, f func(m *managed) error) error {
	if err := validBy(by); err != nil {
		return err
	}
	if err := e.ready(ctx); err != nil {
		return err
	}
	if id.validate() != nil {
		return errNoService
	}
	return e.changeServiceWith(ctx, id, []store.Key{keyDraft}, e.managing(serviceActor{by: ByOperator, who: by}, func(m *managed) error {
		switch {
		case m.live == nil:
			return errNoService
		case m.d != nil && m.d.Stage == Deleted:
			return fmt.Errorf("%w: the service is deleted", ErrConflict)
		}
		return f(m)
	}))
}
