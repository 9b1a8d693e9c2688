package httpapi

import (
	"errors"
	"net/http"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

var profileRoutes = []route{
	{"POST /api/v1/profiles", service, 0, profileByBody},
	{"GET /api/v1/profiles/{fiscal_code}", service, 0, profileByPath},
}

// A FiscalCodePayload names a citizen.
type FiscalCodePayload struct {
	FiscalCode string `json:"fiscal_code"`
}

// A LimitedProfile is what a sender is told of a citizen.
type LimitedProfile struct {
	SenderAllowed      bool     `json:"sender_allowed"` // a message would be processed now
	PreferredLanguages []string `json:"preferred_languages,omitempty"`
}

func profileByBody(c *call) (answer, error) {
	var p FiscalCodePayload
	if err := c.body(&p); err != nil {
		return answer{}, err
	}
	to, err := person("fiscal_code", p.FiscalCode)
	if err != nil {
		return answer{}, err
	}
	return c.profileOf(to)
}

func profileByPath(c *call) (answer, error) {
	to, err := c.person("fiscal_code")
	if err != nil {
		return answer{}, err
	}
	return c.profileOf(to)
}

// profileOf answers 404 for who has no profile, or a closed inbox, as IO does; in trial, 403 for who is no recipient of it.
func (c *call) profileOf(to fiscalcode.Person) (answer, error) {
	if c.o.CloseProfiles {
		return answer{}, problem(http.StatusForbidden, "", "This platform does not answer questions about profiles; messages can be sent without.")
	}
	r, err := c.sender.Recipient(c.ctx, to)
	switch {
	case errors.Is(err, appio.ErrNotFound):
		return answer{}, notFound("Profile not found")
	case errors.Is(err, appio.ErrForbidden):
		return answer{}, c.forbidden(&appio.Message{To: to}, appio.ReadProfiles)
	case err != nil:
		return answer{}, err
	}
	return ok(LimitedProfile{r.Allowed, wireLanguages(r.Languages)}), nil
}
