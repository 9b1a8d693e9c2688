package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/examples/internal/input"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
)

// A seed is what the platform starts with. Keys and tokens are what callers show; empty: there is none.
type seed struct {
	organizations []organization
	services      []service
	citizens      []input.Citizen
	tokens        map[string]fiscalcode.Person
	debts         map[pagopa.RPTID]appio.Debt // that the sandbox of pagoPA knows
}

type organization struct {
	appio.Organization
	key string
}

type service struct {
	appio.Service
	key string
}

var organizationNames = map[string]string{"Code": "fiscal_code", "Name": "name"}

// readSeed reads a file; none: the example.
func readSeed(file string) (seed, error) {
	text, name := example, "the example"
	if file != "" {
		name = file
		var err error
		if text, err = os.ReadFile(file); err != nil {
			return seed{}, err
		}
	}
	s, err := parseSeed(text)
	if err != nil {
		return seed{}, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

func parseSeed(text []byte) (seed, error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff")) // at the start of what some editors write
	if !utf8.Valid(text) {
		return seed{}, errors.New("must be in UTF-8")
	}
	if bad := (*json.SyntaxError)(nil); errors.As(json.Unmarshal(text, new(any)), &bad) {
		return seed{}, fmt.Errorf("not JSON, at byte %d: %w", bad.Offset, bad)
	}
	o := input.ParseObject(text)
	s := seed{tokens: map[string]fiscalcode.Person{}, debts: map[pagopa.RPTID]appio.Debt{}}
	names := once{}
	signed := map[fiscalcode.Organization]bool{}
	for _, o := range o.List("organizations") {
		org := organization{appio.Organization{
			Code: fiscalcode.Organization(o.Text("fiscal_code", input.Required)), Name: o.Text("name", input.Required), SignedAt: input.LongAgo,
		}, o.Text("manage_key", input.Optional)}
		o.Refuse(input.InWords(org.Validate(), organizationNames))
		o.Refuse(cmp.Or(names.take("fiscal_code", "organization", string(org.Code)), names.take("manage_key", "key", org.key)))
		signed[org.Code] = true
		s.organizations = append(s.organizations, org)
	}
	for _, o := range o.List("services") {
		srv := service{input.ParseService(o), o.Text("key", input.Optional)}
		o.Refuse(input.InWords(srv.Validate(), input.ServiceNames))
		o.Refuse(cmp.Or(names.take("id", "service", string(srv.ID)), names.take("key", "key", srv.key)))
		if !signed[srv.Organization] {
			o.Fail("organization_fiscal_code", "is of none of the organizations")
		}
		s.services = append(s.services, srv)
	}
	for _, o := range o.List("citizens") {
		c, token := input.ParseCitizen(o), o.Text("token", input.Optional)
		o.Refuse(cmp.Or(names.take("fiscal_code", "citizen", string(c.Code)), names.take("token", "token", token)))
		if token != "" {
			s.tokens[token] = c.Code
		}
		s.citizens = append(s.citizens, c)
	}
	for _, o := range o.List("debts") {
		id, err := pagopa.ParseRPTID(o.Text("rpt_id", input.Required))
		if err != nil {
			o.Fail("rpt_id", "must be 29 digits, of the creditor and the notice number")
		}
		d := appio.Debt{RPTID: id, Amount: pagopa.Amount(o.Integer("amount", input.Required)), Description: o.Text("description", input.Optional)}
		if d.Amount < 1 || d.Amount > pagopa.MaxAmount {
			o.Fail("amount", "must be 1 to 9999999999, in euro cents")
		}
		o.Refuse(names.take("rpt_id", "debt", id.String()))
		s.debts[id] = d
	}
	return s, o.Err()
}

// once is what may stand in a seed once, by kind and value.
type once map[[2]string]bool

func (o once) take(member, kind, value string) error {
	if value == "" {
		return nil
	}
	if o[[2]string{kind, value}] {
		return fmt.Errorf("%s stands in an earlier entry too", member)
	}
	o[[2]string{kind, value}] = true
	return nil
}

// seeder is the login that a citizen's choices are noted with which come from the seed.
const seeder = "seed"

// plant brings the seed into an engine, and returns the engine's key for each of the seed's. What is there from an earlier start stays as it
// was left: services as their organizations prepared them, and the choices of citizens who have made some since by their own login.
func (s seed) plant(ctx context.Context, eng *appio.Engine) (keys map[string]string, err error) {
	keys = map[string]string{}
	for i, o := range s.organizations {
		if err := eng.PutOrganization(ctx, o.Organization); err != nil {
			return nil, fmt.Errorf("organizations[%d]: %w", i, err)
		}
		if o.key == "" {
			continue
		}
		if keys[o.key], err = putManageKey(ctx, eng.Authority(o.Code), o.key); err != nil {
			return nil, fmt.Errorf("organizations[%d]: %w", i, err)
		}
	}
	for i, srv := range s.services {
		key, err := srv.plant(ctx, eng)
		if err != nil {
			return nil, fmt.Errorf("services[%d]: %w", i, err)
		}
		if srv.key != "" && key != "" {
			keys[srv.key] = key
		}
	}
	return keys, s.plantCitizens(ctx, eng)
}

// putManageKey gives an organization a key for managing its services. The engine takes keys of 16 bytes and more, and a seed has what it likes.
func putManageKey(ctx context.Context, a *appio.Authority, key string) (string, error) {
	const id = "seed"
	if err := a.PutManageKey(ctx, appio.ManageKey{ID: id, Role: appio.Administrator}); err != nil {
		return "", err
	}
	hash := sha256.Sum256([]byte(key))
	made := hex.EncodeToString(hash[:])
	return made, a.SetManageKey(ctx, id, appio.Primary, made)
}

// plant gives the service to its organization, which from then on manages it, and returns its primary key; empty: it was deleted. Keys are
// the engine's own, so that the organization can be shown them.
func (s service) plant(ctx context.Context, eng *appio.Engine) (string, error) {
	d, err := eng.Draft(ctx, s.ID)
	if errors.Is(err, appio.ErrNotFound) {
		if err = eng.PutService(ctx, s.Service); err != nil {
			return "", err
		}
		d, err = eng.Entrust(ctx, s.ID, seeder)
	}
	if err != nil || d.Stage == appio.Deleted {
		return "", err
	}
	a := eng.Authority(d.Organization)
	keys, err := a.Keys(ctx, s.ID)
	if err != nil {
		return "", err
	}
	for slot, key := range map[appio.KeySlot]*string{appio.Primary: &keys.Primary, appio.Secondary: &keys.Secondary} {
		if *key == "" {
			if *key, err = a.NewKey(ctx, s.ID, slot); err != nil {
				return "", err
			}
		}
	}
	return keys.Primary, nil
}

// plantCitizens works on many at a time: a store writes what comes together in one go.
func (s seed) plantCitizens(ctx context.Context, eng *appio.Engine) error {
	known := map[appio.ServiceID]appio.Service{}
	for srv, err := range eng.Services().All(ctx) {
		if err != nil {
			return err
		}
		known[srv.ID] = srv
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(64)
	for i, c := range s.citizens {
		g.Go(func() error {
			err := c.Check(known)
			own := false
			if err == nil {
				own, err = choseSince(ctx, eng, c.Code)
			}
			if err == nil && !own {
				err = c.Put(ctx, eng, seeder, known)
			}
			if errors.Is(err, appio.ErrTaken) { // a seed may give several people one address: it is proved by one of them
				err = c.Unproved().Put(ctx, eng, seeder, known)
			}
			if err != nil {
				return fmt.Errorf("citizens[%d]: %w", i, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// choseSince reports whether a citizen has chosen anything since by their own login, an erasure too.
func choseSince(ctx context.Context, eng *appio.Engine, code fiscalcode.Person) (bool, error) {
	for r, err := range eng.Citizen(appio.Identity{Code: code}).Consents().All(ctx) {
		if err != nil || r.By != appio.ByService {
			return err == nil && r.Provider != seeder, err
		}
	}
	return false, nil
}
