package appio_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/appiotest"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/form"
)

const regione fiscalcode.Organization = "80078750587"

// newOffice is a town whose municipality has an agreement.
func newOffice(t *testing.T, changes ...func(*appio.Options)) *town {
	t.Helper()
	w := newTown(t, changes...)
	for _, code := range []fiscalcode.Organization{comune, regione} {
		require.NoError(t, w.PutOrganization(t.Context(), appio.Organization{
			Code: code, Name: "Ente " + string(code[:2]), SignedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}))
	}
	return w
}

// prepared is a service that keeps all rules of quality.
func prepared(changes ...func(*appio.Service)) appio.Service {
	s := appio.Service{
		ID: mensa, Name: "Mensa scolastica", Description: "Pasti a scuola", Privacy: "https://example.it/privacy", Phone: "+39 02 0202",
		Assessment: "protocollo 12/2026", Trial: []fiscalcode.Person{giuseppe},
	}
	for _, change := range changes {
		change(&s)
	}
	return s
}

// published prepares a service, up to its publication.
func (w *town) published(s appio.Service) *appio.Sender {
	w.t.Helper()
	ctx, a := w.t.Context(), w.Authority(comune)
	d, err := a.PutDraft(ctx, s)
	require.NoError(w.t, err)
	d, err = a.Submit(ctx, d.ID, true)
	require.NoError(w.t, err)
	require.Equal(w.t, appio.Submitted, d.Stage, d.Reason)
	d, err = w.Approve(ctx, d.ID, "anna")
	require.NoError(w.t, err)
	require.Equal(w.t, appio.Published, d.Publication)
	return w.Sender(d.ID)
}

