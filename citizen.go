package appio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/text"
	"github.com/appio-go/appio/store"
)

// An Identity is a person as the host's login knows them.
type Identity struct {
	Code     fiscalcode.Person
	Level    Level  // 0: unknown; erasure asks for L2 at least
	Provider string // kept with each consent, also after an erasure: "spid:poste", "cie"; at most 100 bytes, without a fiscal code
	Text     string // version of the consent text that was shown, kept likewise; at most 100 bytes
}

// LogValue has the code masked.
func (id Identity) LogValue() slog.Value {
	return slog.GroupValue(slog.Any("code", id.Code), slog.Int("level", int(id.Level)), slog.String("provider", id.Provider))
}

// Level is the level of assurance of a login by SPID or CIE. It is ordered; 0: unknown.
type Level int

const (
	L1 Level = iota + 1 // eIDAS: low
	L2                  // substantial
	L3                  // high
)

// A Citizen is what one person may do. Made by [Engine.Citizen]; a code that is none shows in its methods (ErrInvalid).
type Citizen struct {
	e  *Engine
	id Identity
}

// Citizen is a person whom the host has authenticated.
func (e *Engine) Citizen(id Identity) *Citizen { return &Citizen{e, id} }

// A Profile is what a citizen set for all services. The zero Profile is that of a person who has not come yet.
type Profile struct {
	Mode            Mode
	SettingsVersion int       // set by the engine: 0 while undecided, and one more with each change of Mode
	Inbox           bool      // master switch: false refuses every service
	Channels        Channels  // master switches, and the most each channel may show
	Addresses       []Address // at most 50
	Languages       []string  // "it", "en", in order; at most 10
	Reminders       Reminders // what the citizen wants to be reminded of: see Options.Reminders
	Quiet           QuietHours
	App             AppSettings
	Version         int // set by the engine: one more with each change; 0: there is no profile

	// Moves is how many of those changes only put, moved or removed addresses that need no proof, or asked for a validation; set by the
	// engine. Apps do so by themselves: who shows a profile, and writes it later, compares Version less Moves.
	Moves int
}

// AppSettings are what an app keeps with the profile, so that it asks the citizen once. Nothing is decided by them.
type AppSettings struct {
	Terms          string   // version of the terms of service that the citizen accepted last; at most 100 bytes; empty: none
	Version        string   // of the app that was used last; at most 100 bytes; empty: not known
	RemindersAsked bool     // the citizen was asked about reminders: Reminders is the answer
	Shown          Channels // by channel, how much it is to show once it is switched on; a name that is absent: the citizen was not asked
}

// An Address is where a channel reaches a citizen: an e-mail address, one installed app, a phone number.
type Address struct {
	ID          string    // chosen by the engine where empty; unique in the profile
	Channel     string    // the name of its route
	Value       string    // as the channel reads it: 1 to 2,000 bytes without control characters
	ValidatedAt time.Time // when it was proved to be theirs; zero: it was not. A new Value starts unproved.
}

func (p *Profile) clone() *Profile {
	q := *p
	q.Channels = maps.Clone(p.Channels)
	if q.Channels == nil {
		q.Channels = Channels{}
	}
	q.Addresses = slices.Clone(p.Addresses)
	q.Languages = slices.Clone(p.Languages)
	q.App.Shown = maps.Clone(p.App.Shown)
	return &q
}

// begin checks the identity and that the engine works.
func (c *Citizen) begin(ctx context.Context) (store.Owner, error) {
	if _, err := fiscalcode.ParsePerson(string(c.id.Code)); err != nil {
		return "", invalid("Identity.Code", "a fiscal code")
	}
	if len(c.id.Provider) > 100 || len(c.id.Text) > 100 {
		return "", invalid("Identity", "Provider and Text of at most 100 bytes")
	}
	if namesCode(c.id.Provider) || namesCode(c.id.Text) { // they stay with the proof
		return "", invalid("Identity", "Provider and Text without a fiscal code")
	}
	if err := c.e.ready(ctx); err != nil {
		return "", err
	}
	return c.e.codec.citizen(c.id.Code), nil
}

// MayChange counts one change that the citizen's app asks for; more often than Options.CitizenRate it is a [LimitedError]. It is for who
// serves that app: what is called in-process is not counted by itself.
func (c *Citizen) MayChange(ctx context.Context) error {
	owner, err := c.begin(ctx)
	if err != nil {
		return err
	}
	return c.e.changes.ask(owner, c.e.opts.CitizenRate, leastAtOnce, c.e.now())
}

