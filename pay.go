package appio

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
)

const (
	gatewayTries = 3
	checkoutTime = time.Hour // of a checkout whose end the gateway does not say
)

// ScanNotice reads the QR code or the Data Matrix of a paper notice, or what is typed from it (the creditor's code, a blank, and the
// notice number), asks the gateway what is to be paid, and keeps the notice among the citizen's bills. A text that is none of these
// is ErrInvalid, a notice that cannot be paid a *[pagopa.Fault], a person without a profile ErrNotFound.
func (c *Citizen) ScanNotice(ctx context.Context, text string) (Debt, error) {
	code, err := pagopa.ParseCode(text)
	if err != nil {
		return Debt{}, invalid("text", "the code of a notice, or a creditor's code and a notice number")
	}
	owner, err := c.beginPayment(ctx, code.RPTID)
	if err != nil {
		return Debt{}, err
	}
	d, err := c.e.verify(ctx, code.RPTID)
	if err != nil {
		return Debt{}, err
	}
	return d, c.changeBill(ctx, owner, d.RPTID, func(b *billRecord, now time.Time) error {
		b.Paper = true
		b.verified(&d)
		return nil
	})
}

// Pay begins the payment of a notice, of a message or from paper, and says where the citizen goes on with it. Asked again before the
// checkout has ended it is the same payment. What is paid, or cannot be paid, is a *[pagopa.Fault]; a notice that is not valid after
// its due date is then ErrExpired; a person without a profile is ErrNotFound.
func (c *Citizen) Pay(ctx context.Context, id pagopa.RPTID) (Checkout, error) {
	if !id.Valid() {
		return Checkout{}, invalid("RPTID", "a creditor's code and a notice number")
	}
	owner, err := c.beginPayment(ctx, id)
	if err != nil {
		return Checkout{}, err
	}
	if b, err := c.Bill(ctx, id); err == nil {
		if err := b.payable(); err != nil {
			return Checkout{}, err
		}
	} else if !errors.Is(err, ErrNotFound) {
		return Checkout{}, err
	}
	d, err := c.e.verify(ctx, id)
	if err != nil {
		return Checkout{}, err
	}
	// The payment's key is on disk before the gateway hears of it: after a crash it is the same payment.
	key := ""
	fresh := string(newDeliveryID())
	err = c.changeBill(ctx, owner, id, func(b *billRecord, now time.Time) error {
		shown := b.bill(toMicro(now))
		if err := shown.payable(); err != nil {
			return err
		}
		b.verified(&d)
		if b.Attempt == "" || toMicro(now) >= b.Until {
			b.Attempt, b.Begun, b.Until = fresh, toMicro(now), toMicro(now.Add(checkoutTime))
		}
		key = b.Attempt
		return nil
	})
	if err != nil {
		return Checkout{}, err
	}
	out, err := c.e.checkout(ctx, d, key)
	over := c.changeBill(context.WithoutCancel(ctx), owner, id, func(b *billRecord, _ time.Time) error {
		if b.Attempt != key {
			return nil
		}
		var fault *pagopa.Fault
		switch {
		case errors.As(err, &fault):
			b.Attempt, b.Begun, b.Until = "", 0, 0
		case err == nil && !out.ExpiresAt.IsZero():
			b.Until = toMicro(micro(out.ExpiresAt))
		}
		return nil
	})
	if err == nil {
		err = over
	}
	return out, err
}

// payable reports why a bill cannot be paid, as far as is known here.
func (b *Bill) payable() error {
	switch b.State {
	case Paid:
		return &pagopa.Fault{Category: pagopa.PaymentDuplicated}
	case Expired:
		return fmt.Errorf("%w: the notice was to be paid by its due date", ErrExpired)
	case Cancelled:
		return &pagopa.Fault{Category: pagopa.PaymentCanceled}
	}
	return nil
}

func (c *Citizen) beginPayment(ctx context.Context, id pagopa.RPTID) (store.Owner, error) {
	if c.e.opts.Payments == nil {
		return "", ErrUnsupported
	}
	return c.begin(ctx)
}

// verified takes over what the creditor says now.
func (b *billRecord) verified(d *Debt) {
	b.Amount = int64(d.Amount)
	if d.Payee != "" {
		b.Payee = d.Payee
	}
	if d.Description != "" {
		b.Text = d.Description
	}
	if !d.Due.IsZero() && len(b.Messages) == 0 {
		b.Due = toMicro(micro(d.Due))
	}
}

