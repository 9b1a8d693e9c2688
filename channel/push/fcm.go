package push

import (
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/netguard"
)

// Firebase sends by Firebase Cloud Messaging (HTTP v1).
type Firebase struct {
	Account []byte // a service account's key, the JSON file that Google hands out

	URL string // of the service; empty: Google's

	// Client makes the requests, those for access tokens too; its redirect policy does not count. Nil: a client that notices dead
	// connections.
	Client *http.Client
}

// Format prints nothing of the key.
func (Firebase) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "FCM") }

type fcm struct {
	url    string
	client *http.Client
	access *access
}

// An account is who asks Google.
type account struct {
	project, email, keyID, tokenURL string
	key                             *rsa.PrivateKey
}

func newFCM(o *Firebase, now func() time.Time) (*fcm, error) {
	acc, err := parseAccount(o.Account)
	if err != nil {
		return nil, err
	}
	at, err := base("FCM.URL", o.URL, "https://fcm.googleapis.com")
	if err != nil {
		return nil, err
	}
	client := provider(o.Client, false)
	return &fcm{
		url: at + "/v1/projects/" + acc.project + "/messages:send", client: client,
		access: &access{account: *acc, client: client, now: now, turn: make(chan struct{}, 1)},
	}, nil
}

// parseAccount reads a service account's key. Its error has nothing of it.
func parseAccount(text []byte) (*account, error) {
	bad := func(rule string) (*account, error) {
		return nil, &appio.FieldError{Field: "FCM.Account", Rule: rule}
	}
	var a struct {
		Type     string `json:"type"`
		Project  string `json:"project_id"`
		KeyID    string `json:"private_key_id"`
		Key      string `json:"private_key"`
		Email    string `json:"client_email"`
		TokenURL string `json:"token_uri"`
	}
	if json.Unmarshal(text, &a) != nil || a.Type != "service_account" {
		return bad("the JSON of a service account's key")
	}
	if !plain(a.Project) || !plain(a.KeyID) || a.Email == "" {
		return bad("with project_id, private_key_id and client_email")
	}
	at, err := base("FCM.Account", a.TokenURL, "")
	if err != nil || at == "" {
		return bad("with a token_uri of https")
	}
	block, _ := pem.Decode([]byte(a.Key))
	if block == nil {
		return bad("with a private_key in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok || key.N.BitLen() < 2048 {
		return bad("with a private_key of RSA, of 2048 bits at least")
	}
	return &account{project: a.Project, email: a.Email, keyID: a.KeyID, tokenURL: at, key: key}, nil
}

type fcmText struct {
	Message fcmMessage `json:"message"`
}

type fcmMessage struct {
	Token        string          `json:"token"`
	Notification fcmNotification `json:"notification"`
	Data         fcmData         `json:"data"`
	Android      fcmAndroid      `json:"android"`
	Apple        fcmApple        `json:"apns"`
}

type fcmNotification struct {
	Title string `json:"title"`
	Body  string `json:"body"`
}

type fcmData struct {
	Delivery appio.DeliveryID   `json:"delivery"`
	Message  appio.MessageID    `json:"message"`
	Reminder appio.ReminderKind `json:"reminder,omitempty"`
}

// The tag is what FCM collapses notifications by on the device; it ignores collapse_key for them.
type fcmAndroid struct {
	Priority     string `json:"priority"`
	TTL          string `json:"ttl"`
	Notification struct {
		Tag string `json:"tag"`
	} `json:"notification"`
}

// Apps of Apple's devices may be registered with FCM as well.
type fcmApple struct {
	Headers struct {
		Collapse string `json:"apns-collapse-id"`
		Expires  string `json:"apns-expiration"`
	} `json:"headers"`
}

func (f *fcm) send(ctx context.Context, to Installation, n *notification) error {
	text, err := n.fit(maxPayload, func(title, body string) []byte {
		m := fcmMessage{
			Token: to.Token, Notification: fcmNotification{title, body}, Data: fcmData{n.delivery, n.message, n.reminder},
			Android: fcmAndroid{Priority: "HIGH", TTL: strconv.FormatInt(n.ttl(), 10) + "s"}, // it is shown at once
		}
		m.Android.Notification.Tag = n.collapse
		m.Apple.Headers.Collapse, m.Apple.Headers.Expires = n.collapse, n.until()
		return marshal(fcmText{m})
	})
	if err != nil {
		return err
	}
	token, err := f.access.token(ctx)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("push: FCM: %w", netguard.Clean(ctx, err))
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := f.client.Do(req)
	if err != nil {
		return fmt.Errorf("push: FCM: %w", netguard.Clean(ctx, err))
	}
	defer resp.Body.Close()
	body := read(resp)
	if resp.StatusCode == http.StatusOK && !fcmTaken(body) {
		return errors.New("push: FCM answered 200, and not that it has taken the notification")
	}
	reason := fcmReason(body)
	if resp.StatusCode == http.StatusUnauthorized && reason != "THIRD_PARTY_AUTH_ERROR" {
		f.access.drop(token)
	}
	return fcmVerdict(resp, reason, n.now)
}

// fcmTaken reports whether FCM has named the message that it has taken.
func fcmTaken(body []byte) bool {
	var a struct {
		Name string `json:"name"`
	}
	return json.Unmarshal(body, &a) == nil && a.Name != ""
}

// fcmReason reads why FCM refused: its own code, or if there is none that of Google's services.
func fcmReason(body []byte) string {
	var a struct {
		Error struct {
			Status  string `json:"status"`
			Details []struct {
				Type string `json:"@type"`
				Code string `json:"errorCode"`
			} `json:"details"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &a) != nil {
		return ""
	}
	for _, d := range a.Error.Details {
		if d.Type == "type.googleapis.com/google.firebase.fcm.v1.FcmError" && d.Code != "" {
			return d.Code
		}
	}
	return a.Error.Status
}

// fcmVerdict is what an answer means. A 404 without FCM's code may be about the project, and is no word about the installation; without
// any code an answer is not Google's.
func fcmVerdict(resp *http.Response, reason string, now time.Time) error {
	err := answered("FCM", resp.StatusCode, reason)
	switch s := resp.StatusCode; {
	case s == http.StatusOK:
		return nil
	case s == http.StatusNotFound && reason == "UNREGISTERED":
		return appio.Gone(err)
	case s == http.StatusBadRequest && reason != "", s == http.StatusForbidden && reason == "SENDER_ID_MISMATCH":
		return appio.Permanent(err)
	case s == http.StatusTooManyRequests:
		return later(err, resp, now, time.Minute) // what Google asks for where it says nothing
	case s >= 500:
		return later(err, resp, now, 0)
	}
	return err
}
