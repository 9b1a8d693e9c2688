package appiotest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/channeltest"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// Mario and Anna are citizens whom nobody is, with right check characters.
const (
	Mario fiscalcode.Person = "RSSMRA85M10H501S"
	Anna  fiscalcode.Person = "BNCNNA80A41H501R"
)

// Organization is the authority that the services of a [Kit] belong to.
const Organization fiscalcode.Organization = "01199250158"

// A Kit is an engine in memory. Its clock starts at 2026-01-07 10:00 in Rome and stands still but for [Kit.Advance]. It may be
// used concurrently. Where an operation of the kit itself fails, the test does.
//
// The name Service is the kit's own; the engine's method is Kit.Engine.Service.
type Kit struct {
	*appio.Engine

	// Email and Push record what goes out by these channels. Email shows whole messages to validated addresses, nothing of
	// secure services, and is off until a citizen switches it on. Push shows that there is a message, and is on.
	Email, Push *channeltest.Recorder

	t         testing.TB
	store     *schedule
	clock     clock
	advancing sync.Mutex

	mu     sync.Mutex
	people int
}

// New makes a kit, which is closed as t ends; what Close answers then, if it is an error, fails t. opts may be nil. Its Now is
// not looked at, its Keys are made if there are none, and the routes email and push are added unless they are there. A
// Recorder that opts brings for one of these two becomes the kit's; with another channel, the kit's Recorder gets nothing.
func New(t testing.TB, opts *appio.Options) *Kit {
	t.Helper()
	var o appio.Options
	if opts != nil {
		o = *opts
	}
	k := &Kit{t: t, store: &schedule{Store: memstore.New()}}
	k.clock.set(start)
	o.Now = k.clock.now
	if o.Keys == nil && !o.Plain {
		o.Keys = appio.RandomKeys()
	}
	o.Channels = slices.Clone(o.Channels)
	k.Email = route(&o, appio.Route{Name: appio.Email})
	k.Push = route(&o, appio.Route{Name: appio.Push, Default: appio.Generic, Secure: appio.Generic, Unvalidated: true, Interrupts: true})
	engine, err := appio.New(k.store, &o)
	if err != nil {
		t.Fatalf("appiotest: %v", err)
	}
	k.Engine = engine
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Errorf("appiotest: closing the engine: %v", err)
		}
		if err := k.store.Close(); err != nil {
			t.Errorf("appiotest: closing the store: %v", err)
		}
	})
	return k
}

// route adds a route with a Recorder, unless there is one of its name.
func route(o *appio.Options, r appio.Route) *channeltest.Recorder {
	recorder := &channeltest.Recorder{}
	for _, have := range o.Channels {
		if have.Name == r.Name {
			if theirs, ok := have.Channel.(*channeltest.Recorder); ok {
				return theirs
			}
			return recorder
		}
	}
	r.Channel = recorder
	o.Channels = append(o.Channels, r)
	return recorder
}

// Store is what the engine keeps its records in.
func (k *Kit) Store() store.Store { return k.store }

// Service makes a live service of that id, which may ask for payments up to 10,000 euro, and returns its sender. One that
// is there already is replaced.
func (k *Kit) Service(id appio.ServiceID) *appio.Sender {
	k.t.Helper()
	ctx := context.Background()
	err := k.PutOrganization(ctx, appio.Organization{Code: Organization, Name: "Comune di Esempio"})
	if err == nil {
		err = k.PutService(ctx, appio.Service{
			ID: id, Name: "Servizio " + string(id), Organization: Organization, State: appio.Live, MaxPayment: 10_000_00, OtherPayees: true,
		})
	}
	if err != nil {
		k.t.Fatalf("appiotest: service: %v", err)
	}
	return k.Sender(id)
}

// Person makes a citizen of that mode, with e-mail switched on for whole messages, a validated e-mail address and an installed
// app, and returns them, logged in at level 2. Where a profile is there already it is changed so. A person who is Undecided
// has all that and no mode.
func (k *Kit) Person(code fiscalcode.Person, m appio.Mode) *appio.Citizen {
	k.t.Helper()
	ctx := context.Background()
	k.mu.Lock()
	k.people++
	n := k.people
	k.mu.Unlock()
	citizen := k.Citizen(appio.Identity{Code: code, Level: appio.L2, Provider: "appiotest"})
	var err error
	if m != appio.Undecided {
		err = citizen.SetMode(ctx, m)
	}
	if err == nil {
		err = citizen.UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Channels[appio.Email] = appio.Full
			for _, a := range []appio.Address{
				{Channel: appio.Email, Value: fmt.Sprintf("citizen-%d@example.org", n), ValidatedAt: k.Now()},
				{Channel: appio.Push, Value: fmt.Sprintf("installation-%d", n)},
			} {
				if !slices.ContainsFunc(p.Addresses, func(have appio.Address) bool { return have.Channel == a.Channel }) {
					p.Addresses = append(p.Addresses, a)
				}
			}
			return nil
		})
	}
	if err != nil {
		k.t.Fatalf("appiotest: person: %v", err)
	}
	return citizen
}

// Message is one that is valid, to be changed.
func Message(to fiscalcode.Person) appio.Message {
	return appio.Message{
		To:       to,
		Subject:  "Avviso del Comune di Esempio",
		Markdown: strings.Repeat("Gentile cittadina, gentile cittadino, questo è un messaggio di prova. ", 3),
	}
}