// Profile is what the citizen set for all services: the zero Profile for a person who never came.
func (c *Citizen) Profile(ctx context.Context) (Profile, error) {
	owner, err := c.begin(ctx)
	if err != nil {
		return Profile{}, err
	}
	p, _, err := c.profile(ctx, owner)
	return p, err
}

// profile is the profile, and which life of the person it is of: an erasure ends one.
func (c *Citizen) profile(ctx context.Context, owner store.Owner) (p Profile, life uint32, err error) {
	d, err := c.e.view(ctx, owner, store.Range{}, "", profileKeys...)
	if err != nil {
		return p, 0, err
	}
	r, err := d.readProfile()
	if err != nil || r == nil {
		return p, 0, err
	}
	return *r.profile().clone(), d.personal.id, nil
}

// SetMode chooses a mode. Where it changes, preferences start afresh. The first choice opens the inbox and sets each channel
// that was not set yet to its route's Default. Undecided is ErrInvalid: a choice can be changed, not unmade.
func (c *Citizen) SetMode(ctx context.Context, m Mode) error {
	return c.UpdateProfile(ctx, func(p *Profile) error {
		if m != Auto && m != Manual {
			return invalid("Mode", "Auto or Manual")
		}
		if p.Mode == Undecided {
			p.Inbox = true
			for _, r := range c.e.opts.Channels {
				if _, set := p.Channels[r.Name]; !set && r.Default != None {
					p.Channels[r.Name] = r.Default
				}
			}
		}
		p.Mode = m
		return nil
	})
}

// UpdateProfile changes the profile by f, which gets the current one and may be called again after a conflict; its error ends
// the update. The profile is made if there was none. What the change takes away is no longer sent when UpdateProfile returns:
// see [InFlightError]. An address that it says is proved, and that somebody else has proved, is ErrTaken where its route says Unique.
// The Channels that f gets are never nil.
func (c *Citizen) UpdateProfile(ctx context.Context, f func(*Profile) error) error {
	owner, err := c.begin(ctx)
	if err != nil {
		return err
	}
	for try := 0; ; try++ {
		// f is the caller's code: it runs between a read and a change that holds only if nothing happened meanwhile.
		current, life, err := c.profile(ctx, owner)
		if err != nil {
			return err
		}
		next := current.clone()
		if err := f(next); err != nil {
			return err
		}
		next = next.clone() // what f may have kept is no longer ours
		if err := c.e.completeProfile(&current, next); err != nil {
			return err
		}
		taken, err := c.e.takeNew(ctx, owner, &current, next)
		if err != nil {
			return err
		}
		err = c.e.changeConsent(ctx, owner, consentChange{by: ByCitizen, id: c.id, profile: func(before *profileRecord, now uint32) (*profileRecord, error) {
			version := 0
			if before != nil {
				version = before.Version
			} else {
				now = 0
			}
			if version != current.Version || now != life || taken.stale() {
				return nil, errStale
			}
			return newProfileRecord(c.id.Code, next), nil
		}})
		if !errors.Is(err, errStale) {
			return err
		}
		if try == conflictTries {
			return ErrBusy
		}
		pause(ctx, jitter(try, time.Millisecond, 100*time.Millisecond))
	}
}

const maxAddresses = 50

var errStale = fmt.Errorf("%w: what was read has changed", ErrConflict)

