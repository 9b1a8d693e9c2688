package email

import (
	"bytes"
	"context"
	"fmt"

	"github.com/appio-go/appio"
)

// A Channel sends deliveries as e-mail. Made by [New]; it may be used concurrently.
type Channel struct {
	o    Options
	host string // of Addr
	logo string // its media type
	pool pool
}

// New makes a channel. It connects to nothing: a wrong address or password shows with the first delivery. An option that cannot be is
// appio.ErrInvalid.
func New(o *Options) (*Channel, error) {
	c := &Channel{}
	if o != nil {
		c.o = *o
	}
	var err error
	if c.host, c.logo, err = c.o.complete(); err != nil {
		return nil, err
	}
	c.pool.places, c.pool.wait = make(chan struct{}, c.o.Connections), c.o.Idle
	return c, nil
}

// Close ends the connections that wait. Deliveries that are under way go on; later ones fail. It is called after the engine's Close.
func (c *Channel) Close() error {
	c.pool.close()
	return nil
}

// Deliver sends one delivery to its address.
func (c *Channel) Deliver(ctx context.Context, d appio.Delivery) error {
	to, err := parseAddress(d.Address.Value)
	if err != nil {
		return appio.Permanent(err)
	}
	p := c.page(&d)
	m := &letter{
		id: clean(string(d.ID)), from: p.Organization, to: to, page: p, text: p.text(), bounce: d.Bounce,
	}
	if c.o.DKIM != nil && p.Withdraw != "" {
		m.oneClick = p.Withdraw
	}
	return c.sendMail(ctx, m)
}

// SendValidation sends the mail that asks for the confirmation of an address, in one attempt. The errors are those of Deliver; v can be
// sent again.
func (c *Channel) SendValidation(ctx context.Context, v appio.Validation) error {
	if c.o.Validate == "" {
		return fmt.Errorf("email: %w: without Options.Validate", appio.ErrUnsupported)
	}
	to, err := parseAddress(v.Address.Value)
	if err != nil {
		return appio.Permanent(err)
	}
	p := c.validationPage(&v)
	return c.sendMail(ctx, &letter{id: idOf(v.Token), to: to, page: p, text: p.text()})
}

func (c *Channel) sendMail(ctx context.Context, m *letter) error {
	var b bytes.Buffer
	if err := c.write(&b, m); err != nil {
		return appio.Permanent(err)
	}
	return c.send(ctx, &mailing{m.to, b.Bytes()})
}
