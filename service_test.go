package appio_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
)

func TestService(t *testing.T) {
	t.Parallel()
	whole := appio.Service{
		ID: "anagrafe", Name: "Anagrafe", Organization: comune, State: appio.Trial, Category: appio.Special, Basis: appio.PublicTask,
		SecureChannels: true, MaxPayment: 9_999_999_999, Trial: []fiscalcode.Person{giuseppe, matteo},
		Prefixes:    []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")},
		Description: "Certificati", Privacy: "https://example.it/privacy", Web: "https://example.it", Email: "a@example.it",
		Phone: "+39 02 0202", PEC: "pec@example.it", Support: "https://example.it/aiuto", Topic: "11",
	}

	t.Run("is what was put", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		require.NoError(t, w.PutService(ctx, whole))
		got, err := w.Service(ctx, whole.ID)
		require.NoError(t, err)
		require.Equal(t, whole, got)

		require.NoError(t, w.PutService(ctx, whole), "twice is the same")
		got, err = w.Service(ctx, whole.ID)
		require.NoError(t, err)
		require.Equal(t, whole, got)

		other := appio.Service{ID: whole.ID, Name: "Anagrafe e stato civile", Organization: comune, State: appio.Live}
		require.NoError(t, w.PutService(ctx, other), "it is replaced whole")
		got, err = w.Service(ctx, whole.ID)
		require.NoError(t, err)
		require.Equal(t, other, got)
	})

	t.Run("one that was never put is not found", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		for _, id := range []appio.ServiceID{"nobody", "", "a\nb", appio.ServiceID(strings.Repeat("a", 201))} {
			_, err := w.Service(ctx, id)
			require.ErrorIs(t, err, appio.ErrNotFound)
			_, err = w.Sender(id).Send(ctx, messageTo(giuseppe))
			require.ErrorIs(t, err, appio.ErrNotFound)
			_, err = w.Sender(id).CanContact(ctx, giuseppe)
			require.ErrorIs(t, err, appio.ErrNotFound)
			_, err = w.Sender(id).Status(ctx, giuseppe, "01ARZ3NDEKTSV4RRFFQ69G5FAV")
			require.ErrorIs(t, err, appio.ErrNotFound)
			require.ErrorIs(t, w.Sender(id).Activate(ctx, giuseppe, appio.Active, time.Time{}), appio.ErrNotFound)
			_, err = w.NewKey(ctx, id, appio.Primary)
			require.ErrorIs(t, err, appio.ErrNotFound)
		}
	})

	t.Run("what the caller does with its slices afterwards changes nothing", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := whole
		s.Trial = []fiscalcode.Person{giuseppe}
		require.NoError(t, w.PutService(ctx, s))
		s.Trial[0] = matteo
		got, err := w.Service(ctx, s.ID)
		require.NoError(t, err)
		require.Equal(t, []fiscalcode.Person{giuseppe}, got.Trial)
	})

	t.Run("services are listed by id, in pages, forwards", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		require.NoError(t, w.PutOrganization(ctx, appio.Organization{Code: comune, Name: "Comune"}))
		for _, id := range []appio.ServiceID{"c", "a", "e", "b", "d"} {
			w.put(func(s *appio.Service) { s.ID = id })
		}
		w.enrol(giuseppe, appio.Auto)
		var ids []appio.ServiceID
		for _, s := range collect(t, w.Services()) {
			ids = append(ids, s.ID)
		}
		require.Equal(t, []appio.ServiceID{"a", "b", "c", "d", "e"}, ids)

		var cursor appio.Cursor
		var sizes []int
		ids = nil
		for {
			page, err := w.Services().Page(ctx, cursor, 2)
			require.NoError(t, err)
			sizes = append(sizes, len(page.Items))
			for _, s := range page.Items {
				ids = append(ids, s.ID)
			}
			if page.Prev != "" {
				_, err := w.Services().Page(ctx, page.Prev, 2)
				require.ErrorIs(t, err, appio.ErrInvalid)
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
		require.Equal(t, []int{2, 2, 1}, sizes)
		require.Equal(t, []appio.ServiceID{"a", "b", "c", "d", "e"}, ids)
	})
}

