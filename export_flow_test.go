package appio_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/internal/jsonschema"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// A takeout is an export as whoever gets it reads it.
type takeout struct {
	Format  string           `json:"format"`
	Version int              `json:"version"`
	Code    string           `json:"fiscal_code"`
	Begun   time.Time        `json:"begun_at"`
	Items   []map[string]any `json:"items"`
}

// of are the items of a kind.
func (x *takeout) of(kind string) (items []map[string]any) {
	for _, item := range x.Items {
		if item["kind"] == kind {
			items = append(items, item)
		}
	}
	return items
}

// takeOut reads an export whole, and holds it against the schema.
func takeOut(t *testing.T, c *appio.Citizen) *takeout {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, c.Export(t.Context(), &b))
	schema, err := jsonschema.Parse(appio.ExportSchema())
	require.NoError(t, err)
	require.NoError(t, schema.Validate(b.Bytes()))
	x := &takeout{}
	require.NoError(t, json.Unmarshal(b.Bytes(), x))
	return x
}

func TestExport(t *testing.T) {
	t.Parallel()

	t.Run("says what the citizen has, and nothing of another", func(t *testing.T) {
		t.Parallel()
		g := &gateway{}
		w, ctx := newTown(t, withPayments(g), func(o *appio.Options) { o.Reminders = &appio.ReminderSchedule{} }), t.Context()
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(w.enrolled(matteo)))
		require.NoError(t, c.UpdateProfile(ctx, func(p *appio.Profile) error {
			p.Quiet, p.Reminders, p.Languages = hours("22:00", "07:00"), appio.Reminders{Unread: true, Unpaid: true}, []string{"it"}
			return nil
		}))
		require.NoError(t, c.SetPreference(ctx, mensa, appio.Preference{Inbox: true, Channels: appio.On(appio.Email)}))
		due := time.Date(2030, 5, 2, 21, 59, 59, 0, time.UTC)
		read := w.send(s, messageTo(giuseppe, withNotice, func(m *appio.Message) {
			m.Due, m.Language, m.Template = due, "it", appio.TemplateRef{ID: "retta", Version: 2}
			m.Translations = []appio.Translation{{Language: "en", Subject: "The school meals of March", Markdown: markdown}}
		}))
		require.NoError(t, c.MarkRead(ctx, read))
		w.flush()
		require.NoError(t, w.Settle(ctx, event("1", appio.Paid, 5)))
		w.flush()
		unread := w.send(s, messageTo(giuseppe))

		x := takeOut(t, c)
		require.Equal(t, "appio.export", x.Format)
		require.Equal(t, appio.ExportVersion, x.Version)
		require.Equal(t, string(giuseppe), x.Code)
		profile := x.of("profile")[0]
		require.Equal(t, map[string]any{"from": "22:00:00", "to": "07:00:00"}, profile["quiet_hours"])
		require.Equal(t, map[string]any{"unread": true, "deadline": false, "unpaid": true}, profile["reminders"])
		require.Len(t, profile["addresses"], 2)
		require.Equal(t, map[string]any{"email": "full"}, x.of("preference")[0]["channels"])
		ms := x.of("message")
		require.Len(t, ms, 2)
		require.Equal(t, string(read), ms[0]["id"])
		require.Equal(t, true, ms[0]["read"])
		require.Equal(t, "2030-05-02T21:59:59Z", ms[0]["due"])
		require.Equal(t, map[string]any{"id": "retta", "version": 2.0}, ms[0]["template"])
		require.Equal(t, "The school meals of March", ms[0]["translations"].([]any)[0].(map[string]any)["subject"])
		require.Equal(t, string(unread), ms[1]["id"])
		require.Equal(t, false, ms[1]["read"])
		require.Equal(t, "paid", x.of("bill")[0]["state"])
		require.Equal(t, string(notice), x.of("receipt")[0]["notice_number"])
		require.Len(t, x.of("decision"), 2)
		require.Equal(t, "Avevi scelto di ricevere i messaggi di questo servizio.", x.of("decision")[0]["reason"].(map[string]any)["it"])
		require.Equal(t, "delivered", x.of("outcomes")[0]["deliveries"].([]any)[0].(map[string]any)["result"])
		require.Len(t, x.of("open_deliveries"), 1)
		require.NotEmpty(t, x.of("reminder"))
		require.Len(t, x.of("consent"), 4)
		require.Empty(t, x.of("unreadable"))
		all, err := json.Marshal(x)
		require.NoError(t, err)
		require.NotContains(t, string(all), string(matteo))
	})

	t.Run("needs a login at level 2, and a cursor of its own", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		for _, l := range []appio.Level{0, appio.L1, -1} {
			low := w.Citizen(appio.Identity{Code: giuseppe, Level: l})
			require.ErrorIs(t, low.Export(ctx, io.Discard), appio.ErrForbidden)
			_, err := low.ExportPage(ctx, "")
			require.ErrorIs(t, err, appio.ErrForbidden)
		}
		page, err := c.ExportPage(ctx, "")
		require.NoError(t, err)
		require.NotEmpty(t, page.Next)
		_, err = w.enrol(matteo, appio.Auto).ExportPage(ctx, page.Next)
		require.ErrorIs(t, err, appio.ErrInvalid)
		require.NotContains(t, err.Error(), string(matteo))
		_, err = c.Inbox(nil).Page(ctx, page.Next, 0)
		require.ErrorIs(t, err, appio.ErrInvalid)
		_, err = c.ExportPage(ctx, appio.Cursor(giuseppe))
		require.ErrorIs(t, err, appio.ErrInvalid)
		require.ErrorIs(t, w.Citizen(appio.Identity{Code: "X", Level: appio.L2}).Export(ctx, io.Discard), appio.ErrInvalid)
	})

	t.Run("of a person who never came is empty", func(t *testing.T) {
		t.Parallel()
		w := newTown(t)
		require.Empty(t, takeOut(t, w.person(giuseppe)).Items)
	})

	t.Run("after an erasure is the proof that is left", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		w.send(s, messageTo(giuseppe))
		w.flush()
		require.NoError(t, c.Erase(ctx))
		var b bytes.Buffer
		require.ErrorIs(t, c.Export(ctx, &b), appio.ErrErasing)
		require.Zero(t, b.Len())
		w.flush()
		x := takeOut(t, c)
		for _, item := range x.Items {
			require.Contains(t, []any{"consent", "decision", "outcomes"}, item["kind"])
		}
		require.Len(t, x.of("decision"), 1)
	})

	t.Run("goes on in another process from the last page that arrived", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		const n = 200
		ms := make([]appio.Message, n)
		for i := range ms {
			ms[i] = messageTo(giuseppe)
		}
		rs, err := s.SendBatch(ctx, ms)
		require.NoError(t, err)
		for i, r := range rs {
			if i%2 == 0 {
				require.NoError(t, c.MarkRead(ctx, r.ID)) // its state is a record of its own
			}
		}
		var items []json.RawMessage
		pages := 0
		for cursor, more := appio.Cursor(""), true; more; more = cursor != "" {
			e, err := appio.New(w.store, &appio.Options{Keys: townKeys})
			require.NoError(t, err)
			page, err := e.Citizen(appio.Identity{Code: giuseppe, Level: appio.L3}).ExportPage(ctx, cursor)
			require.NoError(t, err)
			items = append(items, page.Items...)
			cursor = page.Next
			pages++
			require.NoError(t, e.Close())
		}
		require.Greater(t, pages, n/64)
		seen := map[string]bool{}
		for _, b := range items {
			var m struct {
				Kind, ID string
				Read     bool
			}
			require.NoError(t, json.Unmarshal(b, &m))
			if m.Kind == "message" {
				require.Equal(t, len(seen)%2 == 0, m.Read, "a state is with its message, also where a page ends between them")
				require.Equal(t, string(rs[len(seen)].ID), m.ID)
				seen[m.ID] = true
			}
		}
		require.Len(t, seen, n)
	})

	t.Run("is of what is there throughout, whatever comes and is delivered meanwhile", func(t *testing.T) {
		t.Parallel()
		w, ctx := newTown(t), t.Context()
		s, c := w.put(), w.enrol(giuseppe, appio.Auto)
		before := map[string]int{}
		for range 300 {
			before[string(w.send(s, messageTo(giuseppe)))] = 0
		}
		end := w.run()
		defer end()
		var items []json.RawMessage
		for cursor, more := appio.Cursor(""), true; more; more = cursor != "" {
			page, err := c.ExportPage(ctx, cursor)
			require.NoError(t, err)
			items, cursor = append(items, page.Items...), page.Next
			w.send(s, messageTo(giuseppe))
		}
		known := map[string]bool{}
		for _, b := range items {
			var m struct {
				Kind, ID string
				Message  string `json:"message_id"`
			}
			require.NoError(t, json.Unmarshal(b, &m))
			switch m.Kind {
			case "message":
				before[m.ID]++
			case "open_deliveries", "outcomes", "parked_delivery":
				known[m.Message] = true
			case "unreadable":
				t.Errorf("%s", b)
			}
		}
		for id, n := range before {
			require.Equal(t, 1, n, id)
		}
	})

	t.Run("ends with an error of the store or of the writer, and says nothing of the person", func(t *testing.T) {
		t.Parallel()
		s := newHookedStore()
		w, ctx := newTownOn(t, s), t.Context()
		c := w.enrol(giuseppe, appio.Auto)
		for n := range 5 {
			left := n
			s.onRead(func() error {
				if left--; left < 0 {
					return store.ErrFailed
				}
				return nil
			})
			var b bytes.Buffer
			err := c.Export(ctx, &b)
			require.ErrorIs(t, err, store.ErrFailed)
			require.NotContains(t, err.Error(), string(giuseppe))
			require.False(t, json.Valid(b.Bytes()))
		}
		s.onRead(nil)
		full := errors.New("no room")
		require.ErrorIs(t, c.Export(ctx, brokenPipe{full}), full)
		stopped, stop := context.WithCancel(ctx)
		stop()
		require.ErrorIs(t, c.Export(stopped, io.Discard), context.Canceled)
	})
}

