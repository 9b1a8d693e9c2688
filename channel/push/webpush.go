package push

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/netguard"
)

// WebPush sends to browsers (RFC 8030), encrypted for them alone (RFC 8291). Browsers name the address that is asked, so it must be one
// of the public Internet, by https on port 443; it is judged when it is connected to.
type WebPush struct {
	Key     *ecdsa.PrivateKey // of P-256, which says who sends (VAPID, RFC 8292). Browsers subscribe with its other half: see ApplicationServerKey.
	Subject string            // whom push services may write to: "mailto:" and an address, or an https URL

	Allow []netip.Prefix // addresses that may be asked although they are not public, such as a push service in the host's own network
	// Deny has addresses that may not be, although they are public or in Allow: public ones that are answered inside the host's network
	// alone, and the prefix of a NAT64 of its own.
	Deny  []netip.Prefix
	Ports []uint16    // nil: 443
	TLS   *tls.Config // nil: the system's roots
}

type webPush struct {
	key       *ecdsa.PrivateKey
	subject   string
	client    *netguard.Client
	tokens    tokens
	publicKey string
}

// A push service refuses what expires more than 24 hours ahead. A token is used for half of its time.
const vapidLife = 12 * time.Hour

func newWebPush(o *WebPush, now func() time.Time) (*webPush, error) {
	public, err := ApplicationServerKey(o.Key)
	if err != nil {
		return nil, &appio.FieldError{Field: "Web.Key", Rule: "a private key of P-256"}
	}
	if !validSubject(o.Subject) {
		return nil, &appio.FieldError{Field: "Web.Subject", Rule: "mailto: and an address, or an https URL"}
	}
	return &webPush{
		key: o.Key, subject: o.Subject, publicKey: public, tokens: tokens{keep: vapidLife / 2, now: now},
		client: netguard.New(&netguard.Options{Allow: o.Allow, Deny: o.Deny, Ports: o.Ports, TLS: o.TLS}),
	}, nil
}

func validSubject(s string) bool {
	if strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '<' || r == '>' }) {
		return false
	}
	if address, ok := strings.CutPrefix(s, "mailto:"); ok {
		name, host, ok := strings.Cut(address, "@")
		return ok && name != "" && host != ""
	}
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Hostname() != ""
}

// A webText is what a browser's service worker finds once it has decrypted it.
type webText struct {
	Title    string             `json:"title"`
	Body     string             `json:"body"`
	Lang     string             `json:"lang,omitempty"`
	Tag      string             `json:"tag"`
	Delivery appio.DeliveryID   `json:"delivery"`
	Message  appio.MessageID    `json:"message"`
	Reminder appio.ReminderKind `json:"reminder,omitempty"`
}

func (w *webPush) send(ctx context.Context, to Installation, n *notification) error {
	text, err := n.fit(maxBody-overhead, func(title, body string) []byte {
		return marshal(webText{title, body, n.lang, n.collapse, n.delivery, n.message, n.reminder})
	})
	if err != nil {
		return err
	}
	body, err := w.sealed(to, text)
	if err != nil {
		return err
	}
	endpoint, err := to.endpoint()
	if err != nil {
		return appio.Permanent(err)
	}
	if err := w.client.Check(endpoint); err != nil {
		return appio.Permanent(fmt.Errorf("push: web push: %w", err))
	}
	token, err := w.token(endpoint)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return appio.Permanent(errors.New("push: no request can be made of the endpoint"))
	}
	req.Header.Set("Authorization", "vapid t="+token+", k="+w.publicKey)
	req.Header.Set("Content-Encoding", "aes128gcm")
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("TTL", strconv.FormatInt(n.ttl(), 10))
	req.Header.Set("Urgency", "high") // it is shown at once, and may expire in an hour
	req.Header.Set("Topic", n.collapse)
	resp, err := w.client.Do(req)
	if err != nil { // also where the name leads to what may not be asked: a resolver that says so of a push service may be right again soon
		return fmt.Errorf("push: web push: %w", err)
	}
	defer resp.Body.Close()
	return webVerdict(resp, n.now)
}

// webVerdict is what an answer means (RFC 8030, and 8292 for the credentials). What it has beside the status is not read: it may come
// from anybody.
func webVerdict(resp *http.Response, now time.Time) error {
	err := answered("the push service", resp.StatusCode, "")
	switch s := resp.StatusCode; {
	case s >= 200 && s <= 299:
		return nil
	case s == http.StatusNotFound, s == http.StatusGone:
		return appio.Gone(err)
	case s == http.StatusBadRequest, s == http.StatusRequestEntityTooLarge:
		return appio.Permanent(err)
	case s == http.StatusTooManyRequests, s >= 500:
		return later(err, resp, now, 0)
	}
	return err
}

// sealed is a text encrypted with a key of its own, and as long as any other.
func (w *webPush) sealed(to Installation, text []byte) ([]byte, error) {
	key, err := to.key()
	if err != nil {
		return nil, appio.Permanent(err)
	}
	auth, err := decode(to.Auth)
	if err != nil {
		return nil, appio.Permanent(err)
	}
	own, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, errors.New("push: no key could be made")
	}
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	body, err := seal(text, maxBody, key, auth, own, salt)
	if err != nil {
		return nil, errors.New("push: the notification could not be encrypted")
	}
	return body, nil
}

// token says to one push service who sends.
func (w *webPush) token(endpoint *url.URL) (string, error) {
	origin := "https://" + strings.TrimSuffix(strings.ToLower(endpoint.Host), ":443")
	return w.tokens.get(origin, func(now time.Time) (string, error) {
		return sign(
			struct {
				Type string `json:"typ"`
				Alg  string `json:"alg"`
			}{"JWT", "ES256"},
			struct {
				Audience string `json:"aud"`
				Expires  int64  `json:"exp"`
				Subject  string `json:"sub"`
			}{origin, now.Add(vapidLife).Unix(), w.subject},
			es256(w.key))
	})
}
