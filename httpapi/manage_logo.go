package httpapi

import (
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/appio-go/appio"
)

// maxLogoBody has room for the largest logo of the engine as base64.
const maxLogoBody = 768 << 10

// A LogoPayload is a logo: see [appio.Authority.PutLogo].
type LogoPayload struct {
	Logo Base64 `json:"logo"` // of a PNG
}

// Base64 is bytes as text, padded or not, and not empty.
type Base64 []byte

var errBase64 = errors.New("base64 that is not empty")

// UnmarshalText reads the bytes.
func (b *Base64) UnmarshalText(text []byte) (err error) {
	*b, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(string(text), "="))
	if err != nil || len(*b) == 0 {
		return errBase64
	}
	return nil
}

func putServiceLogo(c *call) (answer, error) {
	var p LogoPayload
	if err := c.body(&p); err != nil {
		return answer{}, err
	}
	a, d, err := c.managedStill()
	if err != nil {
		return answer{}, err
	}
	return noContent, refusedLogo(a.PutLogo(c.ctx, d.ID, p.Logo))
}

// writeServices is the scope that IO asks for here. No service has it by name: keys that are not bound to scopes have all.
const writeServices appio.Scope = "ApiServiceWrite"

// putOrganizationLogo is for the organization's key, and, as in IO, for those of its services that are not for something else alone. What is of
// a group is neither: who manages it can have a service's key, and is not to change what is everybody's.
func putOrganizationLogo(c *call) (answer, error) {
	code, err := c.organization("code")
	if err != nil {
		return answer{}, err
	}
	var p LogoPayload
	if err := c.body(&p); err != nil {
		return answer{}, err
	}
	a := c.authority
	if a == nil {
		if err := c.sender.Allowed(c.ctx, writeServices); err != nil {
			return answer{}, err
		}
		s, err := c.serviceOf(c.sender.ID())
		if err != nil {
			return answer{}, err
		}
		d, err := c.e.Draft(c.ctx, c.sender.ID())
		switch err = c.rest(err); {
		case err == nil && d.Group != "":
			return answer{}, notAllowed()
		case err != nil && !errors.Is(err, appio.ErrNotFound): // the operator's own has none
			return answer{}, err
		}
		a = c.e.Authority(s.Organization)
	}
	switch {
	case a.Code() == code:
	case c.authority == nil:
		return answer{}, notAllowed()
	default:
		a = a.For(code)
	}
	return answer{status: http.StatusAccepted}, refusedLogo(a.PutOrganizationLogo(c.ctx, p.Logo))
}

func refusedLogo(err error) error {
	var field *appio.FieldError
	if errors.As(err, &field) {
		return badParameters("logo: " + field.Rule)
	}
	return err
}
