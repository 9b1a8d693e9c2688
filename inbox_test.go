package appio_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
)

func TestInbox(t *testing.T) {
	t.Parallel()

	ids := func(ms []appio.InboxMessage) (out []appio.MessageID) {
		for _, m := range ms {
			out = append(out, m.ID)
		}
		return out
	}

	t.Run("has each message as it was written", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put(func(s *appio.Service) { s.OtherPayees = true })
		c := w.enrol(giuseppe, appio.Auto)
		sent := appio.Message{
			To: giuseppe, Subject: "Avviso di pagamento 😀", Markdown: markdown, Due: time.Date(2026, 9, 30, 21, 59, 59, 0, time.UTC),
			Payment: &appio.Notice{
				Number: "302032002700000251", Amount: 12_34, Payee: "15376371009", InvalidAfterDue: true,
			},
			SecureChannels: true, TimeToLive: 24 * time.Hour, Key: "rata 1",
		}
		id := w.send(s, sent)
		sent.Key = "" // it is the sender's
		want := appio.InboxMessage{Message: sent, ID: id, Service: mensa}

		got, err := c.Message(ctx, id)
		require.NoError(t, err)
		require.WithinDuration(t, w.now(), got.SentAt, time.Minute)
		want.SentAt = got.SentAt
		require.Equal(t, want, got)
		require.Equal(t, []appio.InboxMessage{want}, collect(t, c.Inbox(nil)))

		_, err = w.enrol(matteo, appio.Auto).Message(ctx, id)
		require.ErrorIs(t, err, appio.ErrNotFound, "it is another's")
		for _, id := range []appio.MessageID{"", "x", "01ARZ3NDEKTSV4RRFFQ69G5FAV", appio.MessageID(string(id) + "+")} {
			_, err = c.Message(ctx, id)
			require.ErrorIs(t, err, appio.ErrNotFound)
			require.ErrorIs(t, c.MarkRead(ctx, id), appio.ErrNotFound)
			require.ErrorIs(t, c.Archive(ctx, id, true), appio.ErrNotFound)
		}
	})

	t.Run("lists the newest first, by pages of any size, forwards and back", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		const n = 11
		var all []appio.MessageID
		for range n {
			all = append(all, w.send(s, messageTo(giuseppe)))
		}
		require.True(t, slices.IsSorted(all), "later messages have greater ids")
		slices.Reverse(all)
		for _, read := range []string{"none", "some", "every"} { // a message that was read is two records
			for i, id := range all {
				if read == "every" || read == "some" && i%3 == 0 {
					require.NoError(t, c.MarkRead(ctx, id))
				}
			}
			require.Equal(t, all, ids(collect(t, c.Inbox(nil))))
			for size := 1; size <= n+1; size++ {
				name := fmt.Sprintf("%s read, pages of %d", read, size)
				var pages []appio.Page[appio.InboxMessage]
				var cursor appio.Cursor
				for {
					p, err := c.Inbox(nil).Page(ctx, cursor, size)
					require.NoError(t, err, name)
					pages = append(pages, p)
					if cursor = p.Next; cursor == "" {
						break
					}
					require.Len(t, p.Items, size, name)
				}
				var got []appio.MessageID
				for _, p := range pages {
					got = append(got, ids(p.Items)...)
				}
				require.Equal(t, all, got, name)
				require.Len(t, pages, (n+size-1)/size, name)
				require.Empty(t, pages[0].Prev, name)

				at := pages[len(pages)-1]
				for i := len(pages) - 2; i >= 0; i-- {
					p, err := c.Inbox(nil).Page(ctx, at.Prev, size)
					require.NoError(t, err, name)
					require.Equal(t, ids(pages[i].Items), ids(p.Items), "%s: back to page %d", name, i)
					require.Equal(t, i == 0, p.Prev == "", "%s: back to page %d", name, i)
					forth, err := c.Inbox(nil).Page(ctx, p.Next, size)
					require.NoError(t, err, name)
					require.Equal(t, ids(pages[i+1].Items), ids(forth.Items), "%s: forth from page %d", name, i)
					at = p
				}
			}
		}
	})

	t.Run("a page that follows stays where it was when messages come", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		var all []appio.MessageID
		for range 4 {
			all = append(all, w.send(s, messageTo(giuseppe)))
		}
		first, err := c.Inbox(nil).Page(ctx, "", 2)
		require.NoError(t, err)
		newer := w.send(s, messageTo(giuseppe))
		second, err := c.Inbox(nil).Page(ctx, first.Next, 2)
		require.NoError(t, err)
		require.Equal(t, []appio.MessageID{all[1], all[0]}, ids(second.Items))
		back, err := c.Inbox(nil).Page(ctx, second.Prev, 3)
		require.NoError(t, err)
		require.Equal(t, []appio.MessageID{newer, all[3], all[2]}, ids(back.Items))
	})

	t.Run("a page beyond the end is empty and leads back", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		var all []appio.MessageID
		for range 4 {
			all = append(all, w.send(s, messageTo(giuseppe)))
		}
		first, err := c.Inbox(nil).Page(ctx, "", 2)
		require.NoError(t, err)
		require.NoError(t, c.Archive(ctx, all[0], true))
		require.NoError(t, c.Archive(ctx, all[1], true))
		empty, err := c.Inbox(nil).Page(ctx, first.Next, 2)
		require.NoError(t, err)
		require.Empty(t, empty.Items)
		require.Empty(t, empty.Next)
		back, err := c.Inbox(nil).Page(ctx, empty.Prev, 1)
		require.NoError(t, err)
		require.Len(t, back.Items, 1)
		require.NotEqual(t, all[0], back.Items[0].ID)
	})

	t.Run("no page has more than a hundred", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		ms := make([]appio.Message, 250)
		for i := range ms {
			ms[i] = messageTo(giuseppe)
		}
		_, err := s.SendBatch(ctx, ms)
		require.NoError(t, err)
		for _, limit := range []int{0, 100, 101, 1 << 30} {
			p, err := c.Inbox(nil).Page(ctx, "", limit)
			require.NoError(t, err)
			require.Len(t, p.Items, 100)
			require.NotEmpty(t, p.Next)
		}
		_, err = c.Inbox(nil).Page(ctx, "", -1)
		requireField(t, err, "limit", "-1")
		require.Len(t, collect(t, c.Inbox(nil)), 250)
		seen := 0
		for range c.Inbox(nil).All(ctx) {
			if seen++; seen == 120 {
				break // the reader may stop anywhere
			}
		}
	})

	t.Run("a cursor is of one list of one person", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		for range 3 {
			w.send(s, messageTo(giuseppe))
		}
		p, err := c.Inbox(nil).Page(ctx, "", 1)
		require.NoError(t, err)
		require.Regexp(t, `^[A-Za-z0-9_-]+$`, string(p.Next), "it is safe in a URL")
		for name, l := range map[string]appio.List[appio.InboxMessage]{
			"the archive": c.Inbox(&appio.InboxOptions{Archived: true}), "one service": c.Inbox(&appio.InboxOptions{Service: mensa}),
			"another's": w.enrol(matteo, appio.Auto).Inbox(nil),
		} {
			_, err := l.Page(ctx, p.Next, 1)
			requireField(t, err, "Cursor", string(p.Next))
			require.ErrorIs(t, err, appio.ErrInvalid, name)
		}
		for i := range p.Next {
			b := []byte(p.Next)
			b[i] ^= 1
			_, err := c.Inbox(nil).Page(ctx, appio.Cursor(b), 1)
			require.ErrorIs(t, err, appio.ErrInvalid)
		}
		_, err = c.Inbox(nil).Page(ctx, "x", 1)
		require.ErrorIs(t, err, appio.ErrInvalid)
	})

	t.Run("is by service, and apart from the archive", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s, other := w.put(), w.put(func(s *appio.Service) { s.ID = "tari" })
		c := w.enrol(giuseppe, appio.Auto)
		var of = map[appio.ServiceID][]appio.MessageID{}
		for i := range 30 {
			by := []*appio.Sender{s, other}[min(i%5, 1)]
			of[by.ID()] = slices.Insert(of[by.ID()], 0, w.send(by, messageTo(giuseppe)))
		}
		require.Equal(t, of[mensa], ids(collect(t, c.Inbox(&appio.InboxOptions{Service: mensa}))))
		require.Equal(t, of["tari"], ids(collect(t, c.Inbox(&appio.InboxOptions{Service: "tari"}))))
		require.Empty(t, collect(t, c.Inbox(&appio.InboxOptions{Service: "nobody"})))

		for _, id := range of[mensa] {
			require.NoError(t, c.Archive(ctx, id, true))
		}
		require.Equal(t, of["tari"], ids(collect(t, c.Inbox(nil))))
		require.Equal(t, of[mensa], ids(collect(t, c.Inbox(&appio.InboxOptions{Archived: true}))))
		require.Empty(t, collect(t, c.Inbox(&appio.InboxOptions{Archived: true, Service: "tari"})))
		require.NoError(t, c.Archive(ctx, of[mensa][0], false))
		require.Equal(t, of[mensa][1:], ids(collect(t, c.Inbox(&appio.InboxOptions{Archived: true}))))
		require.Len(t, collect(t, c.Inbox(nil)), len(of["tari"])+1)
	})

	t.Run("is between two messages, neither of them with it", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c := w.enrol(giuseppe, appio.Auto)
		var all []appio.MessageID
		for i := range 7 {
			all = append(all, w.send(s, messageTo(giuseppe)))
			if i%2 == 0 { // it is two records then
				require.NoError(t, c.MarkRead(ctx, all[i]))
			}
		}
		slices.Reverse(all)
		never := appio.MessageID("00000000000000000000000000")
		for newest := range all {
			for oldest := range all {
				o := appio.InboxOptions{Before: all[newest], After: all[oldest]}
				require.Equal(t, all[min(newest+1, oldest):oldest], append([]appio.MessageID{}, ids(collect(t, c.Inbox(&o)))...))
			}
			require.Equal(t, all[newest+1:], append([]appio.MessageID{}, ids(collect(t, c.Inbox(&appio.InboxOptions{Before: all[newest], After: never})))...))
			require.Equal(t, all[:newest], append([]appio.MessageID{}, ids(collect(t, c.Inbox(&appio.InboxOptions{After: all[newest]})))...))
		}
		// By pages, there and back.
		l := c.Inbox(&appio.InboxOptions{Before: all[0], After: all[5]})
		first, err := l.Page(ctx, "", 2)
		require.NoError(t, err)
		second, err := l.Page(ctx, first.Next, 2)
		require.NoError(t, err)
		require.Equal(t, [][]appio.MessageID{all[1:3], all[3:5]}, [][]appio.MessageID{ids(first.Items), ids(second.Items)})
		require.Empty(t, second.Next)
		back, err := l.Page(ctx, second.Prev, 2)
		require.NoError(t, err)
		require.Equal(t, all[1:3], ids(back.Items))
		_, err = c.Inbox(nil).Page(ctx, first.Next, 2)
		require.ErrorIs(t, err, appio.ErrInvalid, "the cursor is of another list")
		for _, o := range []appio.InboxOptions{{Before: "x"}, {After: all[0] + "+"}} {
			_, err = c.Inbox(&o).Page(ctx, "", 2)
			require.ErrorIs(t, err, appio.ErrInvalid)
		}
	})

	t.Run("a filter that leaves nearly everything out gives pages that lead on", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s, other := w.put(), w.put(func(s *appio.Service) { s.ID = "tari" })
		c := w.enrol(giuseppe, appio.Auto)
		var want []appio.MessageID
		for range 3 {
			want = slices.Insert(want, 0, w.send(s, messageTo(giuseppe)))
			for range 2 {
				ms := make([]appio.Message, 150)
				for i := range ms {
					ms[i] = messageTo(giuseppe)
				}
				_, err := other.SendBatch(ctx, ms)
				require.NoError(t, err)
			}
		}
		mine := c.Inbox(&appio.InboxOptions{Service: mensa})
		require.Equal(t, want, ids(collect(t, mine)))
		var got []appio.MessageID
		var cursor, back appio.Cursor
		for pages := 0; pages == 0 || cursor != ""; pages++ {
			require.Less(t, pages, 1000, "the end is reached")
			p, err := mine.Page(ctx, cursor, 1)
			require.NoError(t, err)
			got = append(got, ids(p.Items)...)
			cursor = p.Next
			if p.Prev != "" {
				back = p.Prev
			}
		}
		require.Equal(t, want, got)
		got = nil
		for pages := 0; back != ""; pages++ {
			require.Less(t, pages, 1000, "the beginning is reached")
			p, err := mine.Page(ctx, back, 1)
			require.NoError(t, err)
			got = slices.Insert(got, 0, ids(p.Items)...)
			back = p.Prev
		}
		require.Equal(t, want[:2], got)
	})
}

