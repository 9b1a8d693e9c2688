package appio

import (
	"bytes"
	"context"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

func TestCursorsAreBound(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t, RandomKeys())
	open := func(w *world) *Engine {
		e, err := New(undumpStore(t, w.dump), worldOptions(w.ring, func() time.Time { return w.Now }, func(context.Context, Delivery) error { return nil }))
		require.NoError(t, err)
		t.Cleanup(func() { e.Close() })
		return e
	}
	e := open(w)
	me, other := e.Citizen(Identity{Code: anna, Level: L2}), e.Citizen(Identity{Code: bruno, Level: L2})
	first, err := me.Inbox(nil).Page(ctx, "", 2)
	require.NoError(t, err)
	require.NotEmpty(t, first.Next)
	second, err := me.Inbox(nil).Page(ctx, first.Next, 2)
	require.NoError(t, err)
	require.NotEqual(t, first.Items[0].ID, second.Items[0].ID)
	require.NotEmpty(t, second.Prev)
	back, err := me.Inbox(nil).Page(ctx, second.Prev, 2)
	require.NoError(t, err)
	require.Equal(t, first.Items, back.Items)

	t.Run("to the list, the person, the filter and the store", func(t *testing.T) {
		consents, err := me.Consents().Page(ctx, "", 1)
		require.NoError(t, err)
		services, err := e.Services().Page(ctx, "", 1)
		require.NoError(t, err)
		lists := map[string]func(*Engine, Cursor) error{
			"inbox": func(e *Engine, c Cursor) error { _, err := me.Inbox(nil).Page(ctx, c, 1); return err },
			"archive": func(e *Engine, c Cursor) error {
				_, err := me.Inbox(&InboxOptions{Archived: true}).Page(ctx, c, 1)
				return err
			},
			"of a service": func(e *Engine, c Cursor) error {
				_, err := me.Inbox(&InboxOptions{Service: "tari"}).Page(ctx, c, 1)
				return err
			},
			"another's":  func(e *Engine, c Cursor) error { _, err := other.Inbox(nil).Page(ctx, c, 1); return err },
			"consents":   func(e *Engine, c Cursor) error { _, err := me.Consents().Page(ctx, c, 1); return err },
			"of another": func(e *Engine, c Cursor) error { _, err := other.Consents().Page(ctx, c, 1); return err },
			"services":   func(e *Engine, c Cursor) error { _, err := e.Services().Page(ctx, c, 1); return err },
			"parked":     func(e *Engine, c Cursor) error { _, err := e.Parked().Page(ctx, c, 1); return err },
		}
		for own, c := range map[string]Cursor{"inbox": first.Next, "consents": consents.Next, "services": services.Next} {
			for name, page := range lists {
				if name == own {
					require.NoError(t, page(e, c))
				} else {
					require.ErrorIs(t, page(e, c), ErrInvalid, "%s of %s", name, own)
				}
			}
		}
		elsewhere := open(newWorld(t, w.ring)) // the same engine key, another root secret
		_, err = elsewhere.Citizen(Identity{Code: anna}).Inbox(nil).Page(ctx, first.Next, 2)
		require.ErrorIs(t, err, ErrInvalid)
	})
	t.Run("every character counts", func(t *testing.T) {
		tamperings(string(first.Next), func(s string) {
			_, err := me.Inbox(nil).Page(ctx, Cursor(s), 2)
			require.ErrorIs(t, err, ErrInvalid, s)
			var f *FieldError
			require.ErrorAs(t, err, &f)
			require.NotContains(t, err.Error(), s)
		})
	})
	t.Run("they say nothing", func(t *testing.T) {
		b, err := base64.RawURLEncoding.DecodeString(string(first.Next))
		require.NoError(t, err)
		for _, s := range []string{string(b), string(first.Next)} {
			require.NotContains(t, s, string(first.Items[1].ID))
			require.NotContains(t, s, string(anna))
		}
		again, err := me.Inbox(nil).Page(ctx, "", 2)
		require.NoError(t, err)
		require.NotEqual(t, first.Next, again.Next, "the same place looks another way each time")
		require.Regexp(t, `^[A-Za-z0-9_-]+$`, string(first.Next))
	})
}

