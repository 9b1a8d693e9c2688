package appio

import (
	"context"
	"fmt"
	"slices"
)

// A Scope is something that a service's API keys are for. It is called as in IO, whose permission groups these are; what there are groups
// of their own besides is here a service's state (ApiLimitedMessageWrite: in trial) or a field of it (ApiMessageWriteAdvanced: Premium,
// ApiMessageWriteWithPayee: OtherPayees).
type Scope string

const (
	WriteMessages Scope = "ApiMessageWrite"           // Send, PutDocument, Activate
	ReadMessages  Scope = "ApiMessageRead"            // Status
	ReadProfiles  Scope = "ApiLimitedProfileRead"     // CanContact
	ReadFeed      Scope = "ApiSubscriptionsFeedRead"  // who has said yes and no, by day
	WriteRemote   Scope = "ApiThirdPartyMessageWrite" // messages with content that stays with the authority
	ReadAdvanced  Scope = "ApiMessageReadAdvanced"    // whether a message was read, and its notice paid, where the citizen lets the service see it
)

var scopes = []Scope{WriteMessages, ReadMessages, ReadProfiles, ReadFeed, WriteRemote, ReadAdvanced}

// Allowed is nil if the sender may do what a scope is for, as far as its key says; ErrForbidden if not. Send, Status and CanContact look
// by themselves.
func (s *Sender) Allowed(ctx context.Context, c Scope) error {
	if err := s.e.ready(ctx); err != nil {
		return err
	}
	r, err := s.e.readService(ctx, s.id)
	if err != nil {
		return err
	}
	return s.allowed(r, c)
}

// allowed is authorize, and whether the key is for something.
func (s *Sender) allowed(r *serviceRecord, c Scope) error {
	if err := s.authorize(r); err != nil {
		return err
	}
	if s.key != nil && !r.inScope(c) {
		return fmt.Errorf("%w: the key is not for %s", ErrForbidden, c)
	}
	return nil
}

func (r *serviceRecord) inScope(c Scope) bool {
	return len(r.Scopes) == 0 || slices.Contains(r.Scopes, c)
}