func TestLifeCycle(t *testing.T) {
	t.Parallel()

	t.Run("from a draft to the citizens, and each step is in the history", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		a := w.Authority(comune)
		w.enrol(giuseppe, appio.Auto)
		w.enrol(matteo, appio.Auto)

		d, err := a.PutDraft(ctx, prepared())
		require.NoError(t, err)
		require.Equal(t, appio.Draft{Service: d.Service, Version: 1, UpdatedAt: d.UpdatedAt, LiveAt: d.UpdatedAt}, d, "being written, and never released")
		require.Equal(t, comune, d.Organization)
		w.send(w.Sender(mensa), messageTo(giuseppe))
		_, err = w.Sender(mensa).Send(ctx, messageTo(matteo))
		require.ErrorIs(t, err, appio.ErrForbidden, "in trial, and not to whom it may not write")

		d, err = a.Submit(ctx, mensa, false)
		require.NoError(t, err)
		require.Equal(t, appio.Submitted, d.Stage)
		_, err = a.PutDraft(ctx, prepared())
		require.ErrorIs(t, err, appio.ErrConflict)
		require.ErrorIs(t, a.Delete(ctx, mensa), appio.ErrConflict)
		require.ErrorIs(t, a.Publish(ctx, mensa), appio.ErrConflict)
		_, err = w.Reject(ctx, mensa, "anna", "")
		requireField(t, err, "reason", "")
		d, err = w.Reject(ctx, mensa, "anna", "Manca l'orario")
		require.NoError(t, err)
		require.Equal(t, []any{appio.Refused, "Manca l'orario"}, []any{d.Stage, d.Reason})
		_, err = a.Submit(ctx, mensa, false)
		require.ErrorIs(t, err, appio.ErrConflict, "as it was")

		_, err = a.PutDraft(ctx, prepared(func(s *appio.Service) { s.Name = "  Mensa  " }))
		require.NoError(t, err)
		_, err = a.Submit(ctx, mensa, false)
		require.NoError(t, err)
		require.NoError(t, a.Recall(ctx, mensa))
		_, err = a.Submit(ctx, mensa, false)
		require.NoError(t, err)
		d, err = w.Approve(ctx, mensa, "bruno")
		require.NoError(t, err)
		require.Equal(t, []any{appio.Approved, appio.Released, appio.Trial}, []any{d.Stage, d.Publication, d.State})
		_, err = w.Sender(mensa).Send(ctx, messageTo(matteo))
		require.ErrorIs(t, err, appio.ErrForbidden, "still in trial")

		require.NoError(t, a.Publish(ctx, mensa))
		require.NoError(t, a.Publish(ctx, mensa), "twice is the same")
		w.send(w.Sender(mensa), messageTo(matteo))
		live, err := w.Service(ctx, mensa)
		require.NoError(t, err)
		require.Equal(t, []string{"Mensa", "protocollo 12/2026", "https://example.it/privacy"}, []string{live.Name, live.Assessment, live.Privacy})

		require.NoError(t, a.Unpublish(ctx, mensa))
		require.NoError(t, a.Unpublish(ctx, mensa))
		_, err = w.Sender(mensa).Send(ctx, messageTo(giuseppe))
		require.ErrorIs(t, err, appio.ErrForbidden)
		require.NoError(t, a.Delete(ctx, mensa))
		require.ErrorIs(t, a.Publish(ctx, mensa), appio.ErrConflict)
		_, err = a.PutDraft(ctx, prepared())
		require.ErrorIs(t, err, appio.ErrConflict, "for good")

		var got []string
		for _, ev := range collect(t, a.History(mensa)) {
			got = append(got, fmt.Sprint(ev.Number, " ", ev.What, " by ", ev.By, " ", ev.Who, ": ", ev.Stage, ",", ev.Publication, " v", ev.Version, " ", ev.Reason))
			name := "Mensa scolastica"
			if ev.Number >= 4 { // the second edit
				name = "Mensa"
			}
			require.Equal(t, name, ev.Service.Name, "%d is about it", ev.Number)
			require.Empty(t, ev.Service.Trial)
		}
		require.Equal(t, []string{
			"11 deleted by authority : deleted,unpublished v2 ",
			"10 unpublished by authority : approved,unpublished v2 ",
			"9 published by authority : approved,published v2 ",
			"8 approved by operator bruno: approved,released v2 ",
			"7 submitted by authority : submitted, v2 ",
			"6 recalled by authority : , v2 ",
			"5 submitted by authority : submitted, v2 ",
			"4 edited by authority : , v2 ",
			"3 rejected by operator anna: rejected, v1 Manca l'orario",
			"2 submitted by authority : submitted, v1 ",
		}, got[:10])
		require.Equal(t, collect(t, a.History(mensa)), collect(t, w.ServiceHistory(mensa)))
		page, err := a.History(mensa).Page(ctx, "", 4)
		require.NoError(t, err)
		page, err = a.History(mensa).Page(ctx, page.Next, 4)
		require.NoError(t, err)
		require.Equal(t, 7, page.Items[0].Number)
		page, err = a.History(mensa).Page(ctx, page.Prev, 4)
		require.NoError(t, err)
		require.Equal(t, []int{11, 8}, []int{page.Items[0].Number, page.Items[3].Number})
	})

	t.Run("what is live stays as it was approved while the next version is made", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		a := w.Authority(comune)
		w.enrol(matteo, appio.Auto)
		sender := w.published(prepared())
		key, err := w.NewKey(ctx, mensa, appio.Primary)
		require.NoError(t, err)
		for _, step := range []func() error{
			func() error {
				_, err := a.PutDraft(ctx, prepared(func(s *appio.Service) { s.Name = "Mensa e doposcuola" }))
				return err
			},
			func() error { _, err := a.Submit(ctx, mensa, false); return err },
		} {
			require.NoError(t, step())
			live, err := w.Service(ctx, mensa)
			require.NoError(t, err)
			require.Equal(t, []any{"Mensa scolastica", appio.Live}, []any{live.Name, live.State})
			w.send(sender, messageTo(matteo))
		}
		d, err := w.Approve(ctx, mensa, "anna")
		require.NoError(t, err)
		require.Equal(t, appio.Published, d.Publication, "approval without publishing does not unpublish")
		live, err := w.Service(ctx, mensa)
		require.NoError(t, err)
		require.Equal(t, []any{"Mensa e doposcuola", appio.Live}, []any{live.Name, live.State})
		byKey, err := w.SenderByKey(ctx, key, noAddr)
		require.NoError(t, err, "its keys stay")
		w.send(byKey, messageTo(matteo))
		require.NoError(t, a.Unpublish(ctx, mensa))
		require.NoError(t, a.Delete(ctx, mensa))
		_, err = w.SenderByKey(ctx, key, noAddr)
		require.ErrorIs(t, err, appio.ErrUnauthorized)
	})

	t.Run("publishing again shows what was approved, not what is being written", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		a := w.Authority(comune)
		_, err := a.PutDraft(ctx, prepared())
		require.NoError(t, err)
		_, err = a.Submit(ctx, mensa, false)
		require.NoError(t, err)
		_, err = w.Approve(ctx, mensa, "anna")
		require.NoError(t, err)
		_, err = a.PutDraft(ctx, prepared(func(s *appio.Service) { s.Name, s.MaxPayment = "Altro", 1_000_000 }))
		require.NoError(t, err)
		require.NoError(t, a.Publish(ctx, mensa))
		live, err := w.Service(ctx, mensa)
		require.NoError(t, err)
		require.Equal(t, []any{"Mensa scolastica", appio.Live, 0}, []any{live.Name, live.State, int(live.MaxPayment)})
	})

	t.Run("what breaks a rule is refused by the engine, with the rules' names", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		w.published(prepared(func(s *appio.Service) { s.ID = "altra" }))
		a := w.Authority(comune)
		_, err := a.PutDraft(ctx, appio.Service{ID: mensa, Name: "MENSA Scolastica", Description: "Pasti"})
		require.NoError(t, err)
		d, err := a.Submit(ctx, mensa, true)
		require.NoError(t, err)
		require.Equal(t, []any{appio.Refused, "name-duplicate privacy-missing contact-missing"}, []any{d.Stage, d.Reason})
		require.Equal(t, appio.ByEngine, collect(t, a.History(mensa))[0].By)
		_, err = w.Approve(ctx, mensa, "anna")
		require.ErrorIs(t, err, appio.ErrConflict)

		require.NoError(t, a.Delete(ctx, "altra"))
		_, err = a.PutDraft(ctx, prepared())
		require.NoError(t, err)
		d, err = a.Submit(ctx, mensa, true)
		require.NoError(t, err)
		require.Equal(t, appio.Submitted, d.Stage, "the name of a deleted one is free")
	})

	t.Run("small changes need nobody", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		w.published(prepared())
		a := w.Authority(comune)
		_, err := a.PutDraft(ctx, prepared(func(s *appio.Service) { s.Phone = "+39 02 0303" }))
		require.NoError(t, err)
		d, err := a.Submit(ctx, mensa, false)
		require.NoError(t, err)
		require.Equal(t, []any{appio.Approved, appio.Published}, []any{d.Stage, d.Publication})
		live, err := w.Service(ctx, mensa)
		require.NoError(t, err)
		require.Equal(t, "+39 02 0303", live.Phone)
	})

	t.Run("what the operator stopped and nobody approved cannot be published", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		w.put(func(s *appio.Service) { s.State = appio.Stopped })
		_, err := w.Authority(comune).PutDraft(ctx, prepared())
		require.NoError(t, err)
		require.ErrorIs(t, w.Authority(comune).Publish(ctx, mensa), appio.ErrConflict)

		w.put(func(s *appio.Service) { s.State, s.Organization = appio.Stopped, regione })
		for _, code := range []fiscalcode.Organization{comune, regione} {
			_, err = w.Authority(code).Draft(ctx, mensa)
			require.ErrorIs(t, err, appio.ErrNotFound, "the draft is of the one, and the service of the other")
		}
	})

	t.Run("what is the operator's stays as it is", func(t *testing.T) {
		t.Parallel()
		w, ctx := newOffice(t), t.Context()
		w.put(func(s *appio.Service) {
			s.Category, s.SendRate, s.DeliveryRate, s.Premium, s.State = appio.Special, 3, 4, true, appio.Live
		})
		d, err := w.Authority(comune).PutDraft(ctx, prepared(func(s *appio.Service) { s.SendRate, s.State = 99, appio.Stopped }))
		require.NoError(t, err)
		require.Equal(t, []any{appio.Special, 3.0, 4.0, true, appio.Live, appio.Published},
			[]any{d.Category, d.SendRate, d.DeliveryRate, d.Premium, d.State, d.Publication})
		d, err = w.Authority(comune).PutDraft(ctx, prepared(func(s *appio.Service) {
			s.ID, s.Category, s.SendRate, s.DeliveryRate, s.Premium = "new", appio.Special, 99, 99, true
		}))
		require.NoError(t, err)
		require.Equal(t, []any{appio.Standard, 0.0, 0.0, false}, []any{d.Category, d.SendRate, d.DeliveryRate, d.Premium})
	})
}

