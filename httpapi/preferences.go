package httpapi

import (
	"errors"
	"math"
	"net/http"

	"github.com/appio-go/appio"
)

var preferenceRoutes = []route{
	{"GET /api/identity/v1/services/{service_id}/preferences", citizen, 0, servicePreference},
	{"POST /api/identity/v1/services/{service_id}/preferences", citizen, 0, setServicePreference},
}

// A ServicePreference is what one service may do; it is what is enforced, by e-mail too.
type ServicePreference struct {
	IsInboxEnabled   bool  `json:"is_inbox_enabled"`
	IsEmailEnabled   bool  `json:"is_email_enabled"`
	IsWebhookEnabled bool  `json:"is_webhook_enabled"`
	ReadStatus       *bool `json:"can_access_message_read_status,omitempty"` // where it is not given it stays as it is; where the inbox is off it is false
	SettingsVersion  int   `json:"settings_version"`                         // of the profile: 0 after the first choice of a mode, and one more with each change of it
}

// wireSettings is a settings version as IO counts it, from -1 where there is no mode.
func wireSettings(v int) int { return v - 1 }

func noService(err error) error {
	if errors.Is(err, appio.ErrNotFound) {
		return notFound("Service not found")
	}
	return err
}

func noMode() error {
	return problem(http.StatusConflict, "", "Legacy service preferences not allowed")
}

func servicePreference(c *call) (answer, error) {
	id := appio.ServiceID(c.r.PathValue("service_id"))
	profile, err := c.citizen.Profile(c.ctx)
	if err != nil {
		return answer{}, err
	}
	// A mode that is chosen between the two reads makes a version that is too old, by which nothing can be set.
	p, err := c.citizen.Preference(c.ctx, id)
	switch {
	case err != nil:
		return answer{}, noService(err)
	case profile.Mode == appio.Undecided:
		return answer{}, noMode()
	}
	if p.SettingsVersion == 0 {
		p.SettingsVersion = profile.SettingsVersion
	}
	return ok(preferenceAnswer(p)), nil
}

func preferenceAnswer(p appio.Preference) ServicePreference {
	read := p.ReadStatus && p.Inbox
	return ServicePreference{
		p.Inbox, p.Channels[appio.Email] != appio.None, p.Channels[appio.Push] != appio.None, &read, wireSettings(p.SettingsVersion),
	}
}

// setServicePreference leaves alone what IO has no word for: a host's other channels, digests, and how much a channel shows.
func setServicePreference(c *call) (answer, error) {
	id := appio.ServiceID(c.r.PathValue("service_id"))
	var b ServicePreference
	if err := c.body(&b); err != nil {
		return answer{}, err
	}
	if b.SettingsVersion < 0 || b.SettingsVersion > math.MaxInt32 {
		return answer{}, badParameters("settings_version: a number of 0 or more")
	}
	profile, err := c.citizen.Profile(c.ctx)
	if err != nil {
		return answer{}, err
	}
	service, err := c.citizen.Service(c.ctx, id)
	switch {
	case err != nil:
		return answer{}, noService(err)
	case profile.Mode == appio.Undecided:
		return answer{}, noMode()
	case b.SettingsVersion != wireSettings(profile.SettingsVersion):
		return answer{}, otherSettings()
	}
	var set appio.Preference
	err = c.citizen.UpdatePreference(c.ctx, id, func(p *appio.Preference) error {
		if service.Category == appio.Special && b.IsInboxEnabled != p.Inbox {
			return problem(http.StatusConflict, "", "Unexpected is_inbox_enabled value: the service says whom it serves")
		}
		p.Inbox = b.IsInboxEnabled
		for name, on := range map[string]bool{appio.Email: b.IsEmailEnabled, appio.Push: b.IsWebhookEnabled} {
			switch {
			case !on:
				p.Channels[name] = appio.None
			case p.Channels[name] == appio.None:
				p.Channels[name] = appio.Full
			}
		}
		if b.ReadStatus != nil {
			p.ReadStatus = *b.ReadStatus
		}
		p.SettingsVersion = b.SettingsVersion + 1
		set = *p
		return nil
	})
	err = settled(err)
	if errors.Is(err, appio.ErrConflict) { // a mode was chosen meanwhile
		return answer{}, otherSettings()
	}
	if err != nil {
		return answer{}, noService(err)
	}
	return ok(preferenceAnswer(set)), nil
}

func otherSettings() error {
	return problem(http.StatusConflict, "", "The settings_version is not the current one of the profile.")
}
