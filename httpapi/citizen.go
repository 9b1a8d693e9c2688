package httpapi

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/push"
)

var citizenRoutes = []route{
	{"GET /api/identity/v1/services/{service_id}/preferences", citizen, 0, servicePreference},
	{"POST /api/identity/v1/services/{service_id}/preferences", citizen, 0, setServicePreference},
	{"POST /api/identity/v1/user-data-processing", citizen, 0, requestData},
	{"GET /api/identity/v1/user-data-processing/{choice}", citizen, 0, dataRequest},
	{"DELETE /api/identity/v1/user-data-processing/{choice}", citizen, 0, abortDataRequest},
	{"PUT /api/communication/v1/installations/{id}", citizen, 0, putInstallation},
	{"GET /api/communication/v1/payment/info/{rpt_id}", citizen, 0, paymentInfo},
	{"GET /api/communication/v1/send/activation", citizen, 0, sendActivation},
	{"POST /api/communication/v1/send/activation", citizen, 0, setSendActivation},
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
	if b.SettingsVersion < 0 || b.SettingsVersion >= 1<<31 {
		return answer{}, badParameters("settings_version: a number of 0 or more")
	}
	profile, err := c.citizen.Profile(c.ctx)
	if err != nil {
		return answer{}, err
	}
	service, err := c.e.Service(c.ctx, id)
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

// A UserDataProcessingRequest asks for a copy of what is kept about the citizen, or for its deletion.
type UserDataProcessingRequest struct {
	Choice string `json:"choice"` // DOWNLOAD or DELETE
}

// UserDataProcessing is the last such request of a kind.
type UserDataProcessing struct {
	Choice    appio.DataChoice    `json:"choice"`
	Status    appio.RequestStatus `json:"status"`
	CreatedAt Timestamp           `json:"created_at"`
	UpdatedAt Timestamp           `json:"updated_at"`
	Version   int                 `json:"version"`
}

func processing(r appio.DataRequest) answer {
	return ok(UserDataProcessing{r.Choice, r.Status, Timestamp(r.AskedAt), Timestamp(r.ChangedAt), r.Version})
}

func dataChoice(s string) (appio.DataChoice, error) {
	if c := appio.DataChoice(s); c == appio.DownloadData || c == appio.DeleteData {
		return c, nil
	}
	return "", badParameters("choice: must be DOWNLOAD or DELETE")
}

func requestData(c *call) (answer, error) {
	var b UserDataProcessingRequest
	if err := c.body(&b); err != nil {
		return answer{}, err
	}
	choice, err := dataChoice(b.Choice)
	if err != nil {
		return answer{}, err
	}
	r, err := c.citizen.RequestData(c.ctx, choice)
	if errors.Is(err, appio.ErrConflict) {
		return answer{}, problem(http.StatusConflict, "", "Another request is already PENDING or WIP for this User")
	}
	if err != nil {
		return answer{}, err
	}
	return processing(r), nil
}

func dataRequest(c *call) (answer, error) {
	choice, err := dataChoice(c.r.PathValue("choice"))
	if err != nil {
		return answer{}, err
	}
	r, err := c.citizen.DataRequest(c.ctx, choice)
	if err != nil {
		return answer{}, err
	}
	return processing(r), nil
}

// abortDataRequest takes back a deletion that has not begun; a download cannot be taken back.
func abortDataRequest(c *call) (answer, error) {
	choice, err := dataChoice(c.r.PathValue("choice"))
	if err != nil {
		return answer{}, err
	}
	if choice == appio.DownloadData {
		if _, err := c.citizen.DataRequest(c.ctx, choice); err != nil {
			return answer{}, err
		}
		return answer{}, problem(http.StatusConflict, "", "A download cannot be aborted.")
	}
	if _, err := c.citizen.AbortDeletion(c.ctx); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusAccepted}, nil
}

// An Installation is where push reaches one installed app.
type Installation struct {
	Platform    string `json:"platform"`    // apns, gcm or fcmv1, of which the latter two are Firebase
	PushChannel string `json:"pushChannel"` // the app's token
}