// Another organization's services are as if they were not there, to every call.
func TestAnothersServices(t *testing.T) {
	t.Parallel()
	w, ctx := newOffice(t), t.Context()
	w.published(prepared())
	w.put(func(s *appio.Service) { s.ID = "avvisi" })
	stranger := w.Authority(regione)
	for _, id := range []appio.ServiceID{mensa, "avvisi", "nessuno", "", "a\nb"} {
		var texts []string
		for name, call := range map[string]func() error{
			"Draft":     func() error { _, err := stranger.Draft(ctx, id); return err },
			"Submit":    func() error { _, err := stranger.Submit(ctx, id, true); return err },
			"Recall":    func() error { return stranger.Recall(ctx, id) },
			"Publish":   func() error { return stranger.Publish(ctx, id) },
			"Unpublish": func() error { return stranger.Unpublish(ctx, id) },
			"Delete":    func() error { return stranger.Delete(ctx, id) },
			"History":   func() error { _, err := stranger.History(id).Page(ctx, "", 0); return err },
		} {
			err := call()
			require.ErrorIs(t, err, appio.ErrNotFound, "%s of %q", name, id)
			texts = append(texts, err.Error())
		}
		if id != "" && !strings.Contains(string(id), "\n") {
			for _, text := range texts {
				require.Equal(t, "appio: not found: the service has no draft", text, "whether there is one is not told")
			}
		}
	}
	for _, id := range []appio.ServiceID{mensa, "avvisi"} {
		_, err := stranger.PutDraft(ctx, prepared(func(s *appio.Service) { s.ID = id }))
		require.ErrorIs(t, err, appio.ErrNotFound)
	}
	_, err := stranger.PutDraft(ctx, prepared(func(s *appio.Service) { s.ID, s.Organization = "nuovo", comune }))
	require.ErrorIs(t, err, appio.ErrForbidden)
	require.Empty(t, collect(t, stranger.Drafts()))
	live, err := w.Service(ctx, mensa)
	require.NoError(t, err)
	require.Equal(t, []any{appio.Live, comune}, []any{live.State, live.Organization})
}

