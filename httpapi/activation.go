package httpapi

import (
	"errors"
	"time"

	"github.com/appio-go/appio"
)

var sendRoutes = []route{
	{"GET /api/communication/v1/send/activation", citizen, 0, sendActivation},
	{"POST /api/communication/v1/send/activation", citizen, 0, setSendActivation},
}

// A SendActivation is whether SEND writes to the citizen.
type SendActivation struct {
	Status bool `json:"activation_status"`
}

// sendService is the service that is activated.
func (c *call) sendService() (appio.ServiceID, error) {
	test, err := c.flag("isTest")
	if err != nil {
		return "", err
	}
	id := c.o.Send
	if test {
		id = c.o.SendTest
	}
	if id == "" {
		return "", notFound("")
	}
	return id, nil
}

func sendActivation(c *call) (answer, error) {
	id, err := c.sendService()
	if err != nil {
		return answer{}, err
	}
	a, err := c.citizen.Activation(c.ctx, id)
	if err != nil {
		return answer{}, err
	}
	return ok(SendActivation{a != appio.Inactive}), nil
}

func setSendActivation(c *call) (answer, error) {
	id, err := c.sendService()
	if err != nil {
		return answer{}, err
	}
	var b SendActivation
	if err := c.body(&b); err != nil {
		return answer{}, err
	}
	a := appio.Inactive
	if b.Status {
		a = appio.Active
	}
	sender := c.e.Sender(id)
	if err := settled(sender.Activate(c.ctx, c.identity.Code, a, time.Time{})); err != nil {
		return answer{}, err
	}
	if b.Status { // a service is not told that somebody is being erased, who knows it
		if _, err := sender.Activation(c.ctx, c.identity.Code); errors.Is(err, appio.ErrNotFound) {
			return answer{}, appio.ErrErasing
		} else if err != nil {
			return answer{}, err
		}
	}
	return noContent, nil
}
