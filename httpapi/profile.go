package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/mail"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/appio-go/appio"
)

var citizenProfileRoutes = []route{
	{"GET /api/identity/v1/profile", citizen, 0, citizenProfile},
	{"POST /api/identity/v1/profile", citizen, 0, updateProfile},
	{"POST /api/identity/v1/email-validation-process", citizen, 0, validateEmail},
}

// A Person is what the host's login knows of a citizen beside appio.Identity: an app shows it.
type Person struct {
	Name, FamilyName string
	Email            string    // as the login has it; it is shown, and nothing is sent there. Empty: it has none
	BornOn           time.Time // its day counts; zero: not known
}

// A Profile is what a citizen sets for all services. What is not there stays as it is, but for the last three, which are not set any more
// then, as in IO.
type Profile struct {
	Version            int                  `json:"version"` // the current one
	Email              *string              `json:"email,omitempty"`
	Settings           *PreferencesSettings `json:"service_preferences_settings,omitempty"` // once there is a mode, it must be there
	Blocked            map[string][]string  `json:"blocked_inbox_or_channels,omitempty"`    // of LEGACY, in which nothing is sent here; see [updateProfile]
	PreferredLanguages *[]string            `json:"preferred_languages,omitempty"`
	IsInboxEnabled     *bool                `json:"is_inbox_enabled,omitempty"`
	IsWebhookEnabled   *bool                `json:"is_webhook_enabled,omitempty"` // push
	IsEmailEnabled     *bool                `json:"is_email_enabled,omitempty"`
	AcceptedTerms      *json.Number         `json:"accepted_tos_version,omitempty"` // 1 or more; the first opens the inbox and switches push on

	ReminderStatus *string `json:"reminder_status,omitempty"`                 // ENABLED or DISABLED
	PushContent    *string `json:"push_notifications_content_type,omitempty"` // FULL or ANONYMOUS
	AppVersion     *string `json:"last_app_version,omitempty"`                // three or four numbers, as 2.14.0
}

// PreferencesSettings has the mode.
type PreferencesSettings struct {
	Mode string `json:"mode"` // LEGACY, where none was chosen: nothing is sent then; AUTO or MANUAL
}

// An InitializedProfile is a citizen's profile as an app sees it. A person who has set nothing has one, too, with version 0.
type InitializedProfile struct {
	FiscalCode         string              `json:"fiscal_code"`
	Name               string              `json:"name"`
	FamilyName         string              `json:"family_name"`
	DateOfBirth        string              `json:"date_of_birth,omitempty"` // YYYY-MM-DD
	LoginEmail         string              `json:"spid_email,omitempty"`
	HasProfile         bool                `json:"has_profile"`
	Email              string              `json:"email,omitempty"`
	IsEmailValidated   bool                `json:"is_email_validated"`
	IsEmailTaken       bool                `json:"is_email_already_taken"`
	IsEmailEnabled     bool                `json:"is_email_enabled"`
	IsInboxEnabled     bool                `json:"is_inbox_enabled"`
	IsWebhookEnabled   bool                `json:"is_webhook_enabled"`
	AcceptedTerms      json.Number         `json:"accepted_tos_version,omitempty"`
	AppVersion         string              `json:"last_app_version,omitempty"`
	ReminderStatus     string              `json:"reminder_status,omitempty"`
	PushContent        string              `json:"push_notifications_content_type,omitempty"`
	PreferredLanguages []string            `json:"preferred_languages,omitempty"`
	Settings           PreferencesSettings `json:"service_preferences_settings"`
	Version            int                 `json:"version"`
}

// The values of mode, reminder_status and push_notifications_content_type.
const (
	modeLegacy  = "LEGACY"
	enabled     = "ENABLED"
	disabled    = "DISABLED"
	pushFull    = "FULL"
	pushGeneric = "ANONYMOUS"
)

func citizenProfile(c *call) (answer, error) {
	p, err := c.citizen.Profile(c.ctx)
	if err != nil {
		return answer{}, err
	}
	return c.profileAnswer(&p)
}

