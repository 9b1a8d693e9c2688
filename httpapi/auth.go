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
	anybody who = iota
	service     // with a service's key
	manager     // with a key for managing services
	citizen     // as the host's login says
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
	case citizen:
		id, err := c.o.Citizen(c.r)
		if err != nil {
			return err
		}
		c.citizen, c.identity = c.e.Citizen(id), id
	}
	return nil
}

func (c *call) authenticateService() (err error) {
	key := c.r.Header.Get(KeyHeader)
	if key == "" {
		return noKey()
	}
	c.sender, err = c.e.SenderByKey(c.ctx, key, c.addr())
	if errors.Is(err, appio.ErrUnauthorized) {
		return unknownKey()
	}
	return err
}

// authenticateManager takes an organization's key; a service's is one of the wrong kind.
func (c *call) authenticateManager() (err error) {
	key := c.r.Header.Get(KeyHeader)
	if key == "" {
		return noKey()
	}
	c.authority, err = c.e.AuthorityByKey(c.ctx, key, c.addr())
	if errors.Is(err, appio.ErrUnauthorized) {
		return unknownKey()
	}
	return err
}

func noKey() error {
	return problem(http.StatusUnauthorized, "", "The header "+KeyHeader+" is missing.")
}

func unknownKey() error {
	return problem(http.StatusUnauthorized, "", "The key is not known, or is no longer in use.")
}

// addr is where the request comes from. What is not known is an address that no list of a service has, rather than none, which the engine
// would not check.
func (c *call) addr() netip.Addr {
	if a := c.o.Addr(c.r); a.IsValid() {
		return a
	}
	return netip.IPv6Unspecified()
}