// tamperings are texts that are nearly s: each character changed, left out, or something put before it.
func tamperings(s string, try func(string)) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range s {
		for _, c := range []byte{alphabet[(strings.IndexByte(alphabet, s[i])+1)%64], alphabet[(strings.IndexByte(alphabet, s[i])+32)%64], '=', ' ', '+'} {
			try(s[:i] + string(c) + s[i+1:])
		}
		try(s[:i] + s[i+1:])
		for _, c := range []string{"A", "\n", "\r", "=", "%", "\x00"} {
			try(s[:i] + c + s[i:])
		}
	}
	for _, more := range []string{"A", "AAAA", "=", "\n", " ", s} {
		try(s + more)
	}
	try(strings.ToUpper(s))
	try(s[:len(s)/2])
	b, _ := base64.RawURLEncoding.DecodeString(s)
	for n := 1; n < len(b); n++ {
		try(base64.RawURLEncoding.EncodeToString(b[:n]))
	}
}

func TestWithdrawTokensAreBound(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	w := newWorld(t, RandomKeys())
	c := newCourt(t, w) // on it nothing changes
	require.NoError(t, c.e.Withdraw(ctx, w.Token))
	require.NotEmpty(t, c.s.taken)
	c.s.taken = nil
	tamperings(w.Token, func(s string) {
		require.ErrorIs(t, c.e.Withdraw(ctx, s), ErrUnauthorized, s)
	})
	for _, s := range []string{"", "x", string(anna)} {
		require.ErrorIs(t, c.e.Withdraw(ctx, s), ErrUnauthorized)
	}
	// A cursor is no token, nor is a token of another store, or one sealed for another purpose.
	page, err := c.e.Citizen(Identity{Code: anna}).Inbox(nil).Page(ctx, "", 1)
	require.NoError(t, err)
	require.ErrorIs(t, c.e.Withdraw(ctx, string(page.Next)), ErrUnauthorized)
	require.ErrorIs(t, c.e.Withdraw(ctx, newWorld(t, w.ring).Token), ErrUnauthorized)
	enc, err := encode(&withdrawal{Owner: string(c.e.codec.citizen(anna)), Service: "mensa", Channel: Email})
	require.NoError(t, err)
	defer enc.release()
	require.ErrorIs(t, c.e.Withdraw(ctx, sealedText(c.e.codec.token, 0, enc.b, "another purpose")), ErrUnauthorized)
	require.Empty(t, c.s.taken, "nothing was changed by any")

	b, err := base64.RawURLEncoding.DecodeString(w.Token)
	require.NoError(t, err)
	for _, s := range []string{string(b), w.Token} {
		require.NotContains(t, s, "mensa")
		require.NotContains(t, s, string(anna))
		require.NotContains(t, s, string(c.e.codec.citizen(anna))[2:])
	}
}

// A token that was not given is refused, and whatever is in one, even under the right key, is read or refused.
func FuzzAddressTokens(f *testing.F) {
	e, err := New(memstore.New(), &Options{Keys: RandomKeys()})
	require.NoError(f, err)
	require.NoError(f, e.Citizen(Identity{Code: anna}).SetMode(f.Context(), Auto))
	owner := string(e.codec.citizen(anna))
	for _, v := range []any{&proof{owner, "home"}, &bounce{owner, "home", valueHash("anna@example.it"), 1}, &withdrawal{owner, "tari", Email}} {
		enc, err := encode(v)
		require.NoError(f, err)
		f.Add(string(enc.b), enc.b)
	}
	f.Add("AAAA", []byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, token string, payload []byte) {
		if err := e.ConfirmAddress(t.Context(), token); !errors.Is(err, ErrUnauthorized) {
			t.Fatal(err)
		}
		if err := e.Bounced(t.Context(), token); !errors.Is(err, ErrUnauthorized) {
			t.Fatal(err)
		}
		for purpose, v := range map[string]any{proofPurpose: &proof{}, bouncePurpose: &bounce{}} {
			if err := e.codec.openToken(purpose, sealedText(e.codec.token, 9, payload, purpose), v); err != nil && !errors.Is(err, ErrUnauthorized) {
				t.Fatal(err)
			}
		}
	})
}