func TestMarkRead(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	s := w.put()
	c := w.enrol(giuseppe, appio.Auto)
	id := w.send(s, messageTo(giuseppe))
	get := func() appio.InboxMessage {
		m, err := c.Message(ctx, id)
		require.NoError(t, err)
		list := collect(t, c.Inbox(&appio.InboxOptions{Archived: m.Archived}))
		require.Equal(t, []appio.InboxMessage{m}, list)
		return m
	}
	m := get()
	require.False(t, m.Read)
	require.Zero(t, m.ReadAt)

	require.NoError(t, c.MarkRead(ctx, id))
	first := get()
	require.True(t, first.Read)
	require.WithinDuration(t, w.now(), first.ReadAt, time.Minute)

	w.advance(time.Hour)
	require.NoError(t, c.MarkRead(ctx, id))
	require.Equal(t, first, get(), "a second time changes nothing")

	require.NoError(t, c.Archive(ctx, id, true))
	m = get()
	require.True(t, m.Archived)
	require.Equal(t, first.ReadAt, m.ReadAt)
	require.NoError(t, c.Archive(ctx, id, false))
	require.Equal(t, first, get(), "it is for good")

	require.ErrorIs(t, w.enrol(matteo, appio.Auto).MarkRead(ctx, id), appio.ErrNotFound)
	require.ErrorIs(t, w.person(personNumber(0)).MarkRead(ctx, id), appio.ErrNotFound)
}

