package appio

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/appio-go/appio/store"
)

// ValidationFor is how long the token of a [Validation] can be confirmed.
const ValidationFor = 30 * 24 * time.Hour

// validationEvery is the least time between two that are asked for, for one address and, after so many at once, for all that a citizen
// enters one after the other: whoever asks decides where mail goes.
const (
	validationEvery   = time.Minute
	validationsAtOnce = 10
)

// A Validation is what a channel sends to an address, to have its owner confirm it: see [Citizen.ValidateAddress].
type Validation struct {
	Token     string // for Engine.ConfirmAddress; whoever has it can read what is sent to the address
	Address   Address
	Language  string // the citizen's first; empty: not chosen
	ExpiresAt time.Time
}

// LogValue has no address and no token.
func (v Validation) LogValue() slog.Value {
	return slog.GroupValue(slog.String("channel", v.Address.Channel), slog.Time("expires", v.ExpiresAt))
}

// String is that of LogValue.
func (v Validation) String() string { return "validation by " + v.Address.Channel }

// A proof is what the token of a validation says. The store keeps a hash of the whole token beside the address.
type proof struct {
	Owner   string `msgpack:"o"`
	Address string `msgpack:"a"`
}

// A bounce is what the token says by which an address is known that takes no mail any more.
type bounce struct {
	Owner       string `msgpack:"o"`
	Address     string `msgpack:"a"`
	Value       []byte `msgpack:"v"` // first half of its SHA-256
	ValidatedAt int64  `msgpack:"t"`
}

func (c *codec) sealBounce(owner store.Owner, a *Address) string {
	return c.sealToken(bouncePurpose, &bounce{string(owner), a.ID, valueHash(a.Value), toMicro(a.ValidatedAt)})
}

func valueHash(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:16]
}

// ValidateAddress makes the token by which the owner of an address of the profile proves that it is theirs, with
// [Engine.ConfirmAddress]. The host has the channel send it to the address, and shows it nobody else. It can be confirmed for
// [ValidationFor], until the address changes or another token is made for it. An address that is not in the profile is
// ErrNotFound, one that is proved already ErrConflict, and less than a minute after the last token it is ErrLimited; so is, whichever
// addresses they are for, more than one a minute after the first ten, as far as this engine knows.
func (c *Citizen) ValidateAddress(ctx context.Context, id string) (Validation, error) {
	owner, err := c.begin(ctx)
	if err != nil {
		return Validation{}, err
	}
	now := c.e.now()
	v := Validation{
		Token: c.e.codec.sealToken(proofPurpose, &proof{string(owner), id}), ExpiresAt: fromMicro(toMicro(now.Add(ValidationFor))),
	}
	sum := sha256.Sum256([]byte(v.Token))
	counted := false
	err = c.e.changeConsent(ctx, owner, consentChange{by: ByCitizen, what: AskedValidation, id: c.id,
		profile: func(before *profileRecord, _ uint32) (*profileRecord, error) {
			next, err := before.withAddress(id, func(a *addressRecord) error {
				since := now.Sub(fromMicro(a.ProofAt))
				switch {
				case a.ValidatedAt != 0:
					return fmt.Errorf("%w: the address is validated", ErrConflict)
				case a.ProofAt != 0 && since >= 0 && since < validationEvery:
					return fmt.Errorf("%w: a validation was asked for less than a minute ago", ErrLimited)
				}
				if !counted {
					if wait := c.e.asks.take(owner, 1/validationEvery.Seconds(), validationsAtOnce, validationsAtOnce, now); wait > 0 {
						return &LimitedError{After: wait}
					}
					counted = true
				}
				a.Proof, a.ProofAt = sum[:], toMicro(now)
				v.Address, v.Language = Address{ID: a.ID, Channel: a.Channel, Value: a.Value}, ""
				if len(before.Languages) > 0 {
					v.Language = before.Languages[0]
				}
				return nil
			})
			if err == nil {
				next.Moves++
			}
			return next, err
		}})
	if err != nil {
		return Validation{}, err
	}
	return v, nil
}