type brokenPipe struct{ err error }

func (f brokenPipe) Write([]byte) (int, error) { return 0, f.err }

// correspondent is a citizen with so many messages, half of them read.
func correspondent(t testing.TB, e *appio.Engine, n int) *appio.Citizen {
	ctx := t.Context()
	c := e.Citizen(appio.Identity{Code: giuseppe, Level: appio.L2})
	require.NoError(t, e.PutService(ctx, newService()))
	require.NoError(t, c.SetMode(ctx, appio.Auto))
	for done := 0; done < n; {
		ms := make([]appio.Message, min(1000, n-done))
		for i := range ms {
			ms[i] = benchMessage(giuseppe)
		}
		rs, err := e.Sender(mensa).SendBatch(ctx, ms)
		require.NoError(t, err)
		for _, r := range rs[:1] {
			require.NoError(t, c.MarkRead(ctx, r.ID))
		}
		done += len(ms)
	}
	return c
}

// A heapWatch measures how much memory is in use, now and then, as what is written passes.
type heapWatch struct{ writes, bytes, most int }

func (h *heapWatch) Write(b []byte) (int, error) {
	if h.bytes += len(b); h.writes%200 == 0 {
		h.most = max(h.most, heap())
	}
	h.writes++
	return len(b), nil
}