func TestChangeState(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	s := w.put()
	c := w.enrol(giuseppe, appio.Auto)
	id := w.send(s, messageTo(giuseppe))
	yes, no := true, false
	change := func(change appio.StateChange) appio.MessageState {
		got, err := c.ChangeState(ctx, id, change)
		require.NoError(t, err)
		m, err := c.Message(ctx, id)
		require.NoError(t, err)
		require.Equal(t, appio.MessageState{ReadAt: m.ReadAt, Read: m.Read, Archived: m.Archived}, got)
		return got
	}
	require.Zero(t, change(appio.StateChange{}))
	require.Equal(t, appio.MessageState{Archived: true}, change(appio.StateChange{Archived: &yes}))
	both := change(appio.StateChange{Read: true, Archived: &no})
	require.Equal(t, appio.MessageState{ReadAt: both.ReadAt, Read: true}, both)
	require.False(t, both.ReadAt.IsZero())
	both.Archived = true
	require.Equal(t, both, change(appio.StateChange{Archived: &yes}), "what was read stays read")
	require.Equal(t, both, change(appio.StateChange{Read: true}))
	require.Equal(t, both, change(appio.StateChange{}))
	_, err := w.enrol(matteo, appio.Auto).ChangeState(ctx, id, appio.StateChange{Read: true})
	require.ErrorIs(t, err, appio.ErrNotFound)
}

