package appio

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
)

const (
	gatewayTries = 3
	checkoutTime = time.Hour // of a checkout whose end the gateway does not say

	longestCheckout = 24 * time.Hour // what a gateway says beyond that is not believed: a checkout that is over would be used for good
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
	before, err := c.bill(ctx, owner, code.RPTID)
	if err != nil {
		return Debt{}, err
	}
	d, err := c.e.verify(ctx, code.RPTID, before)
	if err != nil {
		return Debt{}, err
	}
	return d, c.changeBill(ctx, owner, d.RPTID, func(b *billRecord, now time.Time) error {
		b.Paper = true
		b.verified(&d)
		return nil
	})
}

// Debt asks the gateway what is to be paid of a notice now, whoever it is of, and keeps nothing of it. What cannot be paid is a
// *[pagopa.Fault], and where the gateway does not answer it is ErrGateway. With ScanNotice and Pay, which ask it too, it is a [LimitedError]
// above Options.DebtRate.
func (c *Citizen) Debt(ctx context.Context, id pagopa.RPTID) (Debt, error) {
	if !id.Valid() {
		return Debt{}, invalid("RPTID", "a creditor's code and a notice number")
	}
	owner, err := c.beginPayment(ctx, id)
	if err != nil {
		return Debt{}, err
	}
	before, err := c.bill(ctx, owner, id)
	if err != nil {
		return Debt{}, err
	}
	return c.e.verify(ctx, id, before)
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
	before, err := c.bill(ctx, owner, id)
	if err != nil {
		return Checkout{}, err
	}
	if err := before.payable(c.e.now()); err != nil {
		return Checkout{}, err
	}
	d, err := c.e.verify(ctx, id, before)
	var fault *pagopa.Fault
	ongoing := errors.As(err, &fault) && fault.Category == pagopa.PaymentOngoing
	if err != nil && !ongoing {
		return Checkout{}, err
	}
	// The payment's key is on disk before the gateway hears of it: after a crash it is the same payment.
	key := ""
	fresh := string(newDeliveryID())
	err = c.changeBill(ctx, owner, id, func(b *billRecord, now time.Time) error {
		if err := b.payable(now); err != nil {
			return err
		}
		begun := b.Attempt != "" && toMicro(now) < b.Until
		switch {
		case ongoing && !begun: // by somebody else
			return fault
		case ongoing:
			d = Debt{RPTID: id, Amount: pagopa.Amount(b.Amount)} // the gateway knows the rest since it began
		default:
			b.verified(&d)
		}
		if !begun {
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
		case errors.As(err, &fault) && !passes(fault): // after another, what it may have begun goes on with the same key
			b.Attempt, b.Begun, b.Until = "", 0, 0
		case err == nil && !out.ExpiresAt.IsZero():
			b.Until = min(toMicro(micro(out.ExpiresAt)), b.Begun+int64(longestCheckout/time.Microsecond))
		}
		return nil
	})
	if err == nil {
		err = over
	}
	return out, err
}

// payable reports why a bill cannot be paid, as far as that is sure here: what else was heard of it, the gateway is asked about.
func (b *billRecord) payable(now time.Time) error {
	switch {
	case b == nil:
	case b.News != nil && b.News.State == Paid:
		return &pagopa.Fault{Category: pagopa.PaymentDuplicated}
	case b.over(toMicro(now)):
		return fmt.Errorf("%w: the notice was to be paid by its due date", ErrExpired)
	}
	return nil
}

// bill is what the citizen has of a notice; nil: nothing, or what cannot be read.
func (c *Citizen) bill(ctx context.Context, owner store.Owner, id pagopa.RPTID) (*billRecord, error) {
	key := c.e.codec.of(owner).billKey(id)
	d, err := c.viewPersonal(ctx, owner, store.Range{}, key)
	if err != nil || d == nil {
		return nil, err
	}
	b, err := d.readBill(key)
	if errors.Is(err, store.ErrCorrupt) {
		return nil, nil
	}
	return b, err
}

