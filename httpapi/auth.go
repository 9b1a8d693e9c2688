package httpapi

import (
	"errors"
	"net/http"
	"net/netip"

	"github.com/appio-go/appio"
)

// who is the kind of caller that a route is for.
type who uint8

const (
	anybody   who = iota
	service       // with a service's key
	manager       // with a key for managing services, which is an organization's
	keyholder     // with a key of either kind
	citizen       // as the host's login says
)

// KeyHeader is where services have their keys, as in IO.
const KeyHeader = "Ocp-Apim-Subscription-Key"

// authenticate finds out who calls: 401 where nobody is known, 403 where somebody is who may not ask here.
func (c *call) authenticate() error {
	switch c.route.who {
	case service:
		return c.authenticateService()
	case manager:
		return c.authenticateManager()
	case keyholder:
		err := c.authenticateManager()
		if errors.Is(err, appio.ErrForbidden) { // it may be a service's
			return c.authenticateService()
		}
		return err
	case citizen:
		id, err := c.o.Citizen(c.r)
		if err != nil {
			return err
		}
		if c.isOthers() {
			return problem(http.StatusForbidden, "", "The request is another site's.")
		}
		c.citizen, c.identity = c.e.Citizen(id), id
		if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
			return c.citizen.MayChange(c.ctx)
		}
	}
	return nil
}

// isOthers reports whether a page of another site has the citizen's browser make the request, with their cookie. Some need no body, and
// change something by a GET even: to open a message is to accept its precondition. Who sends a token of their own is asked by the browser first.
func (c *call) isOthers() bool {
	return c.r.Header.Get("Sec-Fetch-Site") == "cross-site" && c.r.Header.Get("Authorization") == ""
}

func (c *call) authenticateService() error {
	key, err := c.key()
	if err != nil {
		return err
	}
	c.sender, err = c.e.SenderByKey(c.ctx, key, c.addr())
	return unknownKey(err)
}

func (c *call) authenticateManager() error {
	key, err := c.key()
	if err != nil {
		return err
	}
	c.authority, err = c.e.AuthorityByKey(c.ctx, key, c.addr())
	return unknownKey(err)
}

func (c *call) key() (string, error) {
	key := c.r.Header.Get(KeyHeader)
	if key == "" {
		return "", problem(http.StatusUnauthorized, "", "The header "+KeyHeader+" is missing.")
	}
	return key, nil
}

func unknownKey(err error) error {
	if errors.Is(err, appio.ErrUnauthorized) {
		return problem(http.StatusUnauthorized, "", "The key is not known, or is no longer in use.")
	}
	return err
}

// addr is where the request comes from. What is not known is the address that is in no prefix of a key, rather than none, which the engine would
// not check.
func (c *call) addr() netip.Addr {
	if a := c.o.Addr(c.r); a.IsValid() {
		return a
	}
	return netip.IPv6Unspecified()
}
