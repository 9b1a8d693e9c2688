package push

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/netguard"
)

// Apple sends to Apple's devices by APNs, over HTTP/2, with a key of the developer's account.
type Apple struct {
	Key    *ecdsa.PrivateKey // of P-256, as Apple hands it out: see ParseKey
	KeyID  string            // Apple's name for it
	TeamID string            // of the account
	Topic  string            // the app's bundle id

	URL        string // of the service; empty: Apple's, for apps from the store
	SandboxURL string // empty: Apple's, for apps in development

	// Client makes the requests; its redirect policy does not count. Nil: a client of HTTP/2 that notices dead connections.
	Client *http.Client
}

type apns struct {
	key           *ecdsa.PrivateKey
	keyID, teamID string
	topic         string
	at            map[Platform]string
	client        *http.Client
	tokens        tokens
}

// Apple refuses a token that is older than an hour, and too many of them if it gets more than one in 20 minutes.
const (
	apnsKeep  = 50 * time.Minute
	apnsPause = 20 * time.Minute
)

func newAPNs(o *Apple, now func() time.Time) (*apns, error) {
	if !usable(o.Key) {
		return nil, &appio.FieldError{Field: "APNs.Key", Rule: "a private key of P-256"}
	}
	for _, f := range [][2]string{{"KeyID", o.KeyID}, {"TeamID", o.TeamID}, {"Topic", o.Topic}} {
		if !plain(f[1]) {
			return nil, &appio.FieldError{Field: "APNs." + f[0], Rule: "letters, digits, dots and hyphens"}
		}
	}
	a := &apns{
		key: o.Key, keyID: o.KeyID, teamID: o.TeamID, topic: o.Topic, client: provider(o.Client, true),
		tokens: tokens{keep: apnsKeep, now: now}, at: map[Platform]string{},
	}
	var err error
	if a.at[APNs], err = base("APNs.URL", o.URL, "https://api.push.apple.com"); err != nil {
		return nil, err
	}
	if a.at[APNsSandbox], err = base("APNs.SandboxURL", o.SandboxURL, "https://api.sandbox.push.apple.com"); err != nil {
		return nil, err
	}
	return a, nil
}

// plain reports whether a text can stand in a header, a path and a token.
func plain(s string) bool {
	return s != "" && len(s) <= 200 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '.' && r != '-'
	})
}

// base is where a service is.
func base(field, given, usual string) (string, error) {
	if given == "" {
		return usual, nil
	}
	u, err := url.Parse(given)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.ContainsAny(given, "?#") {
		return "", &appio.FieldError{Field: field, Rule: "an https URL without user, query and fragment"}
	}
	return strings.TrimSuffix(given, "/"), nil
}

type apnsText struct {
	APS struct {
		Alert struct {
			Title string `json:"title"`
			Body  string `json:"body"`
		} `json:"alert"`
		Sound string `json:"sound"`
	} `json:"aps"`
	Delivery appio.DeliveryID   `json:"delivery"`
	Message  appio.MessageID    `json:"message"`
	Reminder appio.ReminderKind `json:"reminder,omitempty"`
}

// maxPayload is what APNs and FCM take.
const maxPayload = 4096

func (a *apns) send(ctx context.Context, to Installation, n *notification) error {
	text, err := n.fit(maxPayload, func(title, body string) []byte {
		t := apnsText{Delivery: n.delivery, Message: n.message, Reminder: n.reminder}
		t.APS.Alert.Title, t.APS.Alert.Body, t.APS.Sound = title, body, "default"
		return marshal(t)
	})
	if err != nil {
		return err
	}
	token, err := a.tokens.get("", a.token)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.at[to.Platform]+"/3/device/"+to.Token, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("push: APNs: %w", netguard.Clean(ctx, err))
	}
	req.Header.Set("Authorization", "bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("apns-id", apnsID(n.delivery))
	req.Header.Set("apns-topic", a.topic)
	req.Header.Set("apns-collapse-id", n.collapse)
	req.Header.Set("apns-push-type", "alert")
	req.Header.Set("apns-priority", "10") // it is shown at once
	req.Header.Set("apns-expiration", n.until())
	resp, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("push: APNs: %w", netguard.Clean(ctx, err))
	}
	defer resp.Body.Close()
	reason, since := apnsReason(read(resp))
	if resp.StatusCode == http.StatusForbidden && reason == "ExpiredProviderToken" {
		a.tokens.drop("", token, apnsPause) // one that is younger has the wrong time, and the next would have it too
	}
	if resp.StatusCode == http.StatusOK && !strings.EqualFold(resp.Header.Get("apns-id"), apnsID(n.delivery)) {
		return errors.New("push: APNs answered 200, and not for this notification")
	}
	return apnsVerdict(resp, reason, since, n)
}

// apnsID is the delivery's id in the form that APNs wants, a UUID (version 8).
func apnsID(id appio.DeliveryID) string {
	b := sha256.Sum256([]byte(id))
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// apnsReason reads why APNs refused, and since when an installation is gone.
func apnsReason(body []byte) (reason string, since time.Time) {
	var a struct {
		Reason    string `json:"reason"`
		Timestamp int64  `json:"timestamp"` // ms
	}
	if json.Unmarshal(body, &a) != nil {
		return "", time.Time{}
	}
	if a.Timestamp > 0 {
		since = time.UnixMilli(a.Timestamp)
	}
	return a.Reason, since
}

// apnsVerdict is what an answer means. An installation is gone only if Apple says so in these words: other reasons of 400 are
// about the request, and without a reason it is not Apple who says it.
func apnsVerdict(resp *http.Response, reason string, since time.Time, n *notification) error {
	err := answered("APNs", resp.StatusCode, reason)
	switch s := resp.StatusCode; {
	case s == http.StatusOK:
		return nil
	case s == http.StatusBadRequest && reason == "BadDeviceToken", s == http.StatusGone && reason == "ExpiredToken":
		return appio.Gone(err)
	case s == http.StatusGone && reason == "Unregistered":
		if !since.IsZero() && n.proved.After(since) {
			return err // it has registered again
		}
		return appio.Gone(err)
	case s == http.StatusBadRequest && reason != "" && !apnsSetUp[reason], s == http.StatusRequestEntityTooLarge:
		return appio.Permanent(err)
	case s == http.StatusTooManyRequests, s >= 500:
		return later(err, resp, n.now, 0)
	}
	return err
}

// apnsSetUp are reasons of 400 that are not about the notification: it may be put right while deliveries wait, or passes.
var apnsSetUp = map[string]bool{
	"BadTopic": true, "MissingTopic": true, "TopicDisallowed": true, "BadEnvironmentKeyInToken": true, "IdleTimeout": true,
}

// token says to Apple who sends.
func (a *apns) token(now time.Time) (string, error) {
	return sign(
		struct {
			Alg   string `json:"alg"`
			KeyID string `json:"kid"`
		}{"ES256", a.keyID},
		struct {
			Issuer string `json:"iss"`
			Issued int64  `json:"iat"`
		}{a.teamID, now.Unix()},
		es256(a.key))
}