func (c *Citizen) beginPayment(ctx context.Context, id pagopa.RPTID) (store.Owner, error) {
	if c.e.opts.Payments == nil {
		return "", unsupported("Options.Payments")
	}
	owner, err := c.begin(ctx)
	if err != nil {
		return "", err
	}
	return owner, c.e.debts.ask(owner, c.e.opts.DebtRate, leastAtOnce, c.e.now())
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

// verify asks the gateway about a notice that somebody has a bill of, or nil. What it says is news: why the notice cannot be paid, or
// that it can after something else was heard.
func (e *Engine) verify(ctx context.Context, id pagopa.RPTID, b *billRecord) (d Debt, err error) {
	d, err = ask(ctx, e, "verify", func(ctx context.Context) (Debt, error) {
		d, err := e.opts.Payments.Verify(ctx, id)
		switch {
		case err != nil:
			return Debt{}, err
		case d.RPTID != id || d.Amount < 1 || d.Amount > pagopa.MaxAmount:
			return Debt{}, errors.New("appio: the payment gateway answered for another notice, or without an amount")
		}
		d.Payee, d.Description = short(d.Payee), short(d.Description)
		return d, nil
	})
	state := PaymentState("")
	var fault *pagopa.Fault
	switch {
	case errors.As(err, &fault):
		state = stateOf(fault)
	case err == nil && b != nil && b.News != nil && b.News.State != Unpaid:
		state = Unpaid
	}
	if state != "" {
		news := PaymentEvent{ID: "verify/" + e.ulids.next(e.now()), RPTID: id, State: state, At: e.now()}
		if err := e.settleNews(ctx, &news, true); err != nil {
			e.log().Error("what the gateway said of a notice could not be kept", "err", err)
		}
	}
	return d, err
}

// passes reports whether a fault is of the moment, and says nothing of the notice.
func passes(f *pagopa.Fault) bool {
	return f.Category == pagopa.GenericError || f.Category == pagopa.PaymentUnavailable
}

// short is a text of the gateway's as it is kept.
func short(text string) string {
	const most = 1000 // bytes; the creditor's own are of 140 characters
	return strings.ToValidUTF8(text[:min(len(text), most)], "")
}

// stateOf is what a fault says of the notice's payment; empty: nothing.
func stateOf(f *pagopa.Fault) PaymentState {
	switch f.Category {
	case pagopa.PaymentDuplicated:
		return Paid
	case pagopa.PaymentOngoing:
		return Paying
	case pagopa.PaymentExpired:
		return Expired
	case pagopa.PaymentCanceled:
		return Cancelled
	}
	return ""
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
	defer func() { end(Outcome{Err: observed(err)}) }()
	for try := 1; ; try++ {
		if v, err = askOnce(ctx, e, call); err == nil {
			return v, nil
		}
		var fault *pagopa.Fault
		if !errors.As(err, &fault) {
			err = &gatewayError{err}
		}
		if try == gatewayTries || fault != nil && !passes(fault) {
			return v, err
		}
		pause(ctx, jitter(try, 100*time.Millisecond, time.Second))
		if ctx.Err() != nil {
			return v, err
		}
	}
}

// observed is a gateway's error for an observer: not its text, which may name the notice, as a URL does.
func observed(err error) error {
	var fault *pagopa.Fault
	switch {
	case err == nil:
		return nil
	case errors.As(err, &fault):
		return fault
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return context.Canceled
	}
	return ErrGateway
}

// A gatewayError is what the gateway said, and ErrGateway.
type gatewayError struct{ err error }

func (e *gatewayError) Error() string   { return e.err.Error() }
func (e *gatewayError) Unwrap() []error { return []error{ErrGateway, e.err} }

// gatewayCalls is how many calls of the gateway there are at a time, with those that go on when their time is over.
const gatewayCalls = 256

// askOnce does not wait for a gateway that goes on when its time is over. Such a call keeps its place until it ends.
func askOnce[T any](ctx context.Context, e *Engine, call func(ctx context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, e.opts.PaymentTimeout)
	select {
	case e.asking <- struct{}{}:
	case <-ctx.Done():
		defer cancel()
		var none T
		return none, context.Cause(ctx)
	}
	type answer struct {
		v   T
		err error
	}
	got := make(chan answer, 1)
	go func() {
		defer cancel()
		defer func() { <-e.asking }()
		a := answer{err: errors.New("appio: the payment gateway ended its goroutine")} // unless the call returns
		defer func() {
			if p := recover(); p != nil {
				a = answer{err: errors.New("appio: the payment gateway panicked")}
				e.log().Error("the payment gateway panicked")
			}
			got <- a
		}()
		v, err := call(ctx)
		var fault *pagopa.Fault
		if errors.As(err, &fault) && fault == nil {
			err = errors.New("appio: the payment gateway answered with a fault that is nil")
		}
		a = answer{v, err}
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