func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// Not parallel: it measures the memory of all.
func TestExportHoldsAPageAtATime(t *testing.T) {
	e, err := appio.New(memstore.New(), &appio.Options{Keys: townKeys})
	require.NoError(t, err)
	defer e.Close()
	c := correspondent(t, e, 20_000)
	before, watch := heap(), &heapWatch{}
	require.NoError(t, c.Export(t.Context(), watch))
	require.Greater(t, watch.bytes, 20<<20)
	require.Less(t, watch.most-before, 4<<20, "of %d bytes", watch.bytes)
	t.Logf("%d MiB in %d pages, with %d KiB", watch.bytes>>20, watch.writes, (watch.most-before)>>10)
}

// It reads each record once, whatever the number, and with each page three more.
func TestExportReadsEachRecordOnce(t *testing.T) {
	t.Parallel()
	s := &countedStore{Store: memstore.New()}
	e, err := appio.New(s, &appio.Options{Keys: townKeys})
	require.NoError(t, err)
	defer e.Close()
	c := correspondent(t, e, 3000)
	records := len(keysOf(t, s, citizens))
	s.read = 0
	require.NoError(t, c.Export(t.Context(), io.Discard))
	require.Less(t, s.read, records+records/10)
}

// BenchmarkExport is one citizen with 100,000 messages, in a file.
func BenchmarkExport(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e := benchEngine(b, "bolt", 0)
			c := correspondent(b, e, n)
			watch := &heapWatch{writes: 1} // it measures no memory
			b.ResetTimer()
			for range b.N {
				watch.bytes = 0
				require.NoError(b, c.Export(b.Context(), watch))
			}
			b.StopTimer()
			b.SetBytes(int64(watch.bytes))
			before := heap()
			watch = &heapWatch{}
			require.NoError(b, c.Export(b.Context(), watch))
			b.ReportMetric(float64(watch.most-before)/(1<<10), "KiB-held")
			require.Less(b, watch.most-before, 16<<20)
		})
	}
}

func TestExportOfLongTexts(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	s, c := w.put(), w.enrol(giuseppe, appio.Auto)
	for i, text := range []string{strings.Repeat("à€<&\u2028\"\\ ", 1100), strings.Repeat("𝄞", 5000)} {
		id := w.send(s, messageTo(giuseppe, func(m *appio.Message) { m.Markdown = text }))
		m := takeOut(t, c).of("message")[i]
		require.Equal(t, string(id), m["id"])
		require.Equal(t, text, m["markdown"])
	}
}
