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
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// manageKey makes a key by which an organization is managed.
func (w *town) manageKey(a *appio.Authority, k appio.ManageKey) string {
	w.t.Helper()
	require.NoError(w.t, a.PutManageKey(w.t.Context(), k))
	key, err := a.NewManageKey(w.t.Context(), k.ID, appio.Primary)
	require.NoError(w.t, err)
	return key
}

func TestManageKeys(t *testing.T) {
	t.Parallel()

	t.Run("do what their role says, and never more than to hold services' keys", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		trusted := w.Authority(comune)
		_, err := trusted.PutDraft(ctx, prepared())
		require.NoError(t, err)
		for _, role := range []appio.Role{appio.Viewer, appio.Editor, appio.Administrator} {
			a, err := w.AuthorityByKey(ctx, w.manageKey(trusted, appio.ManageKey{ID: "gestionale", Role: role}), noAddr)
			require.NoError(t, err)
			require.Equal(t, comune, a.Code())
			for name, c := range map[string]struct {
				may  bool
				call func() error
			}{
				"Draft":    {true, func() error { _, err := a.Draft(ctx, mensa); return err }},
				"Drafts":   {true, func() error { _, err := a.Drafts().Page(ctx, "", 0); return err }},
				"PutDraft": {role != appio.Viewer, func() error { _, err := a.PutDraft(ctx, prepared()); return err }},
				"NewKey":   {role == appio.Administrator, func() error { _, err := a.NewKey(ctx, mensa, appio.Primary); return err }},
				"Keys":     {role == appio.Administrator, func() error { _, err := a.Keys(ctx, mensa); return err }},
				"PutManageKey": {false, func() error {
					return a.PutManageKey(ctx, appio.ManageKey{ID: "altra", Role: appio.Viewer})
				}},
				"NewManageKey":    {false, func() error { _, err := a.NewManageKey(ctx, "gestionale", appio.Secondary); return err }},
				"RemoveManageKey": {false, func() error { return a.RemoveManageKey(ctx, "gestionale") }},
				"ManageKeys":      {false, func() error { _, err := a.ManageKeys().Page(ctx, "", 0); return err }},
				"PutMember":       {false, func() error { return a.PutMember(ctx, appio.Member{ID: "x", Role: appio.Viewer}) }},
				"HandOver":        {false, func() error { return a.HandOver(ctx, mensa, regione) }},
				"SetGroup":        {false, func() error { return a.SetGroup(ctx, mensa, "x") }},
			} {
				if err := c.call(); c.may {
					require.NoError(t, err, "%s by %s", name, role)
				} else {
					require.ErrorIs(t, err, appio.ErrForbidden, "%s by %s", name, role)
				}
			}
		}
		require.Equal(t, "gestionale", collect(t, trusted.History(mensa))[0].Who)
	})

	t.Run("end at once, with their handles, and are nowhere in the store", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		trusted := w.Authority(comune)
		old := w.manageKey(trusted, appio.ManageKey{ID: "gestionale", Role: appio.Editor})
		other, err := trusted.NewManageKey(ctx, "gestionale", appio.Secondary)
		require.NoError(t, err)
		before, err := w.AuthorityByKey(ctx, old, noAddr)
		require.NoError(t, err)
		fresh, err := trusted.NewManageKey(ctx, "gestionale", appio.Primary)
		require.NoError(t, err)
		require.NotEqual(t, old, fresh)
		_, err = w.AuthorityByKey(ctx, old, noAddr)
		require.ErrorIs(t, err, appio.ErrUnauthorized)
		_, err = before.PutDraft(ctx, prepared())
		require.ErrorIs(t, err, appio.ErrUnauthorized, "a handle from before")
		for _, key := range []string{fresh, other} {
			_, err = w.AuthorityByKey(ctx, key, noAddr)
			require.NoError(t, err)
		}
		for _, r := range recordsOf(t, w.store, "") {
			for _, key := range []string{old, fresh, other} {
				require.NotContains(t, string(r.Value), key)
			}
		}
		now := w.now().Truncate(time.Microsecond).Add(-time.Minute)
		w.flush()
		keys := collect(t, trusted.ManageKeys())
		require.Len(t, keys, 1)
		require.True(t, keys[0].Primary && keys[0].Secondary)
		require.True(t, keys[0].PrimaryUsed.After(now) && keys[0].SecondaryUsed.After(now))

		require.ErrorIs(t, trusted.SetManageKey(ctx, "gestionale", appio.Secondary, fresh), appio.ErrConflict, "it is in the other slot")
		require.NoError(t, trusted.RemoveManageKey(ctx, "gestionale"))
		require.ErrorIs(t, trusted.RemoveManageKey(ctx, "gestionale"), appio.ErrNotFound)
		for _, key := range []string{fresh, other} {
			_, err = w.AuthorityByKey(ctx, key, noAddr)
			require.ErrorIs(t, err, appio.ErrUnauthorized)
		}
		require.Empty(t, keysOf(t, w.store, "k/"), "nothing is left of them")
		_, err = trusted.NewManageKey(ctx, "gestionale", appio.Primary)
		require.ErrorIs(t, err, appio.ErrNotFound)
		in, err := w.Check(ctx, func(f appio.Finding) { t.Error(f) })
		require.NoError(t, err)
		require.Zero(t, in.Records["manage key"])
	})

	t.Run("are bound to addresses", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		office, home := netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("198.51.100.1")
		k := appio.ManageKey{ID: "gestionale", Role: appio.Editor, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
		key := w.manageKey(w.Authority(comune), k)
		for addr, want := range map[netip.Addr]error{office: nil, noAddr: nil, home: appio.ErrForbidden, netip.AddrFrom16(office.As16()): nil} {
			_, err := w.AuthorityByKey(ctx, key, addr)
			require.ErrorIs(t, err, want, addr)
		}
		a, err := w.AuthorityByKey(ctx, key, office)
		require.NoError(t, err)
		k.Prefixes = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		require.NoError(t, w.Authority(comune).PutManageKey(ctx, k))
		_, err = a.PutDraft(ctx, prepared())
		require.ErrorIs(t, err, appio.ErrForbidden, "a handle from before")
		_, err = w.AuthorityByKey(ctx, key, home)
		require.NoError(t, err, "the key stays")
		require.Equal(t, k.Prefixes, collect(t, w.Authority(comune).ManageKeys())[0].Prefixes)
	})

	t.Run("of a group are for its services alone", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		trusted := w.Authority(comune)
		a, err := w.AuthorityByKey(ctx, w.manageKey(trusted, appio.ManageKey{ID: "scuola", Role: appio.Administrator, Group: "scuola"}), noAddr)
		require.NoError(t, err)
		group, err := a.Group(ctx)
		require.NoError(t, err)
		require.Equal(t, "scuola", group)
		_, err = trusted.PutDraft(ctx, prepared(func(s *appio.Service) { s.ID = "tributi" }))
		require.NoError(t, err)
		w.put(func(s *appio.Service) { s.ID = "avvisi" })
		d, err := a.PutDraft(ctx, prepared())
		require.NoError(t, err)
		require.Equal(t, "scuola", d.Group)
		for id, want := range map[appio.ServiceID]error{mensa: nil, "tributi": appio.ErrForbidden, "avvisi": appio.ErrForbidden, "nessuno": appio.ErrNotFound} {
			_, err = a.Draft(ctx, id)
			require.ErrorIs(t, err, want, id)
			_, err = a.Keys(ctx, id)
			require.ErrorIs(t, err, want, id)
			_, err = a.NewKey(ctx, id, appio.Primary)
			require.ErrorIs(t, err, want, id)
			_, err = a.History(id).Page(ctx, "", 0)
			require.ErrorIs(t, err, want, id)
			_, err = a.ForService(ctx, id)
			require.ErrorIs(t, err, want, id)
			if id != mensa {
				require.ErrorIs(t, a.Delete(ctx, id), want, id)
				_, err = a.Submit(ctx, id, false)
				require.ErrorIs(t, err, want, id)
			}
			if id == "tributi" || id == "avvisi" {
				_, err = a.PutDraft(ctx, prepared(func(s *appio.Service) { s.ID = id }))
				require.ErrorIs(t, err, want, id)
			}
		}
		require.Len(t, collect(t, a.Drafts()), 1)
		d, err = a.Submit(ctx, mensa, false)
		require.NoError(t, err)
		_, err = w.Approve(ctx, mensa, "")
		require.NoError(t, err)
		d, err = trusted.PutDraft(ctx, prepared())
		require.NoError(t, err)
		require.Equal(t, "scuola", d.Group, "it stays through approval and editing")
		require.NoError(t, trusted.SetGroup(ctx, mensa, ""))
		_, err = a.Draft(ctx, mensa)
		require.ErrorIs(t, err, appio.ErrForbidden)

		o, err := w.Organization(ctx, regione)
		require.NoError(t, err)
		o.Aggregators = []fiscalcode.Organization{comune}
		require.NoError(t, w.PutOrganization(ctx, o))
		_, err = a.For(regione).Drafts().Page(ctx, "", 0)
		require.ErrorIs(t, err, appio.ErrForbidden, "a group is of one organization")
	})

	t.Run("are of another kind than services' keys", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		w.put()
		manage := w.manageKey(w.Authority(comune), appio.ManageKey{ID: "gestionale", Role: appio.Viewer})
		service, err := w.NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		_, err = w.SenderByKey(ctx, manage, noAddr)
		require.ErrorIs(t, err, appio.ErrForbidden)
		_, err = w.AuthorityByKey(ctx, service, noAddr)
		require.ErrorIs(t, err, appio.ErrForbidden)
		require.ErrorIs(t, w.PutKey(ctx, mensa, appio.Secondary, manage), appio.ErrConflict)
		require.ErrorIs(t, w.Authority(comune).SetManageKey(ctx, "gestionale", appio.Secondary, service), appio.ErrConflict)
		for _, key := range []string{"", "short", strings.Repeat("0", 64)} {
			_, err = w.AuthorityByKey(ctx, key, noAddr)
			require.ErrorIs(t, err, appio.ErrUnauthorized)
		}
		seed := "una chiave fatta altrove"
		require.NoError(t, w.Authority(comune).SetManageKey(ctx, "gestionale", appio.Secondary, seed))
		require.NoError(t, w.Authority(comune).SetManageKey(ctx, "gestionale", appio.Secondary, seed), "twice is once")
		_, err = w.AuthorityByKey(ctx, seed, noAddr)
		require.NoError(t, err)
		require.NoError(t, w.Authority(regione).PutManageKey(ctx, appio.ManageKey{ID: "gestionale", Role: appio.Viewer}))
		require.ErrorIs(t, w.Authority(regione).SetManageKey(ctx, "gestionale", appio.Primary, seed), appio.ErrConflict)
	})

	t.Run("of an aggregator are of no use once it is not named", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		o, err := w.Organization(ctx, comune)
		require.NoError(t, err)
		named := func(codes ...fiscalcode.Organization) {
			o.Aggregators = codes
			require.NoError(t, w.PutOrganization(ctx, o))
		}
		acting := w.Authority(regione).For(comune)
		require.ErrorIs(t, acting.PutManageKey(ctx, appio.ManageKey{ID: "a", Role: appio.Editor}), appio.ErrForbidden)
		named(regione)
		own := w.manageKey(w.Authority(comune), appio.ManageKey{ID: "a", Role: appio.Editor})
		key := w.manageKey(acting, appio.ManageKey{ID: "a", Role: appio.Editor})
		require.Len(t, collect(t, w.Authority(comune).ManageKeys()), 2, "the organization sees both")
		keys := collect(t, acting.ManageKeys())
		require.Len(t, keys, 1)
		require.Equal(t, regione, keys[0].Via)
		a, err := w.AuthorityByKey(ctx, key, noAddr)
		require.NoError(t, err)
		require.Equal(t, comune, a.Code())
		_, err = a.PutDraft(ctx, prepared())
		require.NoError(t, err)
		require.Equal(t, string(regione)+" a", collect(t, w.Authority(comune).History(mensa))[0].Who)

		byKey, err := w.AuthorityByKey(ctx, w.manageKey(w.Authority(regione), appio.ManageKey{ID: "r", Role: appio.Administrator}), noAddr)
		require.NoError(t, err)
		_, err = byKey.For(comune).PutDraft(ctx, prepared(func(s *appio.Service) { s.ID, s.Name = "tributi", "Tributi" }))
		require.NoError(t, err)
		require.ErrorIs(t, byKey.For(comune).PutManageKey(ctx, appio.ManageKey{ID: "b", Role: appio.Viewer}), appio.ErrForbidden, "keys make no keys")
		for _, id := range []appio.ServiceID{mensa, "tributi"} {
			h, err := byKey.ForService(ctx, id)
			require.NoError(t, err)
			require.Equal(t, comune, h.Code())
			_, err = h.Draft(ctx, id)
			require.NoError(t, err)
		}
		listed := func() (ids []appio.ServiceID) {
			for _, d := range collect(t, byKey.Drafts()) {
				ids = append(ids, d.ID)
			}
			return ids
		}
		require.Equal(t, []appio.ServiceID{"tributi"}, listed(), "what it has prepared")
		named()
		require.Empty(t, listed())
		_, err = byKey.ForService(ctx, mensa)
		require.ErrorIs(t, err, appio.ErrNotFound)
		_, err = w.AuthorityByKey(ctx, key, noAddr)
		require.ErrorIs(t, err, appio.ErrForbidden)
		_, err = a.Draft(ctx, mensa)
		require.ErrorIs(t, err, appio.ErrForbidden)
		_, err = w.AuthorityByKey(ctx, own, noAddr)
		require.NoError(t, err)
	})

	t.Run("have bounds", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		a := w.Authority(comune)
		k := appio.ManageKey{ID: "gestionale", Role: appio.Editor}
		for field, change := range map[string]func(*appio.ManageKey){
			"ID":          func(k *appio.ManageKey) { k.ID = "" },
			"Role":        func(k *appio.ManageKey) { k.Role = "" },
			"Group":       func(k *appio.ManageKey) { k.Group = strings.Repeat("g", 201) },
			"Prefixes":    func(k *appio.ManageKey) { k.Prefixes = make([]netip.Prefix, 1001) },
			"Prefixes[0]": func(k *appio.ManageKey) { k.Prefixes = make([]netip.Prefix, 1) },
		} {
			bad := k
			change(&bad)
			requireField(t, a.PutManageKey(ctx, bad), field, "")
		}
		require.NoError(t, a.PutManageKey(ctx, k))
		requireField(t, a.SetManageKey(ctx, k.ID, appio.Primary, strings.Repeat("k", 15)), "Key", "kkk")
		requireField(t, a.SetManageKey(ctx, k.ID, appio.Primary, strings.Repeat("k", 201)), "Key", "kkk")
		requireField(t, a.SetManageKey(ctx, k.ID, 2, strings.Repeat("k", 20)), "KeySlot", "")
		for i := range 5 {
			k.ID = strings.Repeat("x", i+1)
			require.NoError(t, a.PutManageKey(ctx, k))
		}
		n := 0
		for c := appio.Cursor(""); ; n++ {
			page, err := a.ManageKeys().Page(ctx, c, 1)
			require.NoError(t, err)
			require.Len(t, page.Items, 1)
			if c = page.Next; c == "" {
				break
			}
		}
		require.Equal(t, 5, n, "six in all")
	})
}

