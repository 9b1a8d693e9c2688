package httpapi

import (
	"errors"
	"slices"
	"strings"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/push"
)

var installationRoutes = []route{
	{"PUT /api/communication/v1/installations/{id}", citizen, 0, putInstallation},
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
		next := withInstallation(p.Addresses, a)
		if slices.Equal(p.Addresses, next) { // as at most starts of an app
			return errSame
		}
		p.Addresses = next
		return nil
	})
	if err := settled(err); err != nil && !errors.Is(err, errSame) {
		return answer{}, err
	}
	return ok(SuccessResponse{"ok"}), nil
}

func isInstallation(a appio.Address) bool { return strings.HasPrefix(a.ID, installationPrefix) }

// withInstallation is the addresses with one installation put or replaced. The same token under another id is of an app that was installed
// anew, and goes; so do those that are too many.
func withInstallation(addresses []appio.Address, a appio.Address) []appio.Address {
	next := slices.DeleteFunc(slices.Clone(addresses), func(b appio.Address) bool {
		return isInstallation(b) && b.ID != a.ID && b.Value == a.Value
	})
	if i := slices.IndexFunc(next, func(b appio.Address) bool { return b.ID == a.ID }); i >= 0 {
		next[i] = a
	} else {
		next = append(next, a)
	}
	many := -mostInstallations
	for _, b := range next {
		if isInstallation(b) {
			many++
		}
	}
	return slices.DeleteFunc(next, func(b appio.Address) bool {
		goes := isInstallation(b) && many > 0
		if goes {
			many--
		}
		return goes
	})
}
