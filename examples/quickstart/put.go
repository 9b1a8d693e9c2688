package main

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/appio-go/appio"
)

// This file brings the services and citizens of a folder into the engine, each as its entry says and whatever was there before.

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
		if err := c.Check(known); err != nil {
			return c.problem(err)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(64)
	for _, c := range citizens {
		g.Go(func() error {
			if err := c.Put(ctx, eng, "quickstart", known); err != nil {
				return c.problem(err)
			}
			return nil
		})
	}
	return g.Wait()
}
