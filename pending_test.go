package appio_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

func TestPendingIsDecidedAgain(t *testing.T) {
	t.Parallel()
	update := func(f func(p *appio.Profile)) func(w *town, c *appio.Citizen) error {
		return func(w *town, c *appio.Citizen) error {
			return c.UpdateProfile(w.t.Context(), func(p *appio.Profile) error { f(p); return nil })
		}
	}
	for _, c := range []struct {
		name   string
		change func(w *town, c *appio.Citizen) error
		email  string // cause of its end; empty: delivered
		push   string
	}{
		{"nothing changed", func(*town, *appio.Citizen) error { return nil }, "", ""},
		{"the service was refused", func(w *town, c *appio.Citizen) error {
			return c.SetPreference(w.t.Context(), mensa, appio.Preference{})
		}, "service-refused", "service-refused"},
		{"one channel was refused", func(w *town, c *appio.Citizen) error {
			return c.SetPreference(w.t.Context(), mensa, appio.Preference{Inbox: true, Channels: appio.On(appio.Email)})
		}, "", "channel-refused"},
		{"another service was refused", func(w *town, c *appio.Citizen) error {
			w.put(func(s *appio.Service) { s.ID = "tari" })
			return c.SetPreference(w.t.Context(), "tari", appio.Preference{})
		}, "", ""},
		{"the mode changed", func(w *town, c *appio.Citizen) error { return c.SetMode(w.t.Context(), appio.Manual) }, "mode-manual", "mode-manual"},
		{"a master switch was put out", update(func(p *appio.Profile) { p.Channels[appio.Email] = appio.None }), "channel-off", ""},
		{"the inbox was closed", update(func(p *appio.Profile) { p.Inbox = false }), "inbox-off", "inbox-off"},
		{"the address was removed", update(func(p *appio.Profile) { p.Addresses = p.Addresses[1:] }), "no-address", ""},
		{"the address became another channel's", update(func(p *appio.Profile) { p.Addresses[0].Channel = "pec" }), "no-address", ""},
		{"the address is no longer proved", update(func(p *appio.Profile) { p.Addresses[0].ValidatedAt = time.Time{} }), "not-validated", ""},
		{"the address changed and is not proved", update(func(p *appio.Profile) { p.Addresses[0].Value = "nuova@example.it" }), "not-validated", ""},
		{"the service was stopped", func(w *town, _ *appio.Citizen) error {
			w.put(func(s *appio.Service) { s.State = appio.Stopped })
			return nil
		}, "service-stopped", "service-stopped"},
		{"the service went back to trial without the recipient", func(w *town, _ *appio.Citizen) error {
			w.put(func(s *appio.Service) { s.State, s.Trial = appio.Trial, []fiscalcode.Person{matteo} })
			return nil
		}, "service-stopped", "service-stopped"},
		{"the service went back to trial with the recipient", func(w *town, _ *appio.Citizen) error {
			w.put(func(s *appio.Service) { s.State, s.Trial = appio.Trial, []fiscalcode.Person{giuseppe} })
			return nil
		}, "", ""},
		{"the service became secure", func(w *town, _ *appio.Citizen) error {
			w.put(func(s *appio.Service) { s.SecureChannels = true })
			return nil
		}, "secure-channels", ""},
		{"the service became special", func(w *town, _ *appio.Citizen) error {
			w.put(func(s *appio.Service) { s.Category = appio.Special })
			return nil
		}, "not-activated", "not-activated"},
		{"the citizen was erased", func(w *town, c *appio.Citizen) error { return c.Erase(w.t.Context()) }, "-", "-"},
	} {
		t.Run("after "+c.name, func(t *testing.T) {
			t.Parallel()
			w := newTown(t)
			s := w.put()
			p := w.enrol(giuseppe, appio.Auto)
			id := w.send(s, messageTo(giuseppe))
			require.NoError(t, c.change(w, p))
			tried := 0
			for _, cause := range []string{c.email, c.push} {
				if cause == "" {
					tried++
				}
			}
			require.Equal(t, tried, w.flush())
			if c.email == "-" {
				require.Empty(t, openWork(t, w.store))
				return
			}
			require.Len(t, w.explain(giuseppe, id).Outcomes, 2)
			for _, o := range w.explain(giuseppe, id).Outcomes {
				want := map[string]string{appio.Email: c.email, appio.Push: c.push}[o.Channel]
				require.Equal(t, want, o.Cause)
				require.Equal(t, want != "", o.Result == appio.OutcomeVoid)
				require.Equal(t, want == "", o.Result == appio.OutcomeDelivered)
			}
			require.True(t, appio.Decide(w.explain(giuseppe, id).Facts).Equal(w.explain(giuseppe, id).Decision), "the first decision stays as it was")
			require.Empty(t, openWork(t, w.store))
		})
	}

	t.Run("less may be shown than when it was sent", func(t *testing.T) {
		t.Parallel()
		w := newTown(t)
		s := w.put()
		w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe))
		w.put(func(s *appio.Service) { s.SecureChannels = true })
		w.flush()
		require.Len(t, w.push.deliveries(), 1)
		d := w.push.deliveries()[0]
		require.Equal(t, appio.Generic, d.Content)
		require.Empty(t, d.Subject+d.Markdown)
	})

	t.Run("a message that was secure stays so", func(t *testing.T) {
		t.Parallel()
		w := newTown(t)
		s := w.put(func(s *appio.Service) { s.SecureChannels = true })
		w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe, func(m *appio.Message) { m.SecureChannels = true }))
		w.put()
		w.flush()
		require.Empty(t, w.email.deliveries())
		require.Equal(t, appio.Generic, w.push.deliveries()[0].Content)
	})

	t.Run("an address that changed and was proved gets it", func(t *testing.T) {
		t.Parallel()
		w := newTown(t)
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe))
		require.NoError(t, c.UpdateProfile(t.Context(), func(p *appio.Profile) error {
			p.Addresses[0].Value, p.Addresses[0].ValidatedAt = "nuova@example.it", time.Now()
			return nil
		}))
		w.flush()
		require.Len(t, w.email.deliveries(), 1)
		require.Equal(t, "nuova@example.it", w.email.deliveries()[0].Address.Value)
	})

	t.Run("of two addresses each is for itself", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Addresses = append(p.Addresses, appio.Address{Channel: appio.Email, Value: "due@example.it", ValidatedAt: time.Now()})
			return nil
		}))
		id := w.send(s, messageTo(giuseppe))
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Addresses[0].Channel, p.Addresses[0].ValidatedAt = "pec", time.Now()
			return nil
		}))
		w.flush()
		require.Len(t, w.email.deliveries(), 1)
		require.Equal(t, "due@example.it", w.email.deliveries()[0].Address.Value)
		require.ElementsMatch(t, []appio.OutcomeResult{appio.OutcomeVoid, appio.OutcomeDelivered}, w.outcomes(giuseppe, id, appio.Email))
	})

	t.Run("also between two attempts", func(t *testing.T) {
		t.Parallel()
		w := newTown(t)
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		w.email.answer = func(context.Context, appio.Delivery) error { return errProvider }
		id := w.send(s, messageTo(giuseppe))
		w.flush()
		require.NoError(t, c.SetPreference(t.Context(), mensa, appio.Preference{Inbox: true, Channels: appio.On(appio.Push)}))
		require.Zero(t, w.flush(), "the clean-up ends it at once")
		o := w.explain(giuseppe, id).Outcomes
		require.Len(t, o, 2)
		require.Equal(t, appio.OutcomeVoid, o[1].Result)
		require.Equal(t, 1, o[1].Attempts)
		require.Empty(t, openWork(t, w.store))
	})
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	// hold lets e-mail hang until it is released, whatever becomes of its context if deaf.
	hold := func(w *town, deaf bool) (release func(), cancelled *atomic.Int32) {
		gate, open := newGate(w.t)
		cancelled = &atomic.Int32{}
		w.email.answer = func(ctx context.Context, d appio.Delivery) error {
			select {
			case <-gate:
				return nil
			case <-ctx.Done():
				cancelled.Add(1)
			}
			if deaf {
				<-gate
				return nil
			}
			return context.Cause(ctx)
		}
		return open, cancelled
	}

	inBubble(t, "cancels what it refuses and returns when that has ended", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		_, cancelled := hold(w, false)
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		end := w.run()
		id := w.send(s, messageTo(giuseppe))
		time.Sleep(2 * time.Second)
		start := time.Now()
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{}))
		require.Zero(t, time.Since(start))
		require.EqualValues(t, 1, cancelled.Load())
		time.Sleep(2 * time.Second)
		require.Empty(t, w.email.deliveries())
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeVoid}, w.outcomes(giuseppe, id, appio.Email))
		require.Zero(t, w.explain(giuseppe, id).Outcomes[1].Attempts, "it was not the channel's fault")
		end()
	})

	inBubble(t, "does not touch what it allows", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		release, cancelled := hold(w, false)
		s := w.put()
		w.put(func(s *appio.Service) { s.ID = "tari" })
		c := w.enrol(giuseppe, appio.Auto)
		end := w.run()
		id := w.send(s, messageTo(giuseppe))
		time.Sleep(2 * time.Second)
		start := time.Now()
		require.NoError(t, c.SetPreference(ctx, "tari", appio.Preference{}))
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true, Channels: appio.On(appio.Email)}))
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Addresses = p.Addresses[:1]; return nil }))
		w.put(func(s *appio.Service) { s.Name = "Mensa e merende" })
		require.Zero(t, time.Since(start))
		require.Zero(t, cancelled.Load())
		release()
		synctest.Wait()
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeDelivered}, w.outcomes(giuseppe, id, appio.Email))
		end()
	})

	inBubble(t, "names what does not end within its wait, and holds for all that comes later", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		release, _ := hold(w, true)
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		end := w.run()
		id := w.send(s, messageTo(giuseppe))
		time.Sleep(2 * time.Second)
		start := time.Now()
		err := c.SetPreference(ctx, mensa, appio.Preference{})
		require.Equal(t, 5*time.Second, time.Since(start))
		var inFlight *appio.InFlightError
		require.ErrorAs(t, err, &inFlight)
		require.Len(t, inFlight.Deliveries, 1)
		p, err := c.Preference(ctx, mensa)
		require.NoError(t, err)
		require.False(t, p.Inbox, "it is stored")
		r, err := s.Send(ctx, messageTo(giuseppe))
		require.NoError(t, err)
		require.Equal(t, appio.Rejected, r.Status)
		release()
		synctest.Wait()
		o := w.explain(giuseppe, id).Outcomes
		require.Equal(t, inFlight.Deliveries[0], o[1].ID)
		require.Equal(t, appio.OutcomeDelivered, o[1].Result, "what was under way says what became of it")
		end()
	})

	for name, revoke := range map[string]func(ctx context.Context, w *town, c *appio.Citizen) error{
		"of a master switch": func(ctx context.Context, _ *town, c *appio.Citizen) error {
			return c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Channels[appio.Email] = appio.None; return nil })
		},
		"from full to generic": func(ctx context.Context, _ *town, c *appio.Citizen) error {
			return c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Channels[appio.Email] = appio.Generic; return nil })
		},
		"by a change of mode": func(ctx context.Context, _ *town, c *appio.Citizen) error { return c.SetMode(ctx, appio.Manual) },
		"by a change of address": func(ctx context.Context, _ *town, c *appio.Citizen) error {
			return c.UpdateProfile(ctx, func(p *appio.Profile) error {
				p.Addresses[0].Value, p.Addresses[0].ValidatedAt = "nuova@example.it", time.Now()
				return nil
			})
		},
		"by an address that is not proved any more": func(ctx context.Context, _ *town, c *appio.Citizen) error {
			return c.UpdateProfile(ctx, func(p *appio.Profile) error { p.Addresses[0].ValidatedAt = time.Time{}; return nil })
		},
		"by erasure": func(ctx context.Context, _ *town, c *appio.Citizen) error { return c.Erase(ctx) },
		"by a stop of the service": func(ctx context.Context, w *town, _ *appio.Citizen) error {
			return stop(ctx, w)
		},
		"by secure channels": func(ctx context.Context, w *town, _ *appio.Citizen) error {
			return w.PutService(ctx, newService(func(s *appio.Service) { s.SecureChannels = true }))
		},
		"by a token": func(ctx context.Context, w *town, _ *appio.Citizen) error {
			return w.Withdraw(ctx, w.email.deliveries()[0].Withdraw)
		},
	} {
		inBubble(t, name+" cancels too", func(t *testing.T) {
			w := newTown(t)
			s := w.put()
			c := w.enrol(giuseppe, appio.Auto)
			w.send(s, messageTo(giuseppe))
			w.flush()
			_, cancelled := hold(w, false)
			end := w.run()
			w.send(s, messageTo(giuseppe))
			time.Sleep(2 * time.Second)
			require.Zero(t, cancelled.Load())
			require.NoError(t, revoke(t.Context(), w, c))
			require.EqualValues(t, 1, cancelled.Load())
			end()
		})
	}

	inBubble(t, "by an end of the activation cancels too", func(t *testing.T) {
		w, ctx := newTown(t), t.Context()
		_, cancelled := hold(w, false)
		s := w.put(func(s *appio.Service) { s.Category = appio.Special })
		w.enrol(giuseppe, appio.Auto)
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Active, time.Time{}))
		end := w.run()
		w.send(s, messageTo(giuseppe))
		time.Sleep(2 * time.Second)
		require.NoError(t, s.Activate(ctx, giuseppe, appio.Inactive, time.Time{}))
		require.EqualValues(t, 1, cancelled.Load())
		end()
	})

	inBubble(t, "from inside a delivery does not wait for its own", func(t *testing.T) {
		w := newTown(t)
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		var inside error
		var took time.Duration
		w.email.answer = func(ctx context.Context, d appio.Delivery) error {
			start := time.Now()
			inside = c.SetPreference(ctx, mensa, appio.Preference{})
			took = time.Since(start)
			return nil
		}
		id := w.send(s, messageTo(giuseppe))
		w.flush()
		require.NoError(t, inside)
		require.Zero(t, took)
		require.Equal(t, []appio.OutcomeResult{appio.OutcomeDelivered}, w.outcomes(giuseppe, id, appio.Email))
	})

	inBubble(t, "whose context ends while it waits is stored, and names what is under way", func(t *testing.T) {
		w := newTown(t)
		release, _ := hold(w, true)
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		end := w.run()
		w.send(s, messageTo(giuseppe))
		time.Sleep(2 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var inFlight *appio.InFlightError
		require.ErrorAs(t, c.SetMode(ctx, appio.Manual), &inFlight)
		require.Len(t, inFlight.Deliveries, 1)
		p, err := c.Profile(t.Context())
		require.NoError(t, err)
		require.Equal(t, appio.Manual, p.Mode)
		release()
		end()
	})
}