// ConfirmAddress redeems the token of a [Validation], without a login: the address counts as its owner's from now on. It can
// be redeemed again, and then does nothing. A token that this engine did not make, that another one replaced, or whose address
// has changed, was removed, or came back undeliverable is ErrUnauthorized; after [ValidationFor] it is ErrExpired. Where the route says
// Unique, an address that somebody else has proved is ErrTaken.
func (e *Engine) ConfirmAddress(ctx context.Context, token string) error {
	if err := e.ready(ctx); err != nil {
		return err
	}
	var p proof
	if err := e.codec.openToken(proofPurpose, token, &p); err != nil {
		return err
	}
	for try := 0; ; try++ {
		err := e.confirmAddress(ctx, &p, sha256.Sum256([]byte(token)))
		if !errors.Is(err, errStale) {
			return err
		}
		if try == conflictTries {
			return ErrBusy
		}
		pause(ctx, jitter(try, time.Millisecond, 100*time.Millisecond))
	}
}

func (e *Engine) confirmAddress(ctx context.Context, p *proof, sum [sha256.Size]byte) error {
	owner := store.Owner(p.Owner)
	channel, value, err := e.toConfirm(ctx, owner, p.Address, sum)
	if err != nil {
		return err
	}
	taken, err := e.take(ctx, owner, channel, value)
	if err != nil {
		return err
	}
	err = e.changeConsent(ctx, owner, consentChange{by: ByToken, what: ValidatedAddress,
		profile: func(before *profileRecord, _ uint32) (*profileRecord, error) {
			now := e.now()
			next, err := before.withAddress(p.Address, func(a *addressRecord) error {
				switch {
				case subtle.ConstantTimeCompare(a.Proof, sum[:]) != 1:
					return ErrUnauthorized
				case a.ValidatedAt != 0:
					return errUnchanged
				case !now.Before(fromMicro(a.ProofAt).Add(ValidationFor)):
					return fmt.Errorf("%w: the validation was asked for too long ago", ErrExpired)
				case taken.stale() || e.unique(a.Channel) && (a.Channel != channel || a.Value != value):
					return errStale
				}
				a.ValidatedAt = toMicro(now)
				return nil
			})
			if errors.Is(err, ErrNotFound) {
				return nil, ErrUnauthorized
			}
			return next, err
		}})
	if errors.Is(err, ErrErasing) {
		return ErrUnauthorized
	}
	return err
}

// toConfirm is the address that a token would prove, as it is before the change that asks about it again; empty: there is nothing to
// take.
func (e *Engine) toConfirm(ctx context.Context, owner store.Owner, id string, sum [sha256.Size]byte) (channel, value string, err error) {
	d, err := e.view(ctx, owner, store.Range{}, "", profileKeys...)
	if err != nil {
		return "", "", err
	}
	p, err := d.readProfile()
	if err != nil || p == nil {
		return "", "", err
	}
	a := p.address(id)
	if a == nil || a.ValidatedAt != 0 || subtle.ConstantTimeCompare(a.Proof, sum[:]) != 1 {
		return "", "", nil
	}
	return a.Channel, a.Value, nil
}

// Bounced redeems Delivery.Bounce, without a login: mail to the address came back, and nothing is sent there until it is validated
// anew. What it takes away is in force when Bounced returns: see [InFlightError]. It does nothing if the address has changed, was
// removed, or was validated anew since the delivery was made, nor if it was redeemed before. A token that this engine did not make
// is ErrUnauthorized.
func (e *Engine) Bounced(ctx context.Context, token string) error {
	if err := e.ready(ctx); err != nil {
		return err
	}
	var b bounce
	if err := e.codec.openToken(bouncePurpose, token, &b); err != nil {
		return err
	}
	err := e.changeConsent(ctx, store.Owner(b.Owner), consentChange{by: ByChannel, what: BouncedAddress,
		profile: func(before *profileRecord, _ uint32) (*profileRecord, error) {
			next, err := before.withAddress(b.Address, func(a *addressRecord) error {
				if b.ValidatedAt == 0 || a.ValidatedAt != b.ValidatedAt || subtle.ConstantTimeCompare(valueHash(a.Value), b.Value) != 1 {
					return errUnchanged
				}
				a.ValidatedAt = 0
				return nil
			})
			if errors.Is(err, ErrNotFound) {
				return nil, nil
			}
			return next, err
		}})
	if errors.Is(err, ErrErasing) {
		return nil
	}
	return err
}

var errUnchanged = errors.New("appio: nothing to change")

// withAddress is a copy of the profile in which change has changed one address; nil where that was errUnchanged.
func (p *profileRecord) withAddress(id string, change func(*addressRecord) error) (*profileRecord, error) {
	if p == nil || p.address(id) == nil {
		return nil, ErrNotFound
	}
	next := *p
	next.Addresses = slices.Clone(p.Addresses)
	if err := change(next.address(id)); errors.Is(err, errUnchanged) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	next.Version++
	return &next, nil
}