func TestSandbox(t *testing.T) {
	t.Parallel()

	fill := func(w *town, s *appio.Sender, n int) {
		ms := make([]appio.Message, n)
		for i := range ms {
			ms[i] = messageTo(fiscalcode.Sandbox)
		}
		_, err := s.SendBatch(w.t.Context(), ms)
		require.NoError(w.t, err)
	}

	t.Run("keeps its last thousand messages, and others keep all", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s := w.put()
		c, other := w.enrol(fiscalcode.Sandbox, appio.Auto), w.enrol(giuseppe, appio.Auto)
		oldest := w.send(s, messageTo(fiscalcode.Sandbox))
		require.NoError(t, c.MarkRead(ctx, oldest))
		ms := make([]appio.Message, 1300)
		for i := range ms {
			ms[i] = messageTo([]fiscalcode.Person{fiscalcode.Sandbox, giuseppe}[i%2])
		}
		_, err := s.SendBatch(ctx, ms)
		require.NoError(t, err)
		fill(w, s, 650)
		all := collect(t, c.Inbox(nil))
		require.Len(t, all, 1301)

		w.advance(time.Minute)
		w.flush()
		require.Equal(t, all[:1000], collect(t, c.Inbox(nil)), "the newest stay")
		_, err = c.Message(ctx, oldest)
		require.ErrorIs(t, err, appio.ErrNotFound)
		_, err = s.Status(ctx, fiscalcode.Sandbox, oldest)
		require.ErrorIs(t, err, appio.ErrNotFound)
		require.Len(t, collect(t, other.Inbox(nil)), 650)
	})

	t.Run("and the bills of these", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t, withPayments(&gateway{})), t.Context()
		s := w.put()
		c := w.enrol(fiscalcode.Sandbox, appio.Auto)
		id := func(i int) pagopa.RPTID {
			return pagopa.RPTID{Creditor: comune, Notice: pagopa.NoticeNumber(fmt.Sprintf("3%017d", i))}
		}
		send := func(from, to int) {
			ms := make([]appio.Message, 0, to-from)
			for i := from; i < to; i++ {
				ms = append(ms, messageTo(fiscalcode.Sandbox, func(m *appio.Message) { m.Payment = &appio.Notice{Number: id(i).Notice, Amount: 1} }))
			}
			_, err := s.SendBatch(ctx, ms)
			require.NoError(t, err)
			w.flush()
		}
		send(0, 300)
		require.NoError(t, w.Settle(ctx, appio.PaymentEvent{ID: "1", RPTID: id(7), State: appio.Paid, At: w.now()}))
		w.flush()
		require.Len(t, collect(t, c.Payments()), 1)
		send(300, 1200)
		send(5, 6) // a notice of the first, in a message of the last
		w.advance(time.Minute)
		w.flush()
		require.Len(t, collect(t, c.Inbox(nil)), 1000)
		require.Empty(t, collect(t, c.Payments()))
		all := bills(t, c)
		require.Len(t, all, 1000)
		_, err := c.Bill(ctx, id(5))
		require.NoError(t, err)
		w.sound()
	})

	t.Run("also where messages come without a pause", func(t *testing.T) {
		t.Parallel()
		w := newTown(t)
		s := w.put()
		c := w.enrol(fiscalcode.Sandbox, appio.Auto)
		for range 25 {
			fill(w, s, 60)
			w.advance(5 * time.Second)
			w.flush()
		}
		require.LessOrEqual(t, len(collect(t, c.Inbox(nil))), 1200)
	})
}

func TestInboxPassed(t *testing.T) {
	t.Parallel()
	w, ctx := newTown(t), t.Context()
	s, c := w.put(), w.enrol(giuseppe, appio.Auto)
	for range 5 {
		w.send(s, messageTo(giuseppe))
	}
	first, err := c.Inbox(nil).Page(ctx, "", 2)
	require.NoError(t, err)
	id, err := c.InboxPassed(nil, first.Next)
	require.NoError(t, err)
	require.Equal(t, first.Items[1].ID, id)
	second, err := c.Inbox(nil).Page(ctx, first.Next, 2)
	require.NoError(t, err)
	for name, cursor := range map[string]appio.Cursor{"none": "", "a Prev": second.Prev, "a text": "nonsense"} {
		_, err := c.InboxPassed(nil, cursor)
		require.ErrorIs(t, err, appio.ErrInvalid, name)
	}
	_, err = c.InboxPassed(&appio.InboxOptions{Archived: true}, first.Next)
	require.ErrorIs(t, err, appio.ErrInvalid, "another list's")
	_, err = w.person(matteo).InboxPassed(nil, first.Next)
	require.ErrorIs(t, err, appio.ErrInvalid, "another citizen's")
}
