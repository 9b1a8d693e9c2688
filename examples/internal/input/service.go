package input

import (
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
)

// LongAgo is when organizations joined the platform, and addresses were proved: what is read does not say.
var LongAgo = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// ServiceNames are the members that the fields of a service are read from, for [InWords].
var ServiceNames = map[string]string{
	"ID": "id", "Name": "name", "Organization": "organization_fiscal_code",
	"MaxPayment": "max_allowed_payment_amount", "Trial": "authorized_recipients",
}

// ParseService reads a service; what is wrong shows in the object.
func ParseService(o Object) appio.Service {
	s := appio.Service{
		ID:             appio.ServiceID(o.Text("id", Required)),
		Name:           o.Text("name", Required),
		Organization:   fiscalcode.Organization(o.Text("organization_fiscal_code", Required)),
		State:          Choice(o, "state", Optional, map[string]appio.ServiceState{"trial": appio.Trial, "live": appio.Live}),
		Category:       Choice(o, "category", Optional, map[string]appio.Category{"STANDARD": appio.Standard, "SPECIAL": appio.Special}),
		SecureChannels: o.Boolean("require_secure_channels", false),
		Premium:        o.Boolean("premium", false),
		MaxPayment:     pagopa.Amount(o.Integer("max_allowed_payment_amount", Optional)),
		OtherPayees:    true, // as IO lets every service
	}
	for _, code := range o.Texts("authorized_recipients") {
		s.Trial = append(s.Trial, fiscalcode.Person(code))
	}
	return s
}
