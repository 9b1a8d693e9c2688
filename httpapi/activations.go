package httpapi

import (
	"errors"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

var activationRoutes = []route{
	{"POST /api/v1/activations/{$}", service, 0, activation},
	{"POST /api/v1/activations", service, 0, activation},
	{"PUT /api/v1/activations/{$}", service, 0, activate},
	{"PUT /api/v1/activations", service, 0, activate},
}

// An ActivationPayload says whether a Special service serves a citizen.
type ActivationPayload struct {
	FiscalCode string `json:"fiscal_code"`
	Status     string `json:"status"` // ACTIVE, INACTIVE, or PENDING, which counts as active for a day
}

// An Activation is what a Special service said last of a citizen.
type Activation struct {
	ServiceID  appio.ServiceID   `json:"service_id"`
	FiscalCode fiscalcode.Person `json:"fiscal_code"`
	Status     string            `json:"status"`
	Version    int               `json:"version"` // how often it was said before
}

// inactive is how the wire calls what is not active.
const inactive = "INACTIVE"

func activation(c *call) (answer, error) {
	var p FiscalCodePayload
	if err := c.body(&p); err != nil {
		return answer{}, err
	}
	to, err := person("fiscal_code", p.FiscalCode)
	if err != nil {
		return answer{}, err
	}
	return c.activationOf(to)
}

// activationOf answers what the service said last, if anything is kept of it: while somebody is being erased nothing is.
func (c *call) activationOf(to fiscalcode.Person) (answer, error) {
	a, err := c.sender.Activation(c.ctx, to)
	if errors.Is(err, appio.ErrNotFound) {
		return answer{}, notFound("Activation not found")
	}
	if err != nil {
		return answer{}, err
	}
	status := string(a.Activation)
	if a.Activation == appio.Inactive {
		status = inactive
	}
	return ok(Activation{c.sender.ID(), to, status, a.Version}), nil
}

func activate(c *call) (answer, error) {
	var p ActivationPayload
	if err := c.body(&p); err != nil {
		return answer{}, err
	}
	to, err := person("fiscal_code", p.FiscalCode)
	if err != nil {
		return answer{}, err
	}
	said := appio.Activation(p.Status)
	switch {
	case p.Status == inactive:
		said = appio.Inactive
	case said != appio.Active && said != appio.Pending:
		return answer{}, badParameters("status: ACTIVE, INACTIVE or PENDING")
	}
	if err := settled(c.sender.Activate(c.ctx, to, said, time.Time{})); err != nil {
		return answer{}, err
	}
	return c.activationOf(to)
}
