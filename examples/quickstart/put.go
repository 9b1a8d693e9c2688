package main

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/appio-go/appio"
)

// This file brings the services and citizens of a folder into the engine, each as its entry says and whatever was there before.
// What is so already is left alone: a citizen's history of consent is one of choices, not of program runs.

// putServices returns all services that there are, those of earlier runs too.
func putServices(ctx context.Context, eng *appio.Engine, services []service) (map[appio.ServiceID]appio.Service, error) {
	for _, s := range services {
		if err := eng.PutOrganization(ctx, s.organization); err != nil {
			return nil, s.problem(err)
		}
		if err := eng.PutService(ctx, s.Service); err != nil {
			return nil, s.problem(err)
		}
	}
	known := map[appio.ServiceID]appio.Service{}
	for s, err := range eng.Services().All(ctx) {
		if err != nil {
			return nil, err
		}
		known[s.ID] = s
	}
	return known, nil
}

// putCitizens works on many at a time: a store writes what comes together in one go.
func putCitizens(ctx context.Context, eng *appio.Engine, known map[appio.ServiceID]appio.Service, citizens []citizen) error {
	for _, c := range citizens {
		for id := range c.preferences {
			if _, ok := known[id]; !ok {
				return c.problem(errors.New("preferences names an unknown service"))
			}
		}
		for id := range c.activations {
			if _, ok := known[id]; !ok {
				return c.problem(errors.New("activations names an unknown service"))
			}
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(64)
	for _, c := range citizens {
		g.Go(func() error {
			if err := c.put(ctx, eng, known); err != nil {
				return c.problem(err)
			}
			return nil
		})
	}
	return g.Wait()
}

func (c citizen) put(ctx context.Context, eng *appio.Engine, known map[appio.ServiceID]appio.Service) error {
	me := eng.Citizen(appio.Identity{Code: c.code, Level: appio.L2, Provider: "quickstart"})
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
func (c citizen) profile(p appio.Profile) appio.Profile {
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
func (c citizen) putPreference(ctx context.Context, me *appio.Citizen, s appio.Service) error {
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
func (c citizen) putActivation(ctx context.Context, me *appio.Citizen, s *appio.Sender) error {
	want := c.activations[s.ID()]
	if want.status == appio.Inactive {
		if have, err := me.Preference(ctx, s.ID()); err != nil || !have.Inbox {
			return err // not served as it is
		}
	}
	return s.Activate(ctx, c.code, want.status, time.Now().Add(-want.age))
}