// A SuccessResponse says that it was done.
type SuccessResponse struct {
	Message string `json:"message"`
}

var errSame = errors.New("httpapi: nothing to change")

// mostInstallations is how many a citizen has; with one more the first goes, whose app is the likeliest to be gone.
const mostInstallations = 20

// installationPrefix tells installations from addresses that a host names.
const installationPrefix = "installation/"

// putInstallation keeps the token as an address of push, in the form of package channel/push. IO has one installation for each citizen,
// whatever its id; here each device has its own. There is no path to take one out: where a citizen logs out of an app the host removes the
// address, whose id is "installation/" and the installation's, or else the next person on that device would see what push shows.
func putInstallation(c *call) (answer, error) {
	id := c.r.PathValue("id")
	if len(id) > 64 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return answer{}, badParameters("installationID: a UUID")
	}
	var b Installation
	if err := c.body(&b); err != nil {
		return answer{}, err
	}
	is := push.Installation{Token: b.PushChannel}
	switch b.Platform {
	case "apns":
		is.Platform, is.Token = push.APNs, strings.ToLower(is.Token)
	case "gcm", "fcmv1":
		is.Platform = push.FCM
	default:
		return answer{}, badParameters("platform: must be apns, gcm or fcmv1")
	}
	if is.Validate() != nil {
		return answer{}, badParameters("pushChannel: a token of the platform")
	}
	a := appio.Address{ID: installationPrefix + id, Channel: appio.Push, Value: is.Value()}
	err := c.citizen.UpdateProfile(c.ctx, func(p *appio.Profile) error {
		// The same token under another id is an app that was installed anew.
		kept := slices.DeleteFunc(slices.Clone(p.Addresses), func(b appio.Address) bool {
			return b.ID != a.ID && strings.HasPrefix(b.ID, installationPrefix) && b.Value == a.Value
		})
		if i := slices.IndexFunc(kept, func(b appio.Address) bool { return b.ID == a.ID }); i >= 0 {
			kept[i] = a
		} else {
			kept = append(kept, a)
		}
		ours := 0
		for _, b := range slices.Backward(slices.Clone(kept)) {
			if !strings.HasPrefix(b.ID, installationPrefix) {
				continue
			}
			if ours++; ours > mostInstallations {
				kept = slices.DeleteFunc(kept, func(k appio.Address) bool { return k.ID == b.ID })
			}
		}
		if slices.Equal(p.Addresses, kept) { // as at most starts of an app
			return errSame
		}
		p.Addresses = kept
		return nil
	})
	if err := settled(err); err != nil && !errors.Is(err, errSame) {
		return answer{}, err
	}
	return ok(SuccessResponse{"ok"}), nil
}

// A SendActivation is whether SEND writes to the citizen.
type SendActivation struct {
	Status bool `json:"activation_status"`
}

// sendService is the service that is activated.
func (c *call) sendService() (appio.ServiceID, error) {
	test, err := c.flag("isTest")
	if err != nil {
		return "", err
	}
	id := c.o.Send
	if test {
		id = c.o.SendTest
	}
	if id == "" {
		return "", notFound("")
	}
	return id, nil
}

func sendActivation(c *call) (answer, error) {
	id, err := c.sendService()
	if err != nil {
		return answer{}, err
	}
	a, err := c.citizen.Activation(c.ctx, id)
	if err != nil {
		return answer{}, err
	}
	return ok(SendActivation{a != appio.Inactive}), nil
}

func setSendActivation(c *call) (answer, error) {
	id, err := c.sendService()
	if err != nil {
		return answer{}, err
	}
	var b SendActivation
	if err := c.body(&b); err != nil {
		return answer{}, err
	}
	a := appio.Inactive
	if b.Status {
		a = appio.Active
	}
	if err := settled(c.e.Sender(id).Activate(c.ctx, c.identity.Code, a, time.Time{})); err != nil {
		return answer{}, err
	}
	return noContent, nil
}
