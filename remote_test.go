package appio_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

const secretOfSystem = "la-chiave-del-sistema-remoto"

func remoteConfiguration(changes ...func(*appio.RemoteConfiguration)) appio.RemoteConfiguration {
	c := appio.RemoteConfiguration{
		Name: "Protocollo", Description: "Gli atti del protocollo", Precondition: appio.Once,
		Production: &appio.RemoteSystem{URL: "https://atti.example.it/io", Header: "X-Api-Key", Key: secretOfSystem, Type: "API_KEY"},
	}
	for _, change := range changes {
		change(&c)
	}
	return c
}

func TestRemoteConfigurations(t *testing.T) {
	t.Parallel()

	t.Run("are kept with their secrets, for who administers the organization", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		a := w.Authority(comune)
		made, err := a.PutRemoteConfiguration(ctx, remoteConfiguration(func(c *appio.RemoteConfiguration) {
			c.Test = &appio.RemoteSystem{URL: "http://prova.example.it", Header: "Authorization", Key: "Bearer x", Type: "token", Certificate: "c", PrivateKey: "k", Roots: "r"}
			c.TestUsers, c.Signed, c.Unsigned = []fiscalcode.Person{giuseppe}, true, []fiscalcode.Person{matteo}
		}))
		require.NoError(t, err)
		require.Len(t, string(made.ID), 26)
		require.Equal(t, comune, made.Organization)
		require.Equal(t, made.Test, made.System(giuseppe))
		require.Equal(t, made.Production, made.System(matteo))
		got, err := a.RemoteConfiguration(ctx, made.ID)
		require.NoError(t, err)
		require.Equal(t, made, got)
		require.Equal(t, secretOfSystem, got.Production.Key)

		second, err := a.PutRemoteConfiguration(ctx, remoteConfiguration())
		require.NoError(t, err)
		second.Name, second.Production = "Altro", nil
		changed, err := a.PutRemoteConfiguration(ctx, second)
		require.NoError(t, err)
		require.Equal(t, "Altro", changed.Name)
		require.Nil(t, changed.System(giuseppe))
		require.Equal(t, []appio.RemoteConfiguration{made, changed}, collect(t, a.RemoteConfigurations()))
		page, err := a.RemoteConfigurations().Page(ctx, "", 1)
		require.NoError(t, err)
		next, err := a.RemoteConfigurations().Page(ctx, page.Next, 1)
		require.NoError(t, err)
		back, err := a.RemoteConfigurations().Page(ctx, next.Prev, 1)
		require.NoError(t, err)
		require.Equal(t, []appio.RemoteConfiguration{made}, back.Items)

		other := w.Authority(regione)
		_, err = other.RemoteConfiguration(ctx, made.ID)
		require.ErrorIs(t, err, appio.ErrNotFound)
		_, err = other.PutRemoteConfiguration(ctx, made)
		require.ErrorIs(t, err, appio.ErrNotFound, "nobody makes one of an id of their own")
		require.Empty(t, collect(t, other.RemoteConfigurations()))
		_, err = a.RemoteConfiguration(ctx, "../x")
		require.ErrorIs(t, err, appio.ErrNotFound)

		for role, may := range map[appio.Role]bool{appio.Administrator: true, appio.Editor: false, appio.Viewer: false} {
			require.NoError(t, a.PutMember(ctx, appio.Member{ID: string(role), Role: role}))
			member, err := w.AuthorityFor(ctx, string(role), comune)
			require.NoError(t, err)
			_, err = member.RemoteConfiguration(ctx, made.ID)
			_, err2 := member.PutRemoteConfiguration(ctx, made)
			_, err3 := member.RemoteConfigurations().Page(ctx, "", 0)
			for _, err := range []error{err, err2, err3} {
				if may {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, appio.ErrForbidden, role)
				}
			}
		}
	})

	t.Run("are the whole organization's, and not for the key of a group", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		a := w.Authority(comune)
		for _, group := range []string{"", "scuola"} {
			by, err := w.AuthorityByKey(ctx, w.manageKey(a, appio.ManageKey{ID: "k" + group, Role: appio.Administrator, Group: group}), noAddr)
			require.NoError(t, err)
			_, err = by.PutRemoteConfiguration(ctx, remoteConfiguration())
			_, err2 := by.RemoteConfigurations().Page(ctx, "", 0)
			if group == "" {
				require.NoError(t, err)
				require.NoError(t, err2)
			} else {
				require.ErrorIs(t, err, appio.ErrForbidden)
				require.ErrorIs(t, err2, appio.ErrForbidden)
			}
		}
	})

	t.Run("are a hundred at most, each of which can still be changed", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		a := w.Authority(comune)
		var last appio.RemoteConfiguration
		for range 100 {
			var err error
			last, err = a.PutRemoteConfiguration(ctx, remoteConfiguration())
			require.NoError(t, err)
		}
		_, err := a.PutRemoteConfiguration(ctx, remoteConfiguration())
		require.ErrorIs(t, err, appio.ErrInvalid)
		_, err = a.PutRemoteConfiguration(ctx, last)
		require.NoError(t, err)
	})

	t.Run("show no secret where they are printed", func(t *testing.T) {
		t.Parallel()
		c := remoteConfiguration(func(c *appio.RemoteConfiguration) {
			c.Production.PrivateKey, c.Production.URL = secretOfSystem, "https://example.it/"+secretOfSystem
		})
		var b bytes.Buffer
		slog.New(slog.NewJSONHandler(&b, nil)).Info("as a host would", "system", c.Production, "configuration", *c.Production)
		fmt.Fprintf(&b, "%v %+v %#v %s", c, *c.Production, c.Production, c.Production)
		require.NotContains(t, b.String(), secretOfSystem)
	})

	t.Run("are refused where they cannot work, or say something else by a header", func(t *testing.T) {
		t.Parallel()
		for field, change := range map[string]func(*appio.RemoteConfiguration){
			"ID":                     func(c *appio.RemoteConfiguration) { c.ID = "x" },
			"Name":                   func(c *appio.RemoteConfiguration) { c.Name = "" },
			"Description":            func(c *appio.RemoteConfiguration) { c.Description = strings.Repeat("x", 1001) },
			"Precondition":           func(c *appio.RemoteConfiguration) { c.Precondition = "" },
			"TestUsers[0]":           func(c *appio.RemoteConfiguration) { c.TestUsers = []fiscalcode.Person{"x"} },
			"Unsigned":               func(c *appio.RemoteConfiguration) { c.Unsigned = make([]fiscalcode.Person, 1001) },
			"Production.Type":        func(c *appio.RemoteConfiguration) { c.Production.Type = "" },
			"Test.Certificate":       func(c *appio.RemoteConfiguration) { s := *c.Production; s.Certificate = "x"; c.Test = &s },
			"Production.Roots":       func(c *appio.RemoteConfiguration) { c.Production.Roots = strings.Repeat("x", 16<<10+1) },
			"Production.Certificate": func(c *appio.RemoteConfiguration) { c.Production.PrivateKey = "x" },
		} {
			err := remoteConfiguration(change).Validate()
			var bad *appio.FieldError
			require.ErrorAs(t, err, &bad, field)
			require.Equal(t, field, bad.Field)
		}
		for _, url := range []string{"", "x", "/x", "ftp://example.it", "https://", "https://u@example.it", "https://u:p@example.it", "https://example.it/?a=1",
			"https://example.it/?", "https://example.it/#x", "https://example.it/#", "https:example.it", "https://example.it/%zz", "https://example.it/" + strings.Repeat("x", 1000)} {
			err := remoteConfiguration(func(c *appio.RemoteConfiguration) { c.Production.URL = url }).Validate()
			require.ErrorIs(t, err, appio.ErrInvalid, url)
		}
		for _, header := range []string{"", "a b", "a:b", "a\r\nb", "à", "Host", "fiscal_code", "Content-Length", "Transfer-Encoding", "a/b", strings.Repeat("a", 101), "a\x7f"} {
			err := remoteConfiguration(func(c *appio.RemoteConfiguration) { c.Production.Header = header }).Validate()
			require.ErrorIs(t, err, appio.ErrInvalid, header)
		}
		for _, key := range []string{"", "a\nb", "a\x00", "é", strings.Repeat("a", 4097)} {
			err := remoteConfiguration(func(c *appio.RemoteConfiguration) { c.Production.Key = key }).Validate()
			require.ErrorIs(t, err, appio.ErrInvalid)
		}
		for _, header := range []string{"Ocp-Apim-Subscription-Key", "Authorization", "x_key", "X-1!#$%&'*+.^`|~"} {
			require.NoError(t, remoteConfiguration(func(c *appio.RemoteConfiguration) { c.Production.Header = header }).Validate(), header)
		}
	})
}