// changeBill changes a bill of the citizen's, which is made if there is none.
func (c *Citizen) changeBill(ctx context.Context, owner store.Owner, id pagopa.RPTID, change func(b *billRecord, now time.Time) error) error {
	key := c.e.codec.of(owner).billKey(id)
	return c.e.do(ctx, &op{
		owner: owner, urgent: true, keys: append([]store.Key{key}, profileKeys...),
		apply: func(tx *draft) error {
			if tx.get(keyTombstone) != nil {
				return ErrErasing
			}
			if p, err := tx.readProfile(); err != nil {
				return err
			} else if p == nil {
				return fmt.Errorf("%w: the person has no profile", ErrNotFound)
			}
			now := micro(c.e.now())
			b, err := tx.readBill(key)
			if errors.Is(err, store.ErrCorrupt) {
				tx.quarantine(tx.get(key))
			} else if err != nil {
				return err
			}
			fresh := b == nil
			if fresh {
				b = &billRecord{Creditor: string(id.Creditor), Notice: string(id.Notice), Added: toMicro(now), Paper: true}
			}
			if err := change(b, now); err != nil {
				return err
			}
			return tx.putBill(key, b, fresh, now)
		},
	})
}

// verify asks the gateway. What it says of a notice that cannot be paid is news.
func (e *Engine) verify(ctx context.Context, id pagopa.RPTID) (d Debt, err error) {
	d, err = ask(ctx, e, "verify", func(ctx context.Context) (Debt, error) {
		d, err := e.opts.Payments.Verify(ctx, id)
		switch {
		case err != nil:
			return Debt{}, err
		case d.RPTID != id || d.Amount < 1 || d.Amount > pagopa.MaxAmount:
			return Debt{}, errors.New("appio: the payment gateway answered for another notice, or without an amount")
		}
		return d, nil
	})
	var fault *pagopa.Fault
	if errors.As(err, &fault) {
		if state, ok := stateOf(fault); ok {
			news := PaymentEvent{ID: "verify/" + e.ulids.next(e.now()), RPTID: id, State: state, At: e.now()}
			if err := e.Settle(ctx, news); err != nil {
				e.log().Error("what the gateway said of a notice could not be kept", "err", err)
			}
		}
	}
	return d, err
}

// stateOf is what a fault says of the notice's payment, if it does.
func stateOf(f *pagopa.Fault) (PaymentState, bool) {
	switch f.Category {
	case pagopa.PaymentDuplicated:
		return Paid, true
	case pagopa.PaymentOngoing:
		return Paying, true
	case pagopa.PaymentExpired:
		return Expired, true
	case pagopa.PaymentCanceled:
		return Cancelled, true
	}
	return "", false
}

func (e *Engine) checkout(ctx context.Context, d Debt, key string) (out Checkout, err error) {
	return ask(ctx, e, "checkout", func(ctx context.Context) (Checkout, error) {
		out, err := e.opts.Payments.Start(ctx, d, key)
		if err != nil {
			return Checkout{}, err
		}
		if u, err := url.Parse(out.URL); err != nil || u.Scheme != "https" || u.Host == "" {
			return Checkout{}, errors.New("appio: the payment gateway gave no https URL")
		}
		return out, nil
	})
}

// ask calls the gateway, and again after what may pass: at most three times in all.
func ask[T any](ctx context.Context, e *Engine, name string, call func(ctx context.Context) (T, error)) (v T, err error) {
	end := e.observe(&ctx, Operation{Name: name, Count: 1})
	defer func() { end(Outcome{Err: err}) }()
	for try := 1; ; try++ {
		if v, err = askOnce(ctx, e, call); err == nil || try == gatewayTries {
			return v, err
		}
		var fault *pagopa.Fault
		if errors.As(err, &fault) && fault.Category != pagopa.GenericError && fault.Category != pagopa.PaymentUnavailable {
			return v, err
		}
		pause(ctx, jitter(try, 100*time.Millisecond, time.Second))
		if ctx.Err() != nil {
			return v, err
		}
	}
}

// askOnce does not wait for a gateway that goes on when its time is over.
func askOnce[T any](ctx context.Context, e *Engine, call func(ctx context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, e.opts.PaymentTimeout)
	type answer struct {
		v   T
		err error
	}
	got := make(chan answer, 1)
	go func() {
		defer cancel()
		var a answer
		defer func() {
			if p := recover(); p != nil {
				a = answer{err: errors.New("appio: the payment gateway panicked")}
				e.log().Error("the payment gateway panicked")
			}
			got <- a
		}()
		a.v, a.err = call(ctx)
	}()
	select {
	case a := <-got:
		return a.v, a.err
	case <-ctx.Done():
	}
	late := time.NewTimer(gatewayGrace)
	defer late.Stop()
	select {
	case a := <-got:
		return a.v, a.err
	case <-late.C:
		var none T
		return none, context.Cause(ctx)
	}
}

// gatewayGrace is how long a gateway may take to notice that its time is over.
const gatewayGrace = time.Second