// TestKeysSurviveACrashAtEachStep lets the engine die at its n-th commit, before it is made and after, while keys change and a service
// changes hands. Whatever was done by then: one key of a slot works, the old one or the new one, and each service is whole and one's.
func TestKeysSurviveACrashAtEachStep(t *testing.T) {
	t.Parallel()
	const old, next = "la chiave di prima", "la chiave di dopo"
	dieAtEachCommit(t, 5, func(t *testing.T, n int, made bool) (died bool) {
		ctx := t.Context()
		disk := memstore.New()
		open := func(s store.Store) *appio.Engine {
			e, err := appio.New(s, &appio.Options{Keys: townKeys, RevokeWait: time.Millisecond})
			require.NoError(t, err)
			return e
		}
		setUp := open(disk)
		require.NoError(t, setUp.Authority(comune).PutManageKey(ctx, appio.ManageKey{ID: "k", Role: appio.Editor}))
		require.NoError(t, setUp.Authority(comune).SetManageKey(ctx, "k", appio.Primary, old))
		_, err := setUp.Authority(regione).PutDraft(ctx, prepared())
		require.NoError(t, err)
		service, err := setUp.Authority(regione).NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		require.NoError(t, setUp.Close())

		m := &mortal{Store: disk, left: n, made: made}
		e := open(m)
		rotated := e.Authority(comune).SetManageKey(ctx, "k", appio.Primary, next)
		offered := e.Authority(regione).HandOver(ctx, mensa, comune)
		_, taken := e.Authority(comune).TakeOver(ctx, mensa)
		died = m.dead()
		_ = e.Close()

		e = open(disk)
		defer e.Close()
		where := fmt.Sprintf("commit %d, made %t", n, made)
		_, errOld := e.AuthorityByKey(ctx, old, noAddr)
		_, errNext := e.AuthorityByKey(ctx, next, noAddr)
		require.NotEqual(t, errOld == nil, errNext == nil, "%s: one of them works", where)
		if rotated == nil {
			require.NoError(t, errNext, where)
		}
		_, errOurs := e.Authority(comune).Draft(ctx, mensa)
		_, errTheirs := e.Authority(regione).Draft(ctx, mensa)
		require.NotEqual(t, errOurs == nil, errTheirs == nil, "%s: the service is one's", where)
		require.Equal(t, errOurs == nil, len(collect(t, e.Authority(comune).Drafts())) == 1, "%s: and listed", where)
		_, errService := e.SenderByKey(ctx, service, noAddr)
		require.Equal(t, errTheirs == nil, errService == nil, "%s: with its key", where)
		if offered == nil && taken == nil {
			require.NoError(t, errOurs, where)
		}
		_, err = e.Check(ctx, func(f appio.Finding) { t.Error(where, f) })
		require.NoError(t, err)
		require.NoError(t, e.Authority(comune).SetManageKey(ctx, "k", appio.Primary, next), "it can be said again")
		return died
	})
}
