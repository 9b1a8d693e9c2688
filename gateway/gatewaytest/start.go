package gatewaytest

import (
	"crypto/rand"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/appio-go/appio"
)

var startChecks = []check{
	{"a payment goes on at an absolute https address", func(t tester, s *subject) {
		c := s.started(t, "a debt", s.put(1), newKey())
		u, err := url.Parse(c.URL)
		if err != nil || u.Scheme != "https" || u.Host == "" {
			t.Errorf("Start answered with a URL that is not an absolute one of https")
		}
		if !c.ExpiresAt.IsZero() && !c.ExpiresAt.After(time.Now()) {
			t.Errorf("Start answered with a checkout that has expired already, at %v; the service gave it 15 minutes", c.ExpiresAt)
		}
	}},

	{"the same key is the same checkout", func(t tester, s *subject) {
		d, key := s.put(1), newKey()
		first := s.started(t, "a debt", d, key)
		s.started(t, "another debt", s.put(2), newKey())
		for range 3 {
			if again := s.started(t, "a debt, with a key that was there before", d, key); !sameCheckout(first, again) {
				t.Errorf("Start with a key that was there before answered with another checkout; want the first one: a citizen who asks " +
					"twice must not pay twice")
				return
			}
		}
	}},

	{"another key is another checkout", func(t tester, s *subject) {
		d := s.put(1)
		if sameCheckout(s.started(t, "a debt", d, newKey()), s.started(t, "the same debt, with another key", d, newKey())) {
			t.Errorf("Start with another key answered with the same checkout; one can be over, and another key asks for a new one")
		}
		if sameCheckout(s.started(t, "a debt", d, "k-1"), s.started(t, "another debt", s.put(2), "k-2")) {
			t.Errorf("Start of another debt, with another key, answered with the same checkout")
		}
	}},

	{"keys are compared whole", func(t tester, s *subject) {
		d := s.put(1)
		var all []appio.Checkout
		for _, key := range []string{
			"0", "1", "01KEAF3V4N5W7Q0Z8X2C6B1M9D", "01KEAF3V4N5W7Q0Z8X2C6B1M9E", "11KEAF3V4N5W7Q0Z8X2C6B1M9D",
			"5f0c8a1e-6d2b-4c9f-9e37-0b1a2c3d4e5f", "5F0C8A1E-6D2B-4C9F-9E37-0B1A2C3D4E5F", longKey + "1", longKey + "2",
		} {
			c := s.started(t, "a debt", d, key)
			if slices.ContainsFunc(all, func(before appio.Checkout) bool { return sameCheckout(before, c) }) {
				t.Errorf("Start answered with the same checkout for two keys that differ; they are up to 64 letters, digits and hyphens, " +
					"and each of these counts")
				return
			}
			if !sameCheckout(c, s.started(t, "a debt, with a key that was there before", d, key)) {
				t.Errorf("Start with a key that was there before answered with another checkout")
				return
			}
			all = append(all, c)
		}
	}},

	{"a payment whose answer was lost is still the same", func(t tester, s *subject) {
		d, key := s.put(1), newKey()
		s.creditors.Lose(errors.New("connection reset"))
		if _, err := s.start(t, t.Context(), "a debt, whose answer is lost", d, key); err == nil {
			t.Errorf("Start succeeded, and the answer of the service was lost; want an error")
		}
		s.creditors.Lose(nil)
		first := s.started(t, "a debt, with a key whose first answer was lost", d, key)
		if !sameCheckout(first, s.started(t, "a debt, with a key that was there before", d, key)) {
			t.Errorf("Start with a key that was there before answered with another checkout")
		}
		keys := map[string]bool{}
		for _, c := range s.creditors.Calls() {
			if c.Method == "Start" {
				keys[c.Key] = true
			}
		}
		if len(keys) != 1 {
			t.Errorf("Start was called with one key, and the service got %d; want the same one each time, or it begins as many "+
				"payments", len(keys))
		}
	}},
}

// longKey is one byte shorter than the longest key.
var longKey = strings.Repeat("0123456789abcdef", 4)[1:]

func newKey() string { return rand.Text() }