func TestDraftsAreListed(t *testing.T) {
	t.Parallel()
	w, ctx := newOffice(t), t.Context()
	a := w.Authority(comune)
	var want []appio.ServiceID
	for _, id := range []appio.ServiceID{"a", "ab", "b", "è"} { // some begin alike
		_, err := a.PutDraft(ctx, prepared(func(s *appio.Service) { s.ID = id }))
		require.NoError(t, err)
		want = append(want, id)
	}
	_, err := w.Authority(regione).PutDraft(ctx, prepared(func(s *appio.Service) { s.ID = "aa" }))
	require.NoError(t, err)
	made, err := a.PutDraft(ctx, prepared(func(s *appio.Service) { s.ID = "" }))
	require.NoError(t, err)
	require.Len(t, made.ID, 26, "a new one")
	want = append([]appio.ServiceID{made.ID}, want...)
	for _, limit := range []int{1, 2, 100} {
		var got []appio.ServiceID
		var c appio.Cursor
		for {
			page, err := a.Drafts().Page(ctx, c, limit)
			require.NoError(t, err)
			require.LessOrEqual(t, len(page.Items), limit)
			for _, d := range page.Items {
				got = append(got, d.ID)
			}
			if c = page.Next; c == "" {
				break
			}
		}
		require.Equal(t, want, got)
	}
}

