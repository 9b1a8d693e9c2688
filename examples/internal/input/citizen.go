package input

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/mail"
	"reflect"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

// A Citizen is a person with what they chose.
type Citizen struct {
	Code        fiscalcode.Person
	mode        appio.Mode
	inbox       bool
	channels    appio.Channels // master switches
	email       appio.Address  // Value empty: none
	preferences map[appio.ServiceID]appio.Preference
	activations map[appio.ServiceID]activation
}

type activation struct {
	status appio.Activation
	age    time.Duration
}

// ParseCitizen reads one; what is wrong shows in the object.
func ParseCitizen(o Object) Citizen {
	c := Citizen{
		Code:        o.Person("fiscal_code"),
		mode:        Choice(o, "mode", Optional, map[string]appio.Mode{"AUTO": appio.Auto, "MANUAL": appio.Manual}),
		inbox:       o.Boolean("inbox", true),
		channels:    appio.Channels{},
		preferences: map[appio.ServiceID]appio.Preference{},
		activations: map[appio.ServiceID]activation{},
	}

	email, _ := o.Object("email")
	c.email = appio.Address{Channel: appio.Email, Value: email.Text("address", Optional)}
	if c.email.Value != "" {
		if a, err := mail.ParseAddress(c.email.Value); err != nil || a.Address != c.email.Value {
			email.Fail("address", "must be an e-mail address")
		}
	}
	if email.Boolean("validated", false) {
		c.email.ValidatedAt = LongAgo
	}
	if email.Boolean("enabled", false) {
		c.channels[appio.Email] = appio.Full
	}

	push, _ := o.Object("push")
	c.channels[appio.Push] = cmp.Or(
		Choice(push, "content", Optional, map[string]appio.Content{"FULL": appio.Full, "ANONYMOUS": appio.Generic}), appio.Generic)
	if !push.Boolean("enabled", true) {
		c.channels[appio.Push] = appio.None
	}

	for id, p := range o.Objects("preferences") {
		preference := appio.Preference{Inbox: p.Boolean("inbox", false), Channels: appio.Channels{}}
		for _, name := range []string{appio.Email, appio.Push} {
			if p.Boolean(name, false) {
				preference.Channels[name] = appio.Full
			}
		}
		c.preferences[appio.ServiceID(id)] = preference
	}
	for id, a := range o.Objects("activations") {
		status := Choice(a, "status", Required, map[string]appio.Activation{
			"ACTIVE": appio.Active, "PENDING": appio.Pending, "INACTIVE": appio.Inactive,
		})
		seconds := a.Integer("age_seconds", Optional)
		if seconds < 0 || seconds > 1e9 {
			a.Fail("age_seconds", "must be from 0 to 1000000000")
		}
		c.activations[appio.ServiceID(id)] = activation{status, time.Duration(seconds) * time.Second}
	}
	return c
}

// Unproved is the citizen with an e-mail address that is not validated.
func (c Citizen) Unproved() Citizen {
	c.email.ValidatedAt = time.Time{}
	return c
}

// Check reports a preference or an activation of a service that is not known.
func (c Citizen) Check(known map[appio.ServiceID]appio.Service) error {
	for id := range c.preferences {
		if _, ok := known[id]; !ok {
			return errors.New("preferences names an unknown service")
		}
	}
	for id := range c.activations {
		if _, ok := known[id]; !ok {
			return errors.New("activations names an unknown service")
		}
	}
	return nil
}

// Put brings the citizen into an engine as the entry says, whatever was there before. What is so already is left alone: a citizen's
// history of consent is one of choices, not of program runs. provider is kept with what changes, as that of the citizen's login; known are
// all services of the engine.
func (c Citizen) Put(ctx context.Context, eng *appio.Engine, provider string, known map[appio.ServiceID]appio.Service) error {
	me := eng.Citizen(appio.Identity{Code: c.Code, Level: appio.L2, Provider: provider})
	before, err := me.Profile(ctx)
	if err != nil {
		return err
	}
	if before.Version == 0 || !reflect.DeepEqual(before, c.profile(before)) {
		if err := me.UpdateProfile(ctx, func(p *appio.Profile) error { *p = c.profile(*p); return nil }); err != nil {
			return err
		}
	}
	if c.mode == appio.Undecided {
		return nil
	}
	for id, s := range known {
		_, given := c.preferences[id]
		if given || before.Mode == c.mode { // a new mode starts without preferences
			if err := c.putPreference(ctx, me, s); err != nil {
				return err
			}
		}
		if s.Category == appio.Special {
			if err := c.putActivation(ctx, me, eng.Sender(id)); err != nil {
				return err
			}
		}
	}
	return nil
}

// profile is p as the entry has it. A mode can be changed but not unmade: who had one, and has none in the file, gets nothing
// any more, which is what being undecided means.
func (c Citizen) profile(p appio.Profile) appio.Profile {
	if c.mode == appio.Undecided {
		p.Inbox = false
		return p
	}
	p.Mode, p.Inbox = c.mode, c.inbox
	p.Channels = maps.Clone(p.Channels)
	maps.Copy(p.Channels, c.channels)
	var addresses []appio.Address
	email := c.email
	for _, a := range p.Addresses {
		switch {
		case a.Channel != appio.Email:
			addresses = append(addresses, a)
		case a.Value == email.Value:
			email.ID = a.ID // it is the same one: what is on its way to it goes on
		}
	}
	if email.Value != "" {
		addresses = append(addresses, email)
	}
	p.Addresses = addresses
	return p
}

// putPreference sets what the citizen chose for a service. A choice cannot be unmade either: one of an earlier run that is no
// longer in the file is replaced by one that says what the mode does.
func (c Citizen) putPreference(ctx context.Context, me *appio.Citizen, s appio.Service) error {
	have, err := me.Preference(ctx, s.ID)
	if err != nil {
		return err
	}
	want, given := c.preferences[s.ID]
	if have.SettingsVersion == 0 { // the citizen made none
		if !given {
			return nil
		}
		return me.SetPreference(ctx, s.ID, want)
	}
	if !given {
		want = appio.Preference{Inbox: c.mode == appio.Auto, Channels: appio.On(appio.Email, appio.Push)}
	}
	// The inbox of a Special service follows its activation, whatever the preference says.
	if (have.Inbox == want.Inbox || s.Category == appio.Special) && maps.Equal(have.Channels, want.Channels) {
		return nil
	}
	return me.SetPreference(ctx, s.ID, want)
}

// putActivation says whether a Special service serves the citizen, and since when.
func (c Citizen) putActivation(ctx context.Context, me *appio.Citizen, s *appio.Sender) error {
	want := c.activations[s.ID()]
	if want.status == appio.Inactive {
		if have, err := me.Preference(ctx, s.ID()); err != nil || !have.Inbox {
			return err // not served as it is
		}
	}
	return s.Activate(ctx, c.Code, want.status, time.Now().Add(-want.age))
}