func (c *call) profileAnswer(p *appio.Profile) (answer, error) {
	w := InitializedProfile{
		FiscalCode: string(c.identity.Code), HasProfile: p.Version > 0, IsInboxEnabled: p.Inbox, Version: wireVersion(p),
		IsEmailEnabled: p.Channels[appio.Email] != appio.None, IsWebhookEnabled: p.Channels[appio.Push] != appio.None,
		AppVersion: p.App.Version, ReminderStatus: reminderStatus(p), PushContent: pushContent(p), PreferredLanguages: wireLanguages(p.Languages),
		Settings: PreferencesSettings{string(p.Mode)},
	}
	if p.Mode == appio.Undecided {
		w.Settings.Mode = modeLegacy
	}
	if terms, err := termsVersion(json.Number(p.App.Terms)); err == nil { // a host may have written others
		w.AcceptedTerms = terms
	}
	if c.o.Person != nil {
		person := c.o.Person(c.r)
		w.Name, w.FamilyName, w.LoginEmail = person.Name, person.FamilyName, person.Email
		if !person.BornOn.IsZero() {
			w.DateOfBirth = person.BornOn.Format(time.DateOnly)
		}
	}
	if a := emailOf(p); a != nil {
		w.Email, w.IsEmailValidated = a.Value, !a.ValidatedAt.IsZero()
		if !w.IsEmailValidated {
			var err error
			if w.IsEmailTaken, err = c.citizen.AddressTaken(c.ctx, appio.Email, a.Value); err != nil {
				return answer{}, err
			}
		}
	}
	return ok(w), nil
}

// wireVersion does not count what apps change by themselves: IO keeps that elsewhere, and an app that has set its installation goes on with
// the version it has.
func wireVersion(p *appio.Profile) int { return p.Version - p.Moves }

// emailOf is the e-mail address that an app shows, of which IO has one: the first; nil: there is none.
func emailOf(p *appio.Profile) *appio.Address {
	i := slices.IndexFunc(p.Addresses, func(a appio.Address) bool { return a.Channel == appio.Email })
	if i < 0 {
		return nil
	}
	return &p.Addresses[i]
}

// reminderStatus is empty where the citizen was not asked.
func reminderStatus(p *appio.Profile) string {
	switch {
	case p.Reminders != (appio.Reminders{}):
		return enabled
	case p.App.RemindersAsked:
		return disabled
	}
	return ""
}

// pushContent is what push shows, or will once it is switched on; empty where it shows the least and the citizen was not asked.
func pushContent(p *appio.Profile) string {
	asked, is := p.App.Shown[appio.Push]
	if now := p.Channels[appio.Push]; now == appio.Full || now == appio.None && asked == appio.Full {
		return pushFull
	}
	if is {
		return pushGeneric
	}
	return ""
}

// updateProfile changes the profile as the document says, with two exceptions. A mode is needed for anything to be sent, so that the
// services and channels that somebody without one blocks are not sent anything to begin with: such a list is refused, as it would not count
// once there is a mode. And what a host's own pages set that IO has no word for, as addresses of other channels, stays.
func updateProfile(c *call) (answer, error) {
	var b Profile
	if err := c.body(&b); err != nil {
		return answer{}, err
	}
	set, err := b.check()
	if err != nil {
		return answer{}, err
	}
	who := c.identity
	if who.Text == "" && set.terms != "" {
		who.Text = "terms " + string(set.terms) // which the citizen was shown
	}
	person := c.e.Citizen(who)
	asked := ""
	err = person.UpdateProfile(c.ctx, func(p *appio.Profile) error {
		asked = ""
		if have := wireVersion(p); b.Version != have {
			return problem(http.StatusConflict, "", fmt.Sprintf("Version %d is not the latest version.", b.Version))
		}
		if b.Email != nil {
			if a := emailOf(p); a == nil || a.Value != *b.Email {
				taken, err := person.AddressTaken(c.ctx, appio.Email, *b.Email)
				if err != nil {
					return err
				}
				if taken {
					return emailTaken()
				}
				asked = *b.Email
			}
		}
		return set.apply(p)
	})
	if err = settled(err); err != nil {
		return answer{}, c.refusedProfile(err)
	}
	p, err := person.Profile(c.ctx)
	if err != nil {
		return answer{}, err
	}
	if a := emailOf(&p); a != nil && a.Value == asked && c.o.Validate != nil {
		if err := c.sendValidation(a.ID); err != nil { // the app can ask for it again
			a := c.problemOf(c.route, err)
			c.o.Logger.Warn("the mail that validates a new address was not sent", "status", a.Status)
		}
	}
	return c.profileAnswer(&p)
}

