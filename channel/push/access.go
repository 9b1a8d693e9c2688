package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/appio-go/appio/internal/netguard"
)

// An access is Google's leave to send, fetched by one call at a time and kept for all.
type access struct {
	account account
	client  *http.Client
	now     func() time.Time // see wall
	turn    chan struct{}    // who holds it fetches

	mu      sync.Mutex
	value   string
	from    time.Time
	until   time.Time
	failed  error // of the last fetch
	fetched int   // how many have ended
}

// A token is fetched anew so long before it ends.
const early = 5 * time.Minute

// token returns a token that is still good. The calls that wait while another fetches get what that one got, also its failure: a
// service that is away is not asked by each in turn.
func (a *access) token(ctx context.Context) (string, error) {
	token, before, _ := a.kept()
	if token != "" {
		return token, nil
	}
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return "", fmt.Errorf("push: Google's token: %w", context.Cause(ctx))
	}
	defer func() { <-a.turn }()
	token, fetched, failed := a.kept()
	switch {
	case token != "":
		return token, nil
	case fetched != before && failed != nil:
		return "", failed
	}
	return a.renew(ctx)
}

// kept is the token, if it is still good, how many fetches have ended, and why the last one failed.
func (a *access) kept() (token string, fetched int, failed error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now := a.now(); !now.Before(a.from) && now.Before(a.until) {
		token = a.value
	}
	return token, a.fetched, a.failed
}

// drop forgets a token that was refused.
func (a *access) drop(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.value == token {
		a.value = ""
	}
}

func (a *access) renew(ctx context.Context) (string, error) {
	from := a.now()
	token, life, err := a.ask(ctx, from)
	a.mu.Lock()
	defer a.mu.Unlock()
	if ctx.Err() == nil { // otherwise it was the end of this call, and the next one fetches
		a.failed = err
		a.fetched++
	}
	if err != nil {
		return "", err
	}
	a.value, a.from, a.until = token, from, from.Add(max(life-early, life/2))
	return token, nil
}

// ask gets a token for a signed assertion (RFC 7523).
func (a *access) ask(ctx context.Context, now time.Time) (token string, life time.Duration, err error) {
	assertion, err := sign(
		struct {
			Type  string `json:"typ"`
			Alg   string `json:"alg"`
			KeyID string `json:"kid"`
		}{"JWT", "RS256", a.account.keyID},
		struct {
			Issuer   string `json:"iss"`
			Scope    string `json:"scope"`
			Audience string `json:"aud"`
			Issued   int64  `json:"iat"`
			Expires  int64  `json:"exp"`
		}{a.account.email, "https://www.googleapis.com/auth/firebase.messaging", a.account.tokenURL, now.Unix(), now.Add(time.Hour).Unix()},
		rs256(a.account.key))
	if err != nil {
		return "", 0, err
	}
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.account.tokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, fmt.Errorf("push: Google's token: %w", netguard.Clean(ctx, err))
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := a.client.Do(req)
	if err != nil {
		return "", 0, fmt.Errorf("push: Google's token: %w", netguard.Clean(ctx, err))
	}
	defer resp.Body.Close()
	body := read(resp)
	switch s := resp.StatusCode; {
	case s == http.StatusTooManyRequests, s >= 500:
		return "", 0, later(answered("Google's token service", s, oauthError(body)), resp, now, 0)
	case s != http.StatusOK:
		return "", 0, answered("Google's token service", s, oauthError(body))
	}
	return parseToken(body)
}

// oauthError reads why no token is given.
func oauthError(body []byte) string {
	var a struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &a) != nil {
		return ""
	}
	return a.Error
}

var errToken = errors.New("push: Google's token service gave no token that can be used")

// parseToken reads a token and how long it is good, a day at most.
func parseToken(body []byte) (token string, life time.Duration, err error) {
	var a struct {
		Token string `json:"access_token"`
		Type  string `json:"token_type"`
		Life  int64  `json:"expires_in"` // seconds
	}
	if json.Unmarshal(body, &a) != nil || !strings.EqualFold(a.Type, "Bearer") || a.Life < 1 || a.Token == "" || len(a.Token) > 8<<10 ||
		strings.ContainsFunc(a.Token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", 0, errToken
	}
	return a.Token, time.Duration(min(a.Life, 24*60*60)) * time.Second, nil
}
