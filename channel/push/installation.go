package push

import (
	"crypto/ecdh"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"strings"

	"github.com/appio-go/appio"
)

// A Platform is by whom an installation is reached.
type Platform string

const (
	Web         Platform = "web"          // a browser, through the push service that it names
	APNs        Platform = "apns"         // Apple
	APNsSandbox Platform = "apns-sandbox" // Apple, an app in development
	FCM         Platform = "fcm"          // Google's Firebase Cloud Messaging
)

// An Installation is one installed app, or one browser, that has agreed to show notifications. It points to one person's device.
type Installation struct {
	Platform Platform
	Token    string // of an app: for Apple the device token in lower-case hex; of FCM its registration token

	// Of a browser: what its PushSubscription has. See [ParseSubscription].
	Endpoint string // an https URL of ASCII, without user and fragment
	P256DH   string // a point of P-256 in 65 bytes, as base64url without padding
	Auth     string // 16 bytes, as base64url without padding
}

// maxValue is the most of an Address.Value.
const maxValue = 2000

// Value is the installation as an Address.Value holds it: "apns:TOKEN", "apns-sandbox:TOKEN", "fcm:TOKEN" or
// "web:P256DH:AUTH:ENDPOINT". It is not for a log.
func (i Installation) Value() string {
	if i.Platform == Web {
		return strings.Join([]string{string(i.Platform), i.P256DH, i.Auth, i.Endpoint}, ":")
	}
	return string(i.Platform) + ":" + i.Token
}

// String has the platform alone.
func (i Installation) String() string { return string(i.Platform) + ":***" }

// GoString is that of String.
func (i Installation) GoString() string { return i.String() }

// LogValue is that of String.
func (i Installation) LogValue() slog.Value { return slog.StringValue(i.String()) }

// Parse reads what Value writes, and nothing else. Its error has nothing of s.
func Parse(s string) (Installation, error) {
	platform, rest, ok := strings.Cut(s, ":")
	if !ok || len(s) > maxValue {
		return Installation{}, errors.New("push: the address is not an installation")
	}
	i := Installation{Platform: Platform(platform)}
	if i.Platform == Web {
		parts := strings.SplitN(rest, ":", 3)
		if len(parts) != 3 {
			return Installation{}, errors.New("push: the address is not that of a browser")
		}
		i.P256DH, i.Auth, i.Endpoint = parts[0], parts[1], parts[2]
	} else {
		i.Token = rest
	}
	if err := i.Validate(); err != nil {
		return Installation{}, err
	}
	return i, nil
}

// ParseSubscription reads the JSON of a browser's PushSubscription. Its error has nothing of the text.
func ParseSubscription(text []byte) (Installation, error) {
	var s struct {
		Endpoint string `json:"endpoint"`
		Keys     struct {
			P256DH string `json:"p256dh"`
			Auth   string `json:"auth"`
		} `json:"keys"`
	}
	if len(text) > 2*maxValue || json.Unmarshal(text, &s) != nil {
		return Installation{}, errors.New("push: not a PushSubscription as JSON")
	}
	i := Installation{Platform: Web, Endpoint: s.Endpoint, P256DH: s.Keys.P256DH, Auth: s.Keys.Auth}
	if err := i.Validate(); err != nil {
		return Installation{}, err
	}
	return i, nil
}

// Validate reports what cannot be an installation, as a [appio.FieldError], or is longer than an Address.Value may be.
func (i Installation) Validate() error {
	field, rule := i.problem()
	if field == "" && len(i.Value()) > maxValue {
		field, rule = "Installation", "at most 2000 bytes as a text"
	}
	if field != "" {
		return &appio.FieldError{Field: field, Rule: rule}
	}
	return nil
}

func (i Installation) problem() (field, rule string) {
	switch i.Platform {
	case Web:
		if i.Token != "" {
			return "Token", "empty for a browser"
		}
		if _, err := i.key(); err != nil {
			return "P256DH", "a point of P-256 as base64url"
		}
		if secret, err := decode(i.Auth); err != nil || len(secret) != 16 {
			return "Auth", "16 bytes as base64url"
		}
		if _, err := i.endpoint(); err != nil {
			return "Endpoint", "an https URL of ASCII, without user and fragment"
		}
		return "", ""
	case APNs, APNsSandbox:
		if len(i.Token) < 2 || len(i.Token)%2 != 0 || strings.Trim(i.Token, "0123456789abcdef") != "" {
			return "Token", "bytes as lower-case hex"
		}
	case FCM:
		if i.Token == "" || strings.ContainsFunc(i.Token, func(r rune) bool {
			return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && !strings.ContainsRune("-_:.=", r)
		}) {
			return "Token", "letters, digits and -_:.="
		}
	default:
		return "Platform", "web, apns, apns-sandbox or fcm"
	}
	if i.Endpoint != "" || i.P256DH != "" || i.Auth != "" {
		return "Endpoint", "empty for an app"
	}
	return "", ""
}

// key is the browser's public key.
func (i Installation) key() (*ecdh.PublicKey, error) {
	point, err := decode(i.P256DH)
	if err != nil {
		return nil, err
	}
	return ecdh.P256().NewPublicKey(point)
}

var errEndpoint = errors.New("push: not an endpoint")

// endpoint is the browser's push service. Whether it may be asked is for the guard to say.
func (i Installation) endpoint() (*url.URL, error) {
	if strings.ContainsFunc(i.Endpoint, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return nil, errEndpoint
	}
	u, err := url.Parse(i.Endpoint)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Contains(i.Endpoint, "#") {
		return nil, errEndpoint
	}
	return u, nil
}

// decode reads base64url without padding, in its one form.
func decode(s string) ([]byte, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || base64.RawURLEncoding.EncodeToString(b) != s { // line breaks and loose bits are let through
		return nil, errors.New("push: not base64url")
	}
	return b, nil
}