// sealedText is a cursor or a token that is the same in each process of a fuzz test.
func sealedText(aead cipher.AEAD, n int, payload []byte, purpose string) string {
	nonce := make([]byte, nonceSize)
	nonce[0] = byte(n)
	return base64.RawURLEncoding.EncodeToString(aead.Seal(nonce, nonce, payload, []byte(purpose)))
}

func FuzzCursor(f *testing.F) {
	c := &codec{}
	c.useRoot(bytes.Repeat([]byte{1}, keySize))
	given := map[string]position{}
	for i, p := range []position{{"", false}, {"a", false}, {"01HZY3V7K8QZ4M5N6P7R8S9T0V", true}, {strings.Repeat("x", 600), false}} {
		payload := []byte("\x00" + p.key)
		if p.before {
			payload[0] = 1
		}
		cur := sealedText(c.cursor, i, payload, "inbox")
		given[cur] = p
		f.Add(cur)
		f.Add(sealedText(c.cursor, i, payload, "another list"))
	}
	f.Add("")
	f.Add("AAAA")
	f.Add(strings.Repeat("A", 39))
	f.Fuzz(func(t *testing.T, s string) {
		p, err := c.openCursor("inbox", Cursor(s))
		want, ok := given[s]
		switch {
		case s == "" || ok:
			if err != nil || p != want {
				t.Fatalf("%v %v", p, err)
			}
		case !errors.Is(err, ErrInvalid) || p != (position{}):
			t.Fatalf("a cursor that no list gave: %v %v", p, err)
		}
		// What is in a cursor of parked deliveries is read as if anybody had written it.
		if p, err := parsePosition(s); err == nil {
			r := store.Record{Owner: p.Owner, Key: p.Key, Due: p.Due}
			if q, err := parsePosition(formatPosition(&r)); err != nil || q != p {
				t.Fatalf("%v became %v: %v", p, q, err)
			}
		} else if !errors.Is(err, ErrInvalid) {
			t.Fatal(err)
		}
	})
}

func FuzzWithdrawToken(f *testing.F) {
	c := &codec{}
	c.useRoot(bytes.Repeat([]byte{1}, keySize))
	given := map[string]bool{}
	for i, id := range []ServiceID{"tari", "mensa"} {
		enc, err := encode(&withdrawal{Owner: "c/abc", Service: id, Channel: Email})
		require.NoError(f, err)
		token := sealedText(c.token, i, enc.b, withdrawalPurpose)
		given[token] = true
		f.Add(token, []byte(token))
	}
	f.Add("", []byte{0xdd, 0xff, 0xff, 0xff, 0xff})
	f.Add("AAAA", []byte{0x83, 0xa1, 'o', 0xa1, 'x', 0xa1, 'n', 0xc0, 0xa1, 'c', 0x01})
	e, err := New(memstore.New(), &Options{Keys: RandomKeys()})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, token string, payload []byte) {
		w, err := c.openWithdrawal(token)
		if given[token] != (err == nil) || err != nil && !errors.Is(err, ErrUnauthorized) || err == nil && w.Owner != "c/abc" {
			t.Fatalf("%v %v", w, err)
		}
		if !given[token] {
			if err := e.Withdraw(t.Context(), token); !errors.Is(err, ErrUnauthorized) {
				t.Fatal(err)
			}
		}
		// Whatever is inside, even under the right key, it is a withdrawal or none.
		if _, err := c.openWithdrawal(sealedText(c.token, 9, payload, withdrawalPurpose)); err != nil && !errors.Is(err, ErrUnauthorized) {
			t.Fatal(err)
		}
	})
}