// completeProfile checks what a caller made of a profile and sets what is the engine's to set.
func (e *Engine) completeProfile(before, p *Profile) error {
	if p.Mode != before.Mode && p.Mode != Auto && p.Mode != Manual {
		return invalid("Mode", "Auto or Manual")
	}
	p.SettingsVersion, p.Version = before.SettingsVersion, before.Version+1
	if p.Mode != before.Mode {
		p.SettingsVersion++
	}
	if err := validChannels("Channels", p.Channels); err != nil {
		return err
	}
	if len(p.Addresses) > maxAddresses {
		return invalid("Addresses", "at most 50")
	}
	if p.Quiet != before.Quiet { // a zone that this system does not know, and another did, must not stand against other choices
		if err := p.Quiet.validate(); err != nil {
			return err
		}
	}
	if len(p.Languages) > 10 {
		return invalid("Languages", "at most 10")
	}
	for i, l := range p.Languages {
		if !text.ValidTag(l) {
			return invalid(fmt.Sprintf("Languages[%d]", i), text.TagRule)
		}
	}
	ids := map[string]bool{}
	for i := range p.Addresses {
		a := &p.Addresses[i]
		if a.ID == "" {
			a.ID = string(newDeliveryID())[:13]
		}
		switch {
		case len(a.ID) > 100 || ids[a.ID]:
			return invalid(fmt.Sprintf("Addresses[%d].ID", i), "unique, at most 100 bytes")
		case !validChannelName(a.Channel):
			return invalid(fmt.Sprintf("Addresses[%d].Channel", i), channelNameRule)
		case len(a.Value) < 1 || len(a.Value) > 2000 || !utf8.ValidString(a.Value) ||
			strings.ContainsFunc(a.Value, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return invalid(fmt.Sprintf("Addresses[%d].Value", i), "1 to 2000 bytes of UTF-8 without control characters")
		}
		ids[a.ID] = true
		a.ValidatedAt = micro(a.ValidatedAt)
		for _, b := range before.Addresses {
			if b.ID == a.ID && (b.Value != a.Value || b.Channel != a.Channel) && b.ValidatedAt.Equal(a.ValidatedAt) {
				a.ValidatedAt = time.Time{}
			}
		}
	}
	if err := p.App.validate(); err != nil {
		return err
	}
	if p.Moves = before.Moves; e.movesOnly(before, p) {
		p.Moves++
	}
	return nil
}

func (a *AppSettings) validate() error {
	if len(a.Terms) > 100 || !utf8.ValidString(a.Terms) {
		return invalid("App.Terms", "at most 100 bytes of UTF-8")
	}
	if len(a.Version) > 100 || !utf8.ValidString(a.Version) {
		return invalid("App.Version", "at most 100 bytes of UTF-8")
	}
	return validChannels("App.Shown", a.Shown)
}

// movesOnly reports whether all that a change does is to addresses that need no proof.
func (e *Engine) movesOnly(before, after *Profile) bool {
	b, a := before.clone(), after.clone()
	b.Version, b.Moves = a.Version, a.Moves
	if reflect.DeepEqual(a.Addresses, b.Addresses) {
		return false
	}
	for _, p := range []*Profile{a, b} {
		p.Addresses = slices.DeleteFunc(append([]Address{}, p.Addresses...), func(ad Address) bool { return e.unproved(ad.Channel) })
	}
	return reflect.DeepEqual(a, b)
}

// unproved reports whether a channel's addresses need no proof. Those of push do not, also where there is no such route yet.
func (e *Engine) unproved(channel string) bool {
	r := e.route(channel)
	if r == nil {
		return channel == Push
	}
	return r.Unvalidated || r.ByCode
}

func validChannels(field string, c Channels) error {
	if len(c) > 50 {
		return invalid(field, "at most 50")
	}
	for name, content := range c {
		if !validChannelName(name) {
			return invalid(field, channelNameRule)
		}
		if content > Full {
			return invalid(field, "None, Generic or Full")
		}
	}
	return nil
}

const channelNameRule = "a channel's name: [a-z][a-z0-9-]*, at most 32 bytes"

func validChannelName(s string) bool {
	if len(s) < 1 || len(s) > 32 || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9') })
}

// Preference is what holds for a service: the citizen's own choice, or what follows from the mode (then SettingsVersion is 0). From Auto
// everything follows but Digest, ReadStatus too; from Manual, and while undecided, nothing. For a Special service Inbox is whether it
// serves the citizen.
func (c *Citizen) Preference(ctx context.Context, id ServiceID) (Preference, error) {
	owner, err := c.begin(ctx)
	if err != nil {
		return Preference{}, err
	}
	if id.validate() != nil {
		return Preference{}, errNoService
	}
	d, err := c.e.viewConsent(ctx, owner, id)
	if err != nil {
		return Preference{}, err
	}
	s, err := d.service(id)
	if err != nil {
		return Preference{}, err
	}
	if s == nil {
		return Preference{}, errNoService
	}
	cs, err := d.readConsent(id)
	if err != nil {
		return Preference{}, err
	}
	return c.e.effective(cs, s), nil
}

// effective is the preference that is enforced, whether the citizen made it or it follows from the mode.
func (e *Engine) effective(cs *consentState, s *serviceRecord) Preference {
	var p Preference
	switch pref := cs.preference; {
	case cs.profile == nil || cs.profile.Mode == Undecided:
		return p
	case pref != nil:
		p = Preference{pref.Inbox, maps.Clone(pref.Channels), pref.ReadStatus, pref.SettingsVersion, pref.Digest}
		if p.Channels == nil {
			p.Channels = Channels{}
		}
	case cs.profile.Mode == Auto || s.Category == Special:
		p = Preference{Inbox: true, Channels: Channels{}, ReadStatus: cs.profile.Mode == Auto}
		for _, r := range e.opts.Channels {
			p.Channels[r.Name] = Full
		}
	default:
		p.Channels = Channels{}
	}
	if s.Category == Special {
		f := e.facts(cs, s, false, e.now())
		p.Inbox = f.Activation == Active || f.Activation == Pending && f.Age < PendingFor
	}
	return p
}

// Activation is whether a Special service serves the citizen, as it last said, whatever the citizen's own choices are; a Pending one that
// no longer counts is Inactive. One that is not Special, or not known, is ErrNotFound.
func (c *Citizen) Activation(ctx context.Context, id ServiceID) (Activation, error) {
	owner, err := c.begin(ctx)
	if err != nil {
		return Inactive, err
	}
	if id.validate() != nil {
		return Inactive, ErrNotFound
	}
	d, err := c.e.viewConsent(ctx, owner, id)
	if err != nil {
		return Inactive, err
	}
	s, err := d.service(id)
	if err != nil {
		return Inactive, err
	}
	if s == nil || s.Category != Special {
		return Inactive, ErrNotFound
	}
	cs, err := d.readConsent(id)
	if err != nil {
		return Inactive, err
	}
	f := c.e.facts(cs, s, false, c.e.now())
	if f.Activation == Pending && f.Age >= PendingFor {
		return Inactive, nil
	}
	return f.Activation, nil
}

// UpdatePreference changes what one service may do by f, which gets what [Citizen.Preference] gives and may be called again after a
// conflict; its error ends the update. Otherwise it is like [Citizen.SetPreference]: a SettingsVersion that f leaves at 0 is the current one.
func (c *Citizen) UpdatePreference(ctx context.Context, id ServiceID, f func(*Preference) error) error {
	for try := 0; ; try++ {
		read, err := c.Preference(ctx, id)
		if err != nil {
			return err
		}
		next := read
		next.Channels = maps.Clone(read.Channels)
		if next.Channels == nil {
			next.Channels = Channels{}
		}
		if err := f(&next); err != nil {
			return err
		}
		err = c.setPreference(ctx, id, next, func(is Preference) error {
			if !reflect.DeepEqual(read, is) {
				return errStale
			}
			return nil
		})
		if !errors.Is(err, errStale) {
			return err
		}
		if try == conflictTries {
			return ErrBusy
		}
		pause(ctx, jitter(try, time.Millisecond, 100*time.Millisecond))
	}
}

// SetPreference says what one service may do. While undecided, or with a SettingsVersion that is not the current one, it is
// ErrConflict; an unknown service is ErrNotFound. What it takes away is no longer sent when SetPreference returns: see
// [InFlightError].
func (c *Citizen) SetPreference(ctx context.Context, id ServiceID, p Preference) error {
	return c.setPreference(ctx, id, p, func(Preference) error { return nil })
}

// setPreference asks check with what held just before.
func (c *Citizen) setPreference(ctx context.Context, id ServiceID, p Preference, check func(is Preference) error) error {
	owner, err := c.begin(ctx)
	if err != nil {
		return err
	}
	if err := validChannels("Channels", p.Channels); err != nil {
		return err
	}
	if id.validate() != nil {
		return errNoService
	}
	p.Channels = maps.Clone(p.Channels)
	return c.e.changeConsent(ctx, owner, consentChange{by: ByCitizen, id: c.id, service: id,
		preference: func(cs *consentState, s *serviceRecord) (*preferenceRecord, error) {
			if s == nil {
				return nil, errNoService
			}
			if err := check(c.e.effective(cs, s)); err != nil {
				return nil, err
			}
			switch {
			case cs.profile == nil || cs.profile.Mode == Undecided:
				return nil, fmt.Errorf("%w: no mode was chosen yet", ErrConflict)
			case p.SettingsVersion != 0 && p.SettingsVersion != cs.profile.SettingsVersion:
				return nil, fmt.Errorf("%w: the preference was made under other settings", ErrConflict)
			}
			return &preferenceRecord{id, p.Inbox, p.Channels, p.ReadStatus && p.Inbox, cs.profile.SettingsVersion, p.Digest}, nil
		}})
}
