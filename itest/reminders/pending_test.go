package reminders

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
)

// A pendingCase is a citizen with one message, of which a reminder is scheduled or under way.
type pendingCase struct {
	*world
	code  fiscalcode.Person
	id    appio.MessageID
	rptID pagopa.RPTID
	heard int
}

func (c *pendingCase) citizen() *appio.Citizen {
	return c.engine.Citizen(appio.Identity{Code: c.code, Level: appio.L2})
}

// dies has the process die as soon as a change is durable.
func (c *pendingCase) dies(after func(r store.Change) bool) {
	c.shaky.mu.Lock()
	defer c.shaky.mu.Unlock()
	c.shaky.last = func(changes []store.Change) bool { return slices.ContainsFunc(changes, after) }
}

func ofCitizen(c store.Change) bool { return strings.HasPrefix(string(c.Owner), "c/") }

func claims(c store.Change) bool {
	return slices.ContainsFunc(c.Put, func(r store.Record) bool { return strings.HasPrefix(string(r.Key), "q/l/") })
}

// flushes is a Flush by a process that may die of it.
func (c *pendingCase) flushes() { _, _ = c.engine.Flush(context.Background()) }

// TestNothingPendingIsLeft shows that a choice, a reading and a payment stop pending reminders in the change that stores them: the process
// dies as soon as that is durable, and no later one reminds of anything, whatever was pending.
func TestNothingPendingIsLeft(t *testing.T) {
	wait := 3 * day // until the first reminder, of either kind
	pending := map[string]func(c *pendingCase){
		"scheduled": func(*pendingCase) {},
		"waiting": func(c *pendingCase) {
			c.set(c.clock.Add(wait))
			c.away = true
			c.flushes()
			c.away = false
		},
		"under a dead engine's lease": func(c *pendingCase) {
			c.set(c.clock.Add(wait))
			c.dies(claims)
			c.flushes()
			require.True(c.t, c.shaky.isDead())
			c.reopen()
		},
	}
	ctx := context.Background()
	stops := map[string]func(c *pendingCase) error{
		"nothing":  nil,
		"read":     func(c *pendingCase) error { return c.citizen().MarkRead(ctx, c.id) },
		"archived": func(c *pendingCase) error { return c.citizen().Archive(ctx, c.id, true) },
		"unwanted": func(c *pendingCase) error {
			return c.citizen().UpdateProfile(ctx, func(p *appio.Profile) error { p.Reminders = appio.Reminders{}; return nil })
		},
		"no push": func(c *pendingCase) error {
			return c.citizen().UpdateProfile(ctx, func(p *appio.Profile) error { p.Channels = appio.On(appio.Email); return nil })
		},
		"refused": func(c *pendingCase) error { return c.citizen().SetPreference(ctx, "tari", appio.Preference{}) },
		"erased":  func(c *pendingCase) error { return c.citizen().Erase(ctx) },
		"paid": func(c *pendingCase) error {
			_, err := c.engine.Flush(ctx) // which tells the citizen's bill
			return err
		},
	}
	for was, prepare := range pending {
		for name, stop := range stops {
			for _, exclusive := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, then %s, exclusive %v", was, name, exclusive), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						c := newPendingCase(t, exclusive, name == "paid")
						prepare(c)
						require.Zero(t, c.heard)
						if name == "paid" {
							require.NoError(t, c.engine.Settle(ctx, appio.PaymentEvent{ID: "1", RPTID: c.rptID, State: appio.Paid, At: c.clock}))
						}
						if stop != nil {
							c.dies(ofCitizen)
							require.Error(t, stop(c))
							require.True(t, c.shaky.isDead(), "the change was not made")
							c.reopen()
						}
						for range 20 * 24 {
							c.set(c.clock.Add(time.Hour))
							c.flushes()
						}
						require.NoError(t, c.engine.Close())
						if stop == nil {
							require.NotZero(t, c.heard, "nothing was pending")
						} else {
							require.Zero(t, c.heard, "reminders of what is %s", name)
						}
					})
				})
			}
		}
	}
}

// newPendingCase has a message of which either its being unread or its notice is reminded of after three days.
func newPendingCase(t *testing.T, exclusive, bill bool) *pendingCase {
	c := &pendingCase{world: newWorld(t, 1, io, exclusive)}
	c.set(time.Date(2026, 3, 2, 9, 30, 0, 0, rome).UTC())
	c.world.heard = func(appio.Delivery) error {
		if c.away {
			return errAway
		}
		c.heard++
		return nil
	}
	c.code = c.people[0].code
	require.NoError(t, c.citizen().UpdateProfile(t.Context(), func(p *appio.Profile) error {
		p.Reminders = appio.Reminders{Unread: !bill, Unpaid: bill}
		return nil
	}))
	n := &notice{id: pagopa.RPTID{Creditor: comune, Notice: "300000000000000001"}, state: appio.Unpaid}
	c.notices = append(c.notices, n)
	c.rptID = n.id
	res, err := c.engine.Sender("tari").Send(t.Context(), appio.Message{
		To: c.code, Subject: "Avviso del Comune", Markdown: strings.Repeat("La informiamo che il servizio cambia orario. ", 3),
		Due: c.clock.Add(8 * day), Payment: &appio.Notice{Number: n.id.Notice, Amount: 10_00},
	})
	require.NoError(t, err)
	require.Equal(t, appio.Processed, res.Status)
	c.id = res.ID
	_, err = c.engine.Flush(t.Context())
	require.NoError(t, err)
	return c
}