func TestRemoteContent(t *testing.T) {
	t.Parallel()

	t.Run("is stored with the message, by a configuration of the service's organization", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		made, err := w.Authority(comune).PutRemoteConfiguration(ctx, remoteConfiguration())
		require.NoError(t, err)
		others, err := w.Authority(regione).PutRemoteConfiguration(ctx, remoteConfiguration())
		require.NoError(t, err)
		remote := appio.RemoteContent{
			ID: "atto/7", Configuration: made.ID, OriginalSender: "Ufficio tributi", ReceivedAt: time.Date(2026, 1, 2, 3, 4, 5, 6789, time.UTC),
			Attachments: true, Text: true, Summary: "Un atto", Organization: regione,
		}
		with := func(change func(*appio.RemoteContent)) appio.Message {
			r := remote
			change(&r)
			return messageTo(giuseppe, func(m *appio.Message) { m.Remote = &r })
		}
		ms := []appio.Message{
			with(func(*appio.RemoteContent) {}), with(func(r *appio.RemoteContent) { r.Configuration = others.ID }),
			with(func(r *appio.RemoteContent) { r.Configuration = "01ARZ3NDEKTSV4RRFFQ69G5FAV" }), with(func(r *appio.RemoteContent) { r.Precondition = appio.Always }),
		}
		rs, err := s.SendBatch(ctx, ms)
		require.ErrorIs(t, err, appio.ErrForbidden)
		require.NoError(t, rs[0].Err)
		require.ErrorIs(t, rs[1].Err, appio.ErrForbidden, "another organization's")
		require.ErrorIs(t, rs[2].Err, appio.ErrForbidden, "nobody's, and it looks the same")
		require.Equal(t, rs[1].Err.Error(), rs[2].Err.Error())
		require.NoError(t, rs[3].Err)
		require.Equal(t, regione, ms[0].Remote.Organization, "the caller's own stays as it was")

		want := remote
		want.Precondition, want.Organization, want.ReceivedAt = appio.Once, comune, remote.ReceivedAt.Truncate(time.Microsecond)
		m, err := c.Message(ctx, rs[0].ID)
		require.NoError(t, err)
		require.Equal(t, &want, m.Remote)
		got, err := w.RemoteConfiguration(ctx, m.Remote)
		require.NoError(t, err)
		require.Equal(t, made, got)
		_, err = w.RemoteConfiguration(ctx, nil)
		require.ErrorIs(t, err, appio.ErrNotFound)

		// What the configuration says later is of later messages.
		made.Precondition = appio.Never
		_, err = w.Authority(comune).PutRemoteConfiguration(ctx, made)
		require.NoError(t, err)
		m, err = c.Message(ctx, rs[0].ID)
		require.NoError(t, err)
		require.Equal(t, appio.Once, m.Remote.Precondition)
		m, err = c.Message(ctx, rs[3].ID)
		require.NoError(t, err)
		require.Equal(t, appio.Always, m.Remote.Precondition)
		later := w.send(s, ms[0])
		m, err = c.Message(ctx, later)
		require.NoError(t, err)
		require.Equal(t, appio.Never, m.Remote.Precondition)

		keyed := ms[0]
		keyed.Key = "atto 7"
		first := w.send(s, keyed)
		require.Equal(t, first, w.send(s, keyed))
		keyed.Remote = &appio.RemoteContent{ID: "atto/8", Configuration: made.ID}
		_, err = s.Send(ctx, keyed)
		require.ErrorIs(t, err, appio.ErrConflict)
	})

	t.Run("is refused where it says what cannot be", func(t *testing.T) {
		t.Parallel()
		for field, change := range map[string]func(*appio.RemoteContent){
			"Remote.ID":             func(r *appio.RemoteContent) { r.ID = "" },
			"Remote.Configuration":  func(r *appio.RemoteContent) { r.Configuration = "x" },
			"Remote.Precondition":   func(r *appio.RemoteContent) { r.Precondition = "MAYBE" },
			"Remote.OriginalSender": func(r *appio.RemoteContent) { r.OriginalSender = strings.Repeat("x", 201) },
			"Remote.Summary":        func(r *appio.RemoteContent) { r.Summary = "\xff" },
			"Remote.ReceivedAt":     func(r *appio.RemoteContent) { r.ReceivedAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		} {
			r := appio.RemoteContent{ID: "x", Configuration: "01ARZ3NDEKTSV4RRFFQ69G5FAV"}
			change(&r)
			var bad *appio.FieldError
			require.ErrorAs(t, messageTo(giuseppe, func(m *appio.Message) { m.Remote = &r }).Validate(), &bad, field)
			require.Equal(t, field, bad.Field)
		}
		for _, id := range []string{".", "..", "a\nb", strings.Repeat("x", 201)} {
			m := messageTo(giuseppe, func(m *appio.Message) {
				m.Remote = &appio.RemoteContent{ID: id, Configuration: "01ARZ3NDEKTSV4RRFFQ69G5FAV"}
			})
			require.ErrorIs(t, m.Validate(), appio.ErrInvalid)
		}
	})

	t.Run("is opened after its precondition was shown, and who accepted it is known", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		made, err := w.Authority(comune).PutRemoteConfiguration(ctx, remoteConfiguration())
		require.NoError(t, err)
		due := func(id appio.MessageID) bool {
			m, err := c.Message(ctx, id)
			require.NoError(t, err)
			return m.PreconditionDue()
		}
		for p, again := range map[appio.Precondition]bool{appio.Once: false, appio.Always: true} {
			id := w.send(s, messageTo(giuseppe, func(m *appio.Message) {
				m.Remote = &appio.RemoteContent{ID: "7", Configuration: made.ID, Precondition: p}
			}))
			require.True(t, due(id), p)
			require.ErrorIs(t, c.AcceptPrecondition(ctx, id), appio.ErrForbidden, "it was not shown")
			require.NoError(t, c.PreconditionShown(ctx, id, "Se apri, vale come consegna"))
			require.True(t, due(id))
			require.NoError(t, c.AcceptPrecondition(ctx, id))
			require.Equal(t, again, due(id), p)
			m, err := c.Message(ctx, id)
			require.NoError(t, err)
			sum := sha256.Sum256([]byte("Se apri, vale come consegna"))
			require.Equal(t, appio.Opening{ShownAt: m.Opening.ShownAt, AcceptedAt: m.Opening.AcceptedAt, Level: appio.L2, Provider: m.Opening.Provider,
				SHA256: hex.EncodeToString(sum[:])}, m.Opening)
			require.False(t, m.Opening.AcceptedAt.Before(m.Opening.ShownAt))
			require.False(t, m.Read, "to accept is not to have read")
			require.NoError(t, c.AcceptPrecondition(ctx, id), "a second time, as where the first answer got lost")
			after, err := c.Message(ctx, id)
			require.NoError(t, err)
			require.Equal(t, m.Opening, after.Opening)

			w.advance(time.Hour)
			require.NoError(t, c.PreconditionShown(ctx, id, "Un altro testo"))
			require.NoError(t, c.AcceptPrecondition(ctx, id))
			after, err = c.Message(ctx, id)
			require.NoError(t, err)
			require.True(t, after.Opening.AcceptedAt.After(m.Opening.AcceptedAt))
			require.NotEqual(t, m.Opening.SHA256, after.Opening.SHA256)
		}
		for _, m := range []appio.Message{messageTo(giuseppe), messageTo(giuseppe, func(m *appio.Message) {
			m.Remote = &appio.RemoteContent{ID: "7", Configuration: made.ID, Precondition: appio.Never}
		})} {
			id := w.send(s, m)
			require.False(t, due(id))
			require.NoError(t, c.AcceptPrecondition(ctx, id))
		}
		require.ErrorIs(t, c.AcceptPrecondition(ctx, "01ARZ3NDEKTSV4RRFFQ69G5FAV"), appio.ErrNotFound)
		require.ErrorIs(t, c.PreconditionShown(ctx, "01ARZ3NDEKTSV4RRFFQ69G5FAV", ""), appio.ErrNotFound)
	})

	t.Run("is exported, and erased with the message", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		made, err := w.Authority(comune).PutRemoteConfiguration(ctx, remoteConfiguration())
		require.NoError(t, err)
		id := w.send(s, messageTo(giuseppe, func(m *appio.Message) { m.Remote = &appio.RemoteContent{ID: "atto-canarino", Configuration: made.ID} }))
		require.NoError(t, c.PreconditionShown(ctx, id, "Se apri"))
		require.NoError(t, c.AcceptPrecondition(ctx, id))
		var b bytes.Buffer
		require.NoError(t, c.Export(ctx, &b))
		require.True(t, json.Valid(b.Bytes()))
		require.Contains(t, b.String(), `"remote_content":{"id":"atto-canarino"`)
		require.Contains(t, b.String(), `"accepted_at":`)
		require.NotContains(t, b.String(), secretOfSystem)

		require.NoError(t, c.Erase(ctx))
		_, err = w.Flush(ctx)
		require.NoError(t, err)
		b.Reset()
		require.NoError(t, c.Export(ctx, &b))
		require.NotContains(t, b.String(), "canarino")
	})
}