func TestServiceLimits(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("è", n) }
	many := func(n int) []fiscalcode.Person {
		ps := make([]fiscalcode.Person, n)
		for i := range ps {
			ps[i] = personNumber(i)
		}
		return ps
	}
	prefixes := func(n int) []netip.Prefix {
		ps := make([]netip.Prefix, n)
		for i := range ps {
			ps[i] = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
		}
		return ps
	}
	for _, c := range []struct {
		field string // empty: it is valid
		value string
		set   func(*appio.Service)
	}{
		{"ID", "", func(s *appio.Service) { s.ID = "" }},
		{"", "", func(s *appio.Service) { s.ID = appio.ServiceID(strings.Repeat("a", 200)) }},
		{"ID", "aaaa", func(s *appio.Service) { s.ID = appio.ServiceID(strings.Repeat("a", 201)) }},
		{"ID", "xyzzy", func(s *appio.Service) { s.ID = "xyzzy\x00" }},
		{"ID", "xyzzy", func(s *appio.Service) { s.ID = "xyzzy\xff" }},
		{"Name", "", func(s *appio.Service) { s.Name = "" }},
		{"", "", func(s *appio.Service) { s.Name = long(200) }},
		{"Name", "èè", func(s *appio.Service) { s.Name = long(201) }},
		{"", "", func(s *appio.Service) { s.Name = strings.Repeat("😀", 100) }},
		{"Name", "😀", func(s *appio.Service) { s.Name = strings.Repeat("😀", 100) + "a" }},
		{"Name", "xyzzy", func(s *appio.Service) { s.Name = "xyzzy\xff" }},
		{"Organization", "", func(s *appio.Service) { s.Organization = "" }},
		{"Organization", "1234567890", func(s *appio.Service) { s.Organization = "1234567890" }},
		{"State", "sleeping", func(s *appio.Service) { s.State = "sleeping" }},
		{"Category", "extra", func(s *appio.Service) { s.Category = "extra" }},
		{"Basis", "whim", func(s *appio.Service) { s.Basis = "whim" }},
		{"", "", func(s *appio.Service) { s.MaxPayment = 9_999_999_999 }},
		{"MaxPayment", "10000000000", func(s *appio.Service) { s.MaxPayment = 10_000_000_000 }},
		{"MaxPayment", "-1", func(s *appio.Service) { s.MaxPayment = -1 }},
		{"", "", func(s *appio.Service) { s.Trial = many(1000) }},
		{"Trial", "RSSMR", func(s *appio.Service) { s.Trial = many(1001) }},
		{"Trial[1]", "xyzzy", func(s *appio.Service) { s.Trial = []fiscalcode.Person{giuseppe, "xyzzy"} }},
		{"", "", func(s *appio.Service) { s.Prefixes = prefixes(1000) }},
		{"Prefixes", "10.0", func(s *appio.Service) { s.Prefixes = prefixes(1001) }},
		{"Prefixes[0]", "", func(s *appio.Service) { s.Prefixes = make([]netip.Prefix, 1) }},
		{"", "", func(s *appio.Service) { s.Description = long(1000) }},
		{"Description", "èè", func(s *appio.Service) { s.Description = long(1001) }},
		{"Privacy", "èè", func(s *appio.Service) { s.Privacy = long(1001) }},
		{"Web", "èè", func(s *appio.Service) { s.Web = long(1001) }},
		{"Email", "èè", func(s *appio.Service) { s.Email = long(1001) }},
		{"Phone", "èè", func(s *appio.Service) { s.Phone = long(1001) }},
		{"PEC", "èè", func(s *appio.Service) { s.PEC = long(1001) }},
		{"Support", "èè", func(s *appio.Service) { s.Support = long(1001) }},
		{"Topic", "èè", func(s *appio.Service) { s.Topic = long(1001) }},
		{"Department", "èè", func(s *appio.Service) { s.Department = long(1001) }},
		{"Address", "èè", func(s *appio.Service) { s.Address = long(1001) }},
		{"Terms", "èè", func(s *appio.Service) { s.Terms = long(1001) }},
		{"AppleApp", "èè", func(s *appio.Service) { s.AppleApp = long(1001) }},
		{"AndroidApp", "èè", func(s *appio.Service) { s.AndroidApp = long(1001) }},
		{"CallToAction", "èè", func(s *appio.Service) { s.CallToAction = long(1001) }},
		{"TokenName", "èè", func(s *appio.Service) { s.TokenName = long(1001) }},
		{"Reach", "everywhere", func(s *appio.Service) { s.Reach = "everywhere" }},
	} {
		w, ctx := newTown(t), t.Context()
		s := newService(c.set)
		err := w.PutService(ctx, s)
		require.Equal(t, s.Validate(), err)
		_, found := w.Service(ctx, s.ID)
		if c.field == "" {
			require.NoError(t, err)
			require.NoError(t, found)
			continue
		}
		requireField(t, err, c.field, c.value)
		require.ErrorIs(t, found, appio.ErrNotFound)
	}
}

// Each text is kept by itself, wherever it stands among the others.
func TestTextsOfAService(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	fields := func(s *appio.Service) []*string {
		return []*string{&s.Description, &s.Privacy, &s.Web, &s.Email, &s.Phone, &s.PEC, &s.Support, &s.Topic, &s.Assessment, &s.Department,
			&s.Address, &s.Terms, &s.AppleApp, &s.AndroidApp, &s.CallToAction, &s.TokenName}
	}
	for i := -1; i <= len(fields(&appio.Service{})); i++ {
		s := newService(func(s *appio.Service) { s.Reach = appio.Local })
		for j, f := range fields(&s) {
			*f = ""
			if i < 0 || i == j { // all, one, none
				*f = fmt.Sprint("testo ", j)
			}
		}
		require.NoError(t, w.PutService(ctx, s))
		got, err := w.Service(ctx, s.ID)
		require.NoError(t, err)
		require.Equal(t, s, got)
	}
}