// emailTaken is IO's problem of an address that somebody else has proved.
func emailTaken() error {
	p := problem(http.StatusPreconditionFailed, "", "The e-mail address is somebody else's.")
	p.Type = "https://ioapp.it/problems/email-already-taken"
	return p
}

func (c *call) refusedProfile(err error) error {
	var field *appio.FieldError
	if errors.As(err, &field) {
		name := field.Field
		switch {
		case strings.HasPrefix(name, "Addresses"):
			name = "email"
		case strings.HasPrefix(name, "Languages"):
			name = "preferred_languages"
		}
		return badParameters(name + ": " + field.Rule)
	}
	return err
}

// A profileChange is a Profile whose values are what they may be.
type profileChange struct {
	*Profile
	languages []string
	terms     json.Number // empty: not given
}

var appVersion = regexp.MustCompile(`^((0|[1-9]\d*)\.){2}(0|[1-9]\d*)(\.(0|[1-9]\d*))?$`)

func (b *Profile) check() (*profileChange, error) {
	set := &profileChange{Profile: b}
	oneOf := func(name string, v *string, values ...string) error {
		if v != nil && !slices.Contains(values, *v) {
			return badParameters(name + ": must be " + strings.Join(values, " or "))
		}
		return nil
	}
	if err := errors.Join(
		oneOf("reminder_status", b.ReminderStatus, enabled, disabled),
		oneOf("push_notifications_content_type", b.PushContent, pushFull, pushGeneric),
	); err != nil {
		return nil, err
	}
	if s := b.Settings; s != nil {
		if err := oneOf("service_preferences_settings.mode", &s.Mode, modeLegacy, string(appio.Auto), string(appio.Manual)); err != nil {
			return nil, err
		}
	}
	if b.Email != nil && !isEmail(*b.Email) {
		return nil, badParameters("email: an e-mail address")
	}
	if v := b.AppVersion; v != nil && (len(*v) > 100 || !appVersion.MatchString(*v)) {
		return nil, badParameters("last_app_version: three or four numbers with points between")
	}
	if b.AcceptedTerms != nil {
		var err error
		if set.terms, err = termsVersion(*b.AcceptedTerms); err != nil {
			return nil, badParameters("accepted_tos_version: a number of 1 or more")
		}
	}
	if b.PreferredLanguages != nil {
		for i, l := range *b.PreferredLanguages {
			tag := engineLanguage(l)
			if tag == "" {
				return nil, badParameters(fmt.Sprintf("preferred_languages.%d: a language and a country, as it_IT", i))
			}
			set.languages = append(set.languages, tag)
		}
	}
	return set, nil
}

// isEmail takes an address alone, without a name.
func isEmail(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Name == "" && a.Address == s && len(s) <= 254
}

// termsVersion is a version of terms in one spelling.
func termsVersion(n json.Number) (json.Number, error) {
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil || !(f >= 1) || f > 1e15 {
		return "", errors.New("httpapi: no version of terms")
	}
	return json.Number(strconv.FormatFloat(f, 'f', -1, 64)), nil
}

