package appio

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// damage makes a record one that cannot be read.
func damage(t *testing.T, s store.Store, owner store.Owner, key store.Key) {
	t.Helper()
	snaps, err := s.View(t.Context(), []store.Read{{Owner: owner, Keys: []store.Key{key}}})
	require.NoError(t, err)
	r := snaps[0].Records[0]
	r.Value = append(bytes.Clone(r.Value), 0)
	_, err = s.Commit(t.Context(), []store.Change{{Owner: owner, Rev: snaps[0].Rev, Put: []store.Record{r}}})
	require.NoError(t, err)
}

// Whom lists of services and of organizations name is erased from them, too. The store is not sealed: what is there can be seen.
func TestListsOfPersons(t *testing.T) {
	t.Parallel()
	type office struct {
		*Engine
		a        *Authority
		clock    *worldClock
		store    store.Store
		names    func(code fiscalcode.Person) bool // whether the code is anywhere in the store
		services func() (live, draft []fiscalcode.Person)
	}
	remote := func(codes ...fiscalcode.Person) RemoteConfiguration {
		system := &RemoteSystem{URL: "https://atti.example.it", Header: "X-Key", Key: "k", Type: "k"}
		return RemoteConfiguration{Name: "Atti", Description: "Gli atti", Precondition: Once, Production: system, Test: system, TestUsers: codes, Unsigned: codes}
	}
	open := func(t *testing.T) *office {
		t.Helper()
		ctx := t.Context()
		s := memstore.New()
		clock := &worldClock{now: goldenTime}
		e, err := New(s, worldOptions(nil, clock.Now, func(context.Context, Delivery) error { return nil }))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, e.Close()) })
		require.NoError(t, e.PutOrganization(ctx, Organization{Code: goldenOrg, Name: "Comune di Esempio"}))
		o := &office{Engine: e, a: e.Authority(goldenOrg), clock: clock, store: s}
		o.names = func(code fiscalcode.Person) bool {
			for _, r := range dumpStore(t, s) {
				if bytes.Contains(r.Value, []byte(code)) || bytes.Contains([]byte(r.Key), []byte(code)) {
					return true
				}
			}
			return false
		}
		o.services = func() (live, next []fiscalcode.Person) {
			t.Helper()
			svc, err := e.Service(ctx, "mensa")
			require.NoError(t, err)
			d, err := o.a.Draft(ctx, "mensa")
			require.NoError(t, err)
			return svc.Trial, d.Trial
		}
		return o
	}
	flush := func(t *testing.T, e *Engine) {
		t.Helper()
		_, err := e.Flush(t.Context())
		require.NoError(t, err)
	}
	// begins makes lists that name Anna, who is enrolled, Bruno, who is not, and Anna again.
	begins := func(t *testing.T) (*office, *RemoteConfiguration) {
		t.Helper()
		o, ctx := open(t), t.Context()
		require.NoError(t, o.Citizen(Identity{Code: anna, Level: L2}).SetMode(ctx, Auto))
		_, err := o.a.PutDraft(ctx, Service{ID: "mensa", Name: "Mensa", Trial: []fiscalcode.Person{anna, bruno, anna}})
		require.NoError(t, err)
		c, err := o.a.PutRemoteConfiguration(ctx, remote(bruno, anna))
		require.NoError(t, err)
		return o, &c
	}

	t.Run("are shown as they were given", func(t *testing.T) {
		t.Parallel()
		o, c := begins(t)
		live, next := o.services()
		require.Equal(t, []fiscalcode.Person{anna, bruno, anna}, live)
		require.Equal(t, live, next)
		require.Equal(t, []fiscalcode.Person{bruno, anna}, c.TestUsers)
		got, err := o.a.RemoteConfiguration(t.Context(), c.ID)
		require.NoError(t, err)
		require.Equal(t, *c, got)
		all, err := gather(t.Context(), o.Services())
		require.NoError(t, err)
		require.Equal(t, live, all[0].Trial)
	})

	t.Run("forget who is erased, at once and for good", func(t *testing.T) {
		t.Parallel()
		o, c := begins(t)
		ctx := t.Context()
		for i, code := range []fiscalcode.Person{anna, bruno} {
			require.True(t, o.names(code))
			require.NoError(t, o.Citizen(Identity{Code: code, Level: L2}).Erase(ctx))
			live, next := o.services()
			require.NotContains(t, live, code)
			require.Equal(t, live, next)
			got, err := o.a.RemoteConfiguration(ctx, c.ID)
			require.NoError(t, err)
			require.Len(t, got.TestUsers, 1-i)
			require.Len(t, got.Unsigned, 1-i)
			// What is listed while the erasure goes on brings the code back neither now nor later.
			_, err = o.a.PutDraft(ctx, Service{ID: "mensa", Name: "Mensa", Trial: []fiscalcode.Person{anna, bruno}})
			require.NoError(t, err)
			if code == anna {
				flush(t, o.Engine)
				require.False(t, o.names(code))
			}
		}
		flush(t, o.Engine)
		require.False(t, o.names(bruno))
	})

	t.Run("say all the same who is meant", func(t *testing.T) {
		t.Parallel()
		o, _ := begins(t)
		ctx := t.Context()
		for code, may := range map[fiscalcode.Person]bool{anna: true, bruno: true, carla: false, fiscalcode.Sandbox: true} {
			_, err := o.Sender("mensa").CanContact(ctx, code)
			if may {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, ErrForbidden)
			}
		}
	})

	t.Run("keep no code of whom they do not name any more", func(t *testing.T) {
		t.Parallel()
		o, c := begins(t)
		ctx := t.Context()
		_, err := o.a.PutDraft(ctx, Service{ID: "mensa", Name: "Mensa", Trial: []fiscalcode.Person{carla}})
		require.NoError(t, err)
		o.clock.Advance(keepListed + time.Hour)
		flush(t, o.Engine)
		require.True(t, o.names(bruno), "the configuration still names him")
		next := remote()
		next.ID = c.ID
		_, err = o.a.PutRemoteConfiguration(ctx, next)
		require.NoError(t, err)
		o.clock.Advance(keepListed + time.Hour)
		flush(t, o.Engine)
		require.False(t, o.names(bruno))
		live, _ := o.services()
		require.Equal(t, []fiscalcode.Person{carla}, live, "who is named stays")
	})

	t.Run("keep the code for a list that is damaged, which may be mended", func(t *testing.T) {
		t.Parallel()
		o, _ := begins(t)
		damage(t, o.store, service("mensa"), keyService)
		o.clock.Advance(keepListed + time.Hour)
		flush(t, o.Engine)
		due, err := o.store.Due(t.Context(), store.DueQuery{Lanes: []store.Lane{cleanUpLane(o.codec.citizen(anna))}, Until: o.clock.Now(), Limit: 10})
		require.NoError(t, err)
		require.Empty(t, due, "it is not looked at all the time")
		require.True(t, o.names(anna))
	})

	t.Run("of before had codes, and are read", func(t *testing.T) {
		t.Parallel()
		o, _ := begins(t)
		ctx := t.Context()
		require.NoError(t, o.changeService(ctx, "mensa", func(old *serviceRecord) (*serviceRecord, error) {
			r := *old
			r.Trial = []string{string(carla)}
			return &r, nil
		}))
		live, _ := o.services()
		require.Equal(t, []fiscalcode.Person{carla}, live)
		_, err := o.Sender("mensa").CanContact(ctx, carla)
		require.NoError(t, err)
		_, err = o.Sender("mensa").CanContact(ctx, anna)
		require.ErrorIs(t, err, ErrForbidden)
	})

	t.Run("are mended by who puts them again where a code is damaged", func(t *testing.T) {
		t.Parallel()
		o, c := begins(t)
		ctx := t.Context()
		owner := o.codec.citizen(bruno)
		damage := func() { damage(t, o.store, owner, keyListed) }
		damage()
		_, err := o.Service(ctx, "mensa")
		require.ErrorIs(t, err, store.ErrCorrupt, "it is not left out as who was erased")
		content := &RemoteContent{Organization: goldenOrg, Configuration: c.ID}
		_, err = o.RemoteConfiguration(ctx, content)
		require.ErrorIs(t, err, store.ErrCorrupt)
		for code, named := range map[fiscalcode.Person][]fiscalcode.Person{anna: {anna}, bruno: {bruno}, carla: nil} {
			theirs, err := o.RemoteConfigurationFor(ctx, content, code)
			require.NoError(t, err, "others open their messages all the same")
			require.Equal(t, [][]fiscalcode.Person{named, named}, [][]fiscalcode.Person{theirs.TestUsers, theirs.Unsigned})
			require.Equal(t, c.Production, theirs.Production)
		}
		_, err = o.RemoteConfigurationFor(ctx, nil, anna)
		require.ErrorIs(t, err, ErrNotFound)
		_, err = o.a.PutDraft(ctx, Service{ID: "mensa", Name: "Mensa", Trial: []fiscalcode.Person{bruno}})
		require.NoError(t, err)
		damage()
		again := remote(bruno)
		again.ID = c.ID
		got, err := o.a.PutRemoteConfiguration(ctx, again)
		require.NoError(t, err)
		require.Equal(t, []fiscalcode.Person{bruno}, got.TestUsers)
		live, _ := o.services()
		require.Equal(t, []fiscalcode.Person{bruno}, live)
		require.NoError(t, o.Citizen(Identity{Code: bruno, Level: L2}).Erase(ctx))
		flush(t, o.Engine)
		require.False(t, o.names(bruno), "nor is it left where it was put aside")
	})

	t.Run("lack whom a damaged code is of, where there is more to tell", func(t *testing.T) {
		t.Parallel()
		o, c := begins(t)
		ctx := t.Context()
		_, err := o.a.PutDraft(ctx, Service{ID: "nido", Name: "Nido"})
		require.NoError(t, err)
		require.NoError(t, o.PutOrganization(ctx, Organization{Code: goldenOrg, Name: "Comune di Esempio", SignedAt: goldenTime}))
		_, err = o.a.PutDraft(ctx, Service{ID: "mensa", Name: "Mensa", Description: "d", Privacy: "https://example.it", Email: "a@example.it",
			Trial: []fiscalcode.Person{anna, bruno, anna}})
		require.NoError(t, err)
		damage(t, o.store, o.codec.citizen(bruno), keyListed)
		rest := []fiscalcode.Person{anna, anna}

		services, err := gather(ctx, o.Services())
		require.ErrorIs(t, err, ErrIncomplete)
		require.Len(t, services, 2)
		require.Equal(t, rest, services[0].Trial)
		drafts, err := gather(ctx, o.a.Drafts())
		require.ErrorIs(t, err, ErrIncomplete)
		require.Len(t, drafts, 2)
		require.Equal(t, rest, drafts[0].Trial)
		configurations, err := gather(ctx, o.a.RemoteConfigurations())
		require.ErrorIs(t, err, ErrIncomplete)
		require.Equal(t, []fiscalcode.Person{anna}, configurations[0].TestUsers)

		live, err := o.Service(ctx, "mensa")
		require.ErrorIs(t, err, ErrIncomplete)
		require.Equal(t, services[0], live)
		next, err := o.a.Draft(ctx, "mensa")
		require.ErrorIs(t, err, ErrIncomplete)
		require.Equal(t, drafts[0], next)
		configuration, err := o.a.RemoteConfiguration(ctx, c.ID)
		require.ErrorIs(t, err, ErrIncomplete)
		require.Equal(t, configurations[0], configuration)

		submitted, err := o.a.Submit(ctx, "mensa", false)
		require.NoError(t, err)
		reviews, err := gather(ctx, o.Reviews())
		require.ErrorIs(t, err, ErrIncomplete)
		require.Equal(t, []Draft{submitted}, reviews)
		require.Equal(t, rest, submitted.Trial)
	})

	t.Run("are of services and configurations, of which a damaged one does not hide the others", func(t *testing.T) {
		t.Parallel()
		o, c := begins(t)
		ctx := t.Context()
		_, err := o.a.PutDraft(ctx, Service{ID: "nido", Name: "Nido"})
		require.NoError(t, err)
		others := make([]RemoteConfiguration, 2)
		for i := range others {
			others[i], err = o.a.PutRemoteConfiguration(ctx, remote())
			require.NoError(t, err)
		}
		damage(t, o.store, service("mensa"), keyService)
		damage(t, o.store, o.codec.organization(goldenOrg), remoteConfigurationKey(c.ID))
		services, err := gather(ctx, o.Services())
		require.ErrorIs(t, err, ErrIncomplete)
		require.Len(t, services, 1)
		drafts, err := gather(ctx, o.a.Drafts())
		require.ErrorIs(t, err, ErrIncomplete)
		require.Len(t, drafts, 1)
		for _, limit := range []int{1, 2, 3} { // in pages, too, and backwards
			var forwards []RemoteConfiguration
			told := false
			for cursor := Cursor(""); ; {
				page, err := o.a.RemoteConfigurations().Page(ctx, cursor, limit)
				require.NoError(t, butIncomplete(err))
				told = told || err != nil
				forwards = append(forwards, page.Items...)
				if cursor = page.Next; cursor == "" {
					break
				}
			}
			require.Equal(t, others, forwards)
			require.True(t, told)
			backwards, err := o.a.RemoteConfigurations().Reversed().Page(ctx, "", limit)
			require.NoError(t, butIncomplete(err))
			require.Equal(t, others[1], backwards.Items[0])
		}
	})

	t.Run("are not the place for a member's or an operator's code, which histories keep", func(t *testing.T) {
		t.Parallel()
		o, _ := begins(t)
		ctx := t.Context()
		for _, id := range []string{string(anna), "TINIT-" + string(anna), "Anna (" + string(anna) + ")", "spid_" + strings.ToLower(string(anna)), string(anna) + "_2"} {
			require.ErrorIs(t, o.a.PutMember(ctx, Member{ID: id, Role: Editor}), ErrInvalid)
			require.ErrorIs(t, o.StopService(ctx, "mensa", id, ""), ErrInvalid)
			_, err := o.Approve(ctx, "mensa", id)
			require.ErrorIs(t, err, ErrInvalid)
			_, err = o.Entrust(ctx, "mensa", id)
			require.ErrorIs(t, err, ErrInvalid)
		}
		require.NoError(t, o.a.PutMember(ctx, Member{ID: "01HZY3V7K8QZ4M5N6P7R8S9T0X", Role: Editor}))
	})
}