func TestServiceState(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	for _, code := range []fiscalcode.Person{giuseppe, matteo, fiscalcode.Sandbox} {
		w.enrol(code, appio.Auto)
	}
	in := func(state appio.ServiceState, trial ...fiscalcode.Person) func(*appio.Service) {
		return func(s *appio.Service) { s.State, s.Trial = state, trial }
	}
	for _, c := range []struct {
		name    string
		service func(*appio.Service)
		to      fiscalcode.Person
		allowed bool
	}{
		{"in trial, an authorised recipient", in(appio.Trial, giuseppe), giuseppe, true},
		{"in trial, somebody else", in(appio.Trial, giuseppe), matteo, false},
		{"in trial, the sandbox", in(appio.Trial), fiscalcode.Sandbox, true},
		{"live, anybody", in(appio.Live, giuseppe), matteo, true},
		{"stopped, an authorised recipient", in(appio.Stopped, giuseppe), giuseppe, false},
		{"stopped, the sandbox", in(appio.Stopped), fiscalcode.Sandbox, false},
	} {
		s := w.put(c.service)
		before := len(keysOf(t, w.store, citizens))
		r, err := s.Send(ctx, messageTo(c.to))
		may, mayErr := s.CanContact(ctx, c.to)
		if c.allowed {
			require.NoError(t, err, c.name)
			require.Equal(t, appio.Processed, r.Status, c.name)
			require.NoError(t, mayErr, c.name)
			require.True(t, may, c.name)
			continue
		}
		require.ErrorIs(t, err, appio.ErrForbidden, c.name)
		require.Equal(t, appio.Result{Err: r.Err}, r, c.name)
		require.ErrorIs(t, mayErr, appio.ErrForbidden, c.name)
		require.False(t, may, c.name)
		require.Len(t, keysOf(t, w.store, citizens), before, "%s: nothing is kept", c.name)
	}

	t.Run("being an authorised recipient is no consent", func(t *testing.T) {
		s := w.put(func(s *appio.Service) { s.State, s.Trial = appio.Trial, []fiscalcode.Person{personNumber(1)} })
		r, err := s.Send(ctx, messageTo(personNumber(1)))
		require.NoError(t, err)
		require.Equal(t, appio.Rejected, r.Status)
	})

	t.Run("another recipient of a trial looks the same, known or not", func(t *testing.T) {
		s := w.put(func(s *appio.Service) { s.State = appio.Trial })
		_, known := s.Send(ctx, messageTo(matteo))
		_, unknown := s.Send(ctx, messageTo(personNumber(2)))
		require.Equal(t, unknown, known)
	})
}

func TestServiceMaxPayment(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	w.enrol(giuseppe, appio.Auto)
	pay := func(cents pagopa.Amount) appio.Message {
		return messageTo(giuseppe, func(m *appio.Message) {
			m.Payment = &appio.Notice{Number: "302032002700000251", Amount: cents}
		})
	}
	s := w.put(func(s *appio.Service) { s.MaxPayment = 50_00 })
	id := w.send(s, pay(50_00))
	m, err := w.person(giuseppe).Message(ctx, id)
	require.NoError(t, err)
	require.EqualValues(t, 50_00, m.Payment.Amount)
	require.Equal(t, comune, m.Payment.Payee, "the payee is the sender's organization, if none was named")

	_, err = s.Send(ctx, pay(50_01))
	requireField(t, err, "Payment.Amount", "5001")

	s = w.put(func(s *appio.Service) { s.MaxPayment = 0 })
	_, err = s.Send(ctx, pay(1))
	requireField(t, err, "Payment.Amount", "")
	w.send(s, messageTo(giuseppe))
}

func TestSecureChannels(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name             string
		service, message bool
		email, push      appio.Content
	}{
		{"neither", false, false, appio.Full, appio.Full},
		{"the service", true, false, appio.None, appio.Generic},
		{"the message tightens", false, true, appio.None, appio.Generic},
		{"both", true, true, appio.None, appio.Generic},
	} {
		w := newTown(t)
		w.enrol(giuseppe, appio.Auto)
		s := w.put(func(s *appio.Service) { s.SecureChannels = c.service })
		id := w.send(s, messageTo(giuseppe, func(m *appio.Message) { m.SecureChannels = c.message }))
		d := w.explain(giuseppe, id).Decision
		require.Equal(t, c.email, d.Content(appio.Email), c.name)
		require.Equal(t, c.push, d.Content(appio.Push), c.name)
		w.flush()
		require.Len(t, w.email.deliveries(), int(c.email)/2, c.name)
		require.Len(t, w.push.deliveries(), 1, c.name)
		require.Equal(t, c.push, w.push.deliveries()[0].Content, c.name)
		m, err := w.person(giuseppe).Message(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, markdown, m.Markdown, "the inbox has it whole")
	}
}