// apply changes the profile.
func (set *profileChange) apply(p *appio.Profile) error {
	if err := set.applyMode(p); err != nil {
		return err
	}
	if p.Mode == appio.Undecided && set.blocks() {
		return badParameters("blocked_inbox_or_channels: nothing is sent before a mode is chosen; services are refused by their preferences then")
	}
	if set.Email != nil {
		if a := emailOf(p); a == nil {
			p.Addresses = append(p.Addresses, appio.Address{Channel: appio.Email, Value: *set.Email})
		} else if a.Value != *set.Email {
			a.Value, a.ValidatedAt = *set.Email, time.Time{}
		}
	}
	if set.PreferredLanguages != nil {
		p.Languages = set.languages
	}
	if set.IsInboxEnabled != nil {
		p.Inbox = *set.IsInboxEnabled
	}
	push := set.IsWebhookEnabled
	if set.terms != "" {
		if p.App.Terms == "" {
			on := true
			p.Inbox, push = true, &on
		}
		p.App.Terms = string(set.terms)
	}
	if p.App.Shown == nil {
		p.App.Shown = appio.Channels{}
	}
	set.applyPush(p, push)
	if set.IsEmailEnabled != nil {
		switchChannel(p, appio.Email, *set.IsEmailEnabled, appio.Full)
	}
	p.App.RemindersAsked = set.ReminderStatus != nil
	switch on := set.ReminderStatus != nil && *set.ReminderStatus == enabled; {
	case !on:
		p.Reminders = appio.Reminders{}
	case p.Reminders == (appio.Reminders{}): // a host's own pages may have set some of them
		p.Reminders = appio.Reminders{Unread: true, Deadline: true, Unpaid: true}
	}
	p.App.Version = ""
	if set.AppVersion != nil {
		p.App.Version = *set.AppVersion
	}
	return nil
}

// blocks reports whether a service is blocked in some way.
func (b *Profile) blocks() bool {
	for _, channels := range b.Blocked {
		if len(channels) > 0 {
			return true
		}
	}
	return false
}

// applyMode refuses what IO refuses: to go back to LEGACY, which is also what is meant where there is no mode.
func (set *profileChange) applyMode(p *appio.Profile) error {
	mode := modeLegacy
	if set.Settings != nil {
		mode = set.Settings.Mode
	}
	if mode != modeLegacy {
		p.Mode = appio.Mode(mode)
	} else if p.Mode != appio.Undecided {
		return problem(http.StatusConflict, "", "Mode LEGACY is not valid.")
	}
	return nil
}

// applyPush sets what push shows, and switches it on or off; nil: that stays.
func (set *profileChange) applyPush(p *appio.Profile, on *bool) {
	shown := appio.Generic
	if set.PushContent == nil {
		delete(p.App.Shown, appio.Push)
	} else {
		if *set.PushContent == pushFull {
			shown = appio.Full
		}
		p.App.Shown[appio.Push] = shown
	}
	if p.Channels[appio.Push] != appio.None {
		p.Channels[appio.Push] = shown
	}
	if on != nil {
		switchChannel(p, appio.Push, *on, shown)
	}
}

// switchChannel switches a channel on, to show so much, unless it is on already; or off.
func switchChannel(p *appio.Profile, name string, on bool, shown appio.Content) {
	switch {
	case !on:
		p.Channels[name] = appio.None
	case p.Channels[name] == appio.None:
		p.Channels[name] = shown
	}
}

// validateEmail sends the mail by which the citizen proves the e-mail address, as Options.Validate does.
func validateEmail(c *call) (answer, error) {
	if c.o.Validate == nil {
		return answer{}, appio.ErrUnsupported
	}
	p, err := c.citizen.Profile(c.ctx)
	if err != nil {
		return answer{}, err
	}
	a := emailOf(&p)
	switch {
	case p.Version == 0:
		return answer{}, notFound("Profile not found")
	case a == nil:
		return answer{}, problem(http.StatusBadRequest, "Validation error", "The profile has no e-mail address")
	case !a.ValidatedAt.IsZero():
		return answer{}, problem(http.StatusBadRequest, "Validation error", "The email is already validated")
	}
	if err := c.sendValidation(a.ID); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusAccepted}, nil
}

// validationEvery is how long the engine waits between two mails to an address.
const validationEvery = time.Minute

func (c *call) sendValidation(id string) error {
	v, err := c.citizen.ValidateAddress(c.ctx, id)
	if errors.Is(err, appio.ErrLimited) {
		p := problem(http.StatusTooManyRequests, "", "A mail was sent less than a minute ago.")
		p.after = validationEvery
		return p
	}
	if err = settled(err); err != nil {
		return err
	}
	if err := c.o.Validate(c.ctx, v); err != nil {
		// It may quote the address.
		c.o.Logger.Error("the mail that validates an address could not be sent", "type", fmt.Sprintf("%T", err))
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return problem(http.StatusServiceUnavailable, "", "The time for the request was over.")
		}
		return internalError()
	}
	return nil
}