// Unpublishing cancels what is being sent, and nothing begins afterwards.
func TestUnpublishingStopsAtOnce(t *testing.T) {
	t.Parallel()
	w, ctx := newOffice(t), t.Context()
	w.enrol(giuseppe, appio.Auto)
	begun, underWay := w.hang()
	sender := w.published(prepared())
	w.send(sender, messageTo(giuseppe))
	end := w.run()
	<-begun
	require.NoError(t, w.Authority(comune).Unpublish(ctx, mensa))
	require.Zero(t, underWay.Load(), "it has cancelled and awaited them")
	for len(begun) > 0 {
		<-begun
	}
	w.advance(2 * time.Minute)
	end()
	w.flush()
	require.Empty(t, begun)
	require.Empty(t, w.push.deliveries())
}

// A paper is what the model of a service knows: an independent writing of what is documented.
type paper struct {
	stage             appio.Stage
	there, released   bool
	held              bool   // by the operator
	last              string // name of what the last entry of the history is about
	state             appio.ServiceState
	draft, live       string // names
	publish           bool
	changes, versions int
}

// TestServicesAgreeWithAModel does what is chosen at random to a service and holds it against a model after each step.
func TestServicesAgreeWithAModel(t *testing.T) {
	t.Parallel()
	seed := form.Seed(t)
	r := rand.New(rand.NewPCG(seed, 7))
	w, ctx := newOffice(t), t.Context()
	a := w.Authority(comune)
	w.enrol(giuseppe, appio.Auto)
	w.enrol(matteo, appio.Auto)
	names := []string{"Mensa", "Mensa e doposcuola"}
	for round := range 25 {
		id, m, steps := appio.ServiceID(fmt.Sprintf("s%03d", round)), &paper{}, []string{}
		for range 25 {
			op, name, yes := r.IntN(10), fmt.Sprintf("%s %d", names[r.IntN(2)], round), r.IntN(2) == 0
			var err error
			var want error
			switch op {
			case 0, 1:
				steps = append(steps, "edit")
				_, err = a.PutDraft(ctx, prepared(func(s *appio.Service) { s.ID, s.Name = id, name }))
				if m.there && (m.stage == appio.Submitted || m.stage == appio.Deleted) {
					want = appio.ErrConflict
					break
				}
				m.there, m.stage, m.draft, m.publish = true, appio.Editing, name, false
				m.versions++
				m.changes++
				m.last = name
				if !m.released && m.state == appio.Trial {
					m.live = name
				}
			case 2:
				steps = append(steps, fmt.Sprint("submit ", yes))
				_, err = a.Submit(ctx, id, yes)
				switch {
				case !m.there:
					want = appio.ErrNotFound
				case m.stage != appio.Editing:
					want = appio.ErrConflict
				default:
					m.stage, m.publish, m.last = appio.Submitted, yes, m.draft
					m.changes++
					if m.released && m.draft == m.live {
						m.approve()
					}
				}
			case 3:
				steps = append(steps, "approve")
				_, err = w.Approve(ctx, id, "")
				switch {
				case !m.there:
					want = appio.ErrNotFound
				case m.stage != appio.Submitted:
					want = appio.ErrConflict
				default:
					m.approve()
				}
			case 4:
				steps = append(steps, "reject")
				_, err = w.Reject(ctx, id, "", "no")
				switch {
				case !m.there:
					want = appio.ErrNotFound
				case m.stage != appio.Submitted:
					want = appio.ErrConflict
				default:
					m.stage, m.last = appio.Refused, m.draft
					m.changes++
				}
			case 5:
				steps = append(steps, "publish")
				err = a.Publish(ctx, id)
				switch {
				case !m.there:
					want = appio.ErrNotFound
				case m.stage == appio.Deleted || !m.released:
					want = appio.ErrConflict
				case m.held:
					want = appio.ErrForbidden
				case m.state != appio.Live:
					m.state = appio.Live
					m.shown()
				}
			case 6:
				steps = append(steps, "unpublish")
				err = a.Unpublish(ctx, id)
				switch {
				case !m.there:
					want = appio.ErrNotFound
				case m.state == appio.Trial && !m.released:
					want = appio.ErrConflict
				case m.state != appio.Stopped:
					m.state = appio.Stopped
					m.shown()
				}
			case 8:
				steps = append(steps, "stop")
				err = w.StopService(ctx, id, "anna", "reclami")
				switch {
				case !m.there:
					want = appio.ErrNotFound
				case m.stage == appio.Deleted:
					want = appio.ErrConflict
				case !m.held:
					m.state, m.held = appio.Stopped, true
					m.shown()
				}
			case 9:
				steps = append(steps, "allow")
				err = w.AllowService(ctx, id, "anna")
				switch {
				case !m.there:
					want = appio.ErrNotFound
				case m.stage == appio.Deleted:
					want = appio.ErrConflict
				case m.held:
					m.held = false
					if !m.released {
						m.state, m.live = appio.Trial, m.draft
					}
					m.shown()
				}
			default:
				if yes && r.IntN(3) > 0 {
					continue
				}
				steps = append(steps, "delete")
				err = a.Delete(ctx, id)
				switch {
				case !m.there:
					want = appio.ErrNotFound
				case m.stage == appio.Submitted || m.stage == appio.Deleted:
					want = appio.ErrConflict
				default:
					m.stage, m.state, m.last = appio.Deleted, appio.Stopped, m.draft
					m.changes++
				}
			}
			text := "seed " + fmt.Sprint(seed) + ": " + strings.Join(steps, ", ")
			require.ErrorIs(t, err, want, text)
			if !m.there {
				continue
			}
			d, err := a.Draft(ctx, id)
			require.NoError(t, err)
			live, err := w.Service(ctx, id)
			require.NoError(t, err)
			require.Equal(t, []any{m.stage, m.draft, m.state, m.live, m.versions, m.held}, []any{d.Stage, d.Name, live.State, live.Name, d.Version, d.Held}, text)
			history := collect(t, a.History(id))
			require.Len(t, history, m.changes, text)
			require.Equal(t, m.last, history[0].Service.Name, text)
			waits := slices.ContainsFunc(collect(t, w.Reviews()), func(d appio.Draft) bool { return d.ID == id })
			require.Equal(t, m.stage == appio.Submitted, waits, text)
			for _, to := range []fiscalcode.Person{giuseppe, matteo} {
				may := m.state == appio.Live || m.state == appio.Trial && to == giuseppe
				_, err := w.Sender(id).Send(ctx, messageTo(to))
				require.Equal(t, may, err == nil, "%s: %v", text, err)
				require.True(t, may || errors.Is(err, appio.ErrForbidden), text)
			}
		}
	}
}

