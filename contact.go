package appio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/appio-go/appio/fiscalcode"
)

// CanContact reports whether a message would be processed now. Unknown and unwilling look alike. A recipient whom the service
// may not write to, whatever they chose, is ErrForbidden; asked more often than Options.ContactRate it is a [LimitedError].
func (s *Sender) CanContact(ctx context.Context, to fiscalcode.Person) (bool, error) {
	cs, svc, err := s.contact(ctx, to)
	if err != nil {
		return false, err
	}
	may := Decide(s.e.facts(cs, svc, false, s.e.now())).Status == Processed
	if !may {
		s.e.evenOut(ctx, s.e.codec.of(s.e.codec.citizen(to)), cs.profile != nil, s.id)
	}
	return may, nil
}

// Recipient is what IO tells a sender of a citizen. Who has no profile, or a closed inbox, is ErrNotFound: unlike with [Sender.CanContact]
// and sending, a sender can tell these from who refused. Otherwise it is CanContact, and counts as such.
func (s *Sender) Recipient(ctx context.Context, to fiscalcode.Person) (Recipient, error) {
	cs, svc, err := s.contact(ctx, to)
	if err != nil {
		return Recipient{}, err
	}
	if cs.profile == nil || !cs.profile.Inbox {
		return Recipient{}, ErrNotFound
	}
	return Recipient{
		Allowed:   Decide(s.e.facts(cs, svc, false, s.e.now())).Status == Processed,
		Languages: slices.Clone(cs.profile.Languages),
	}, nil
}

// contact reads what a service may ask about a citizen, if it may ask now.
func (s *Sender) contact(ctx context.Context, to fiscalcode.Person) (*consentState, *serviceRecord, error) {
	if err := s.e.ready(ctx); err != nil {
		return nil, nil, err
	}
	if _, err := fiscalcode.ParsePerson(string(to)); err != nil {
		return nil, nil, invalid("To", "a fiscal code")
	}
	if s.id.validate() != nil {
		return nil, nil, errNoService
	}
	d, err := s.e.viewConsent(ctx, s.e.codec.citizen(to), s.id)
	if err != nil {
		return nil, nil, err
	}
	svc, err := d.service(s.id)
	if err != nil {
		return nil, nil, err
	}
	if err := s.allowed(svc, ReadProfiles); err != nil {
		return nil, nil, err
	}
	if err := s.e.contacts.ask(s.id, s.e.opts.ContactRate, 1, s.e.now()); err != nil {
		return nil, nil, err
	}
	if err := svc.permits(s.e.codec, s.e.codec.citizen(to)); err != nil {
		return nil, nil, err
	}
	cs, err := d.readConsent(s.id)
	return cs, svc, err
}

// Activate says whether a Special service serves a citizen, and since when (zero: now). It may be said before the citizen
// comes. An end of the activation is in force when Activate returns: see [InFlightError]. An end may be said of anybody; Pending
// and Active only of whom the service may write to: nobody once it is stopped, in trial its authorised recipients. It is for keys with the
// scope WriteMessages; by one, more often than Options.ActivationRate is a [LimitedError].
func (s *Sender) Activate(ctx context.Context, to fiscalcode.Person, a Activation, since time.Time) error {
	if a != Inactive && a != Pending && a != Active {
		return invalid("Activation", "Inactive, Pending or Active")
	}
	if _, err := fiscalcode.ParsePerson(string(to)); err != nil {
		return invalid("To", "a fiscal code")
	}
	if err := s.e.ready(ctx); err != nil {
		return err
	}
	svc, err := s.e.readService(ctx, s.id)
	if err != nil {
		return err
	}
	if err := s.allowed(svc, WriteMessages); err != nil {
		return err
	}
	if svc.Category != Special {
		return fmt.Errorf("%w: the service is not Special", ErrForbidden)
	}
	if s.key != nil {
		if err := s.e.serves.ask(s.id, s.e.opts.ActivationRate, leastAtOnce, s.e.now()); err != nil {
			return err
		}
	}
	if a != Inactive {
		if err := svc.permits(s.e.codec, s.e.codec.citizen(to)); err != nil {
			return err
		}
	}
	if since.IsZero() {
		since = s.e.now()
	}
	err = s.e.changeConsent(ctx, s.e.codec.citizen(to), consentChange{
		by: ByService, sender: s, service: s.id, activation: &activationRecord{Service: s.id, Activation: a, Since: toMicro(micro(since))},
	})
	if errors.Is(err, ErrErasing) { // which is none of the service's business; the erasure would remove the activation
		return nil
	}
	return err
}

// A ServiceActivation is what a Special service said last of a citizen.
type ServiceActivation struct {
	Activation Activation
	Since      time.Time
	Version    int // how often it was said before; 0: that was the first time
}

// Activation is what this service said last of a citizen by [Sender.Activate]; ErrNotFound: nothing, or it went with an erasure. A service
// that is not Special is ErrForbidden.
func (s *Sender) Activation(ctx context.Context, to fiscalcode.Person) (ServiceActivation, error) {
	if _, err := fiscalcode.ParsePerson(string(to)); err != nil {
		return ServiceActivation{}, invalid("To", "a fiscal code")
	}
	if err := s.e.ready(ctx); err != nil {
		return ServiceActivation{}, err
	}
	if s.id.validate() != nil {
		return ServiceActivation{}, ErrNotFound
	}
	d, err := s.e.viewConsent(ctx, s.e.codec.citizen(to), s.id)
	if err != nil {
		return ServiceActivation{}, err
	}
	svc, err := d.service(s.id)
	if err != nil {
		return ServiceActivation{}, err
	}
	if err := s.authorize(svc); err != nil {
		return ServiceActivation{}, err
	}
	if svc.Category != Special {
		return ServiceActivation{}, fmt.Errorf("%w: the service is not Special", ErrForbidden)
	}
	var a activationRecord
	found, err := d.read(d.activationKey(s.id), &a)
	if err != nil || !found || d.get(keyTombstone) != nil {
		return ServiceActivation{}, cmp.Or(err, ErrNotFound)
	}
	return ServiceActivation{a.Activation, fromMicro(a.Since), a.Version}, nil
}
