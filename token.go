package appio

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/appio-go/appio/store"
)

// A withdrawal is what a token for one-click unsubscription (RFC 8058) says. The token is sealed: it shows neither the person
// nor the service, and only this platform makes one.
type withdrawal struct {
	Owner   string    `msgpack:"o"`
	Service ServiceID `msgpack:"n"`
	Channel string    `msgpack:"c"`
}

// What tokens are for: one of a purpose is none of another.
const (
	withdrawalPurpose = "withdraw"
	bouncePurpose     = "bounce"
	proofPurpose      = "validate"
	documentPurpose   = "document"
)

func (c *codec) sealWithdrawal(owner store.Owner, id ServiceID, channel string) string {
	return c.sealToken(withdrawalPurpose, &withdrawal{string(owner), id, channel})
}

func (c *codec) sealToken(purpose string, v any) string {
	e, err := encode(v)
	if err != nil {
		return ""
	}
	defer e.release()
	payload := e.b
	nonce := make([]byte, nonceSize, nonceSize+len(payload)+tagSize)
	rand.Read(nonce)
	return base64.RawURLEncoding.EncodeToString(c.token.Seal(nonce, nonce, payload, []byte(purpose)))
}

// decodeText reads what was written as base64, in the one way it is written: the decoder itself passes over line ends.
func decodeText(s string) ([]byte, error) {
	if i := strings.IndexAny(s, "\r\n"); i >= 0 {
		return nil, base64.CorruptInputError(i)
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

func (c *codec) openWithdrawal(token string) (w withdrawal, err error) {
	err = c.openToken(withdrawalPurpose, token, &w)
	return w, err
}

// openToken is ErrUnauthorized for what sealToken did not make for this purpose.
func (c *codec) openToken(purpose, token string, v any) error {
	b, err := decodeText(token)
	if err != nil || len(b) < nonceSize+tagSize {
		return ErrUnauthorized
	}
	b, err = c.token.Open(nil, b[:nonceSize], b[nonceSize:], []byte(purpose))
	if err != nil || decode(b, v) != nil {
		return ErrUnauthorized
	}
	return nil
}

// Withdraw redeems Delivery.Withdraw, without a login, for one-click unsubscription: the service may no longer use the
// channel. What it takes away is in force when Withdraw returns: see [InFlightError]. A token that this engine did not make is
// ErrUnauthorized; one of a person who was erased does nothing. It can be redeemed any number of times.
func (e *Engine) Withdraw(ctx context.Context, token string) error {
	if err := e.ready(ctx); err != nil {
		return err
	}
	w, err := e.codec.openWithdrawal(token)
	if err != nil {
		return err
	}
	err = e.changeConsent(ctx, store.Owner(w.Owner), consentChange{by: ByToken, service: w.Service,
		preference: func(cs *consentState, s *serviceRecord) (*preferenceRecord, error) {
			if cs.profile == nil || cs.profile.Mode == Undecided || s == nil {
				return nil, nil
			}
			p := e.effective(cs, s)
			if cs.preference != nil { // of a Special service, Inbox is shown otherwise
				p.Inbox = cs.preference.Inbox
			}
			if cs.preference != nil && p.Channels[w.Channel] == None {
				return nil, nil
			}
			delete(p.Channels, w.Channel)
			return &preferenceRecord{w.Service, p.Inbox, p.Channels, p.ReadStatus, cs.profile.SettingsVersion, p.Digest}, nil
		}})
	if errors.Is(err, ErrErasing) {
		return nil
	}
	return err
}