func (m *paper) approve() {
	m.stage, m.released, m.live, m.last = appio.Approved, true, m.draft, m.draft
	m.changes++
	if m.publish && m.state != appio.Live && !m.held {
		m.state = appio.Live
		m.changes++
	}
}

// shown is that the live copy was published, or stopped.
func (m *paper) shown() {
	m.changes++
	if m.last = m.draft; m.released {
		m.last = m.live
	}
}

// An organization that edits what the operator has put gets it as a draft; only Entrust makes what is live count as approved.
func TestEditingWhatTheOperatorPut(t *testing.T) {
	ctx := t.Context()
	for _, entrusted := range []bool{false, true} {
		k := appiotest.New(t, nil)
		k.Service("tari")
		require.NoError(t, k.PutOrganization(ctx, appio.Organization{Code: appiotest.Organization, Name: "Comune", SignedAt: k.Now()}))
		comune := k.Authority(appiotest.Organization)
		if entrusted {
			_, err := k.Entrust(ctx, "tari", "operator")
			require.NoError(t, err)
		}
		d, err := comune.PutDraft(ctx, appio.Service{ID: "tari", Name: "TARI"})
		require.NoError(t, err)
		require.Equal(t, appio.Published, d.Publication)
		require.NoError(t, comune.Unpublish(ctx, "tari"))
		err = comune.Publish(ctx, "tari")
		if entrusted {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, appio.ErrConflict)
		}
	}
}
