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
	c.id = c.sends("tari", c.clock.Add(8*day))
	return c
}

// sends sends a message with the notice.
func (c *pendingCase) sends(by appio.ServiceID, due time.Time) appio.MessageID {
	res, err := c.engine.Sender(by).Send(c.t.Context(), appio.Message{
		To: c.code, Subject: "Avviso del Comune", Markdown: strings.Repeat("La informiamo che il servizio cambia orario. ", 3),
		Due: due, Payment: &appio.Notice{Number: c.rptID.Notice, Amount: 10_00},
	})
	require.NoError(c.t, err)
	require.Equal(c.t, appio.Processed, res.Status)
	_, err = c.engine.Flush(c.t.Context())
	require.NoError(c.t, err)
	return res.ID
}

// TestOneNoticeTwice has the reminder of a notice wait to be tried again with one message, when another brings the notice: the next
// reminder is of that, and the only one. The process dies at the change that makes it, or does not.
func TestOneNoticeTwice(t *testing.T) {
	for _, dies := range []bool{false, true} {
		t.Run(fmt.Sprint("dies ", dies), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newPendingCase(t, true, true)
				c.set(c.clock.Add(3 * day))
				c.away = true
				c.flushes()
				second := c.sends("mensa", c.clock.Add(5*day))
				c.set(c.clock.Add(3 * day))
				c.away = false
				if dies {
					c.dies(ofCitizen)
					c.flushes()
					require.True(t, c.shaky.isDead())
					c.reopen()
				}
				var of []appio.MessageID
				c.world.heard = func(d appio.Delivery) error {
					of = append(of, d.Message)
					return nil
				}
				for range 12 {
					c.flushes()
					c.set(c.clock.Add(time.Hour))
				}
				require.Equal(t, []appio.MessageID{second}, of, "a reminder that was overtaken")
				require.NoError(t, c.engine.Close())
			})
		})
	}
}
