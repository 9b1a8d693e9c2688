package appio

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// loaded is a memory store with these records, those of an owner in one change or more.
func loaded(t testing.TB, records []store.Record) store.Store {
	t.Helper()
	s := memstore.New()
	t.Cleanup(func() { s.Close() })
	revs := map[store.Owner]uint64{}
	for _, r := range records {
		errs, err := s.Commit(t.Context(), []store.Change{{Owner: r.Owner, Rev: revs[r.Owner], Put: []store.Record{r}}})
		require.NoError(t, err)
		require.Empty(t, errs)
		revs[r.Owner]++
	}
	return s
}

func inspectAll(t testing.TB, s store.Store, ring Keyring) (Inventory, []Finding) {
	t.Helper()
	var found []Finding
	in, err := Inspect(t.Context(), s, ring, func(f Finding) { found = append(found, f) })
	require.NoError(t, err)
	require.EqualValues(t, len(found), in.Findings)
	for _, f := range found { // nothing of a person
		text := strings.ToLower(f.String())
		for _, code := range []string{string(anna), string(bruno), string(elena), string(gino), "example.it", "tassa sui rifiuti"} {
			require.NotContains(t, text, strings.ToLower(code))
		}
	}
	return in, found
}

func TestInspect(t *testing.T) {
	t.Parallel()
	ring := RandomKeys()
	w := newWorld(t, ring)
	sound := loaded(t, w.dump)

	t.Run("finds no fault with what an engine wrote, and counts it", func(t *testing.T) {
		for _, keys := range []Keyring{ring, nil} {
			in, found := inspectAll(t, sound, keys)
			require.Empty(t, found)
			require.Equal(t, map[string]int64{"citizen": 8, "service": 5, "organization": 1, "API key": 3, "store": 1, "statistics": 1}, in.Owners)
			kinds := map[string]int64{}
			for _, r := range w.dump {
				kinds[recordKind(r.Owner, r.Key)]++
			}
			require.Equal(t, kinds, in.Records)
			require.EqualValues(t, 1, in.Records["leased work"])
			require.EqualValues(t, 1, in.Records["quarantined"])
			require.Positive(t, in.EngineKeys[1])
			depths := map[string]int64{}
			for _, q := range in.Queues {
				depths[q.Kind] += q.Depth
				require.False(t, q.Oldest.IsZero())
			}
			require.EqualValues(t, in.Records["leased work"]+in.Records["waiting work"], depths["deliveries"])
			require.EqualValues(t, in.Records["parked delivery"], depths["parked"])
			if keys != nil {
				require.Equal(t, in.Records["decision"], in.Replayed)
			}
		}
	})
	t.Run("the same of a plain store, without keys", func(t *testing.T) {
		in, found := inspectAll(t, loaded(t, newWorld(t, nil).dump), nil)
		require.Empty(t, found)
		require.True(t, in.Plain)
		require.Equal(t, in.Records["decision"], in.Replayed)
	})
	t.Run("an engine looks at its own store while it works", func(t *testing.T) {
		e, err := New(loaded(t, w.dump), worldOptions(ring, nil, nil))
		require.NoError(t, err)
		defer e.Close()
		in, err := e.Check(t.Context(), func(f Finding) { t.Error(f) })
		require.NoError(t, err)
		require.Equal(t, in.Records["decision"], in.Replayed)
	})
	t.Run("keys of another store, a later version, no store", func(t *testing.T) {
		_, err := Inspect(t.Context(), sound, RandomKeys(), nil)
		require.ErrorIs(t, err, store.ErrKey)
		_, err = Inspect(t.Context(), loaded(t, nil), nil, nil)
		require.ErrorIs(t, err, ErrNotFound)
		f := formatRecord{Format: storeFormat + 1, Instance: make([]byte, 16)}
		c := (&codec{}).of(ownerMeta)
		later, err := c.sealWith(&sealer{}, store.Record{Key: keyFormat}, &f)
		require.NoError(t, err)
		_, err = Inspect(t.Context(), loaded(t, []store.Record{later, {Owner: ownerMeta, Key: keyRoot, Value: []byte("x")}}), nil, nil)
		require.ErrorIs(t, err, store.ErrNewer)
	})
}

// Each record of a store that is damaged, is missing, or is another is found, unless nothing depends on it.
func TestInspectFindsDamage(t *testing.T) {
	t.Parallel()
	ring := RandomKeys()
	w := newWorld(t, ring)
	c := &codec{ring: ring}
	for i := range w.dump {
		if w.dump[i].Key == keyRoot {
			_, err := c.openRoot(&w.dump[i])
			require.NoError(t, err)
		}
	}
	erased, whose := c.citizen(elena), c.citizen(anna)
	index := func(kind string) int {
		i := slices.IndexFunc(w.dump, func(r store.Record) bool {
			return recordKind(r.Owner, r.Key) == kind && r.Owner == whose
		})
		require.GreaterOrEqual(t, i, 0, kind)
		return i
	}
	t.Run("a flipped bit in any record", func(t *testing.T) {
		for i := range w.dump {
			kind := recordKind(w.dump[i].Owner, w.dump[i].Key)
			h, err := readHeader(w.dump[i].Value)
			require.NoError(t, err)
			switch {
			case kind == "quarantined", w.dump[i].Owner == ownerMeta: // known to be damaged; and what every opening reads
				continue
			case w.dump[i].Owner == erased && h.flags&flagPersonal != 0: // the key is gone
				continue
			}
			records := slices.Clone(w.dump)
			records[i].Value = bytes.Clone(records[i].Value)
			records[i].Value[len(records[i].Value)/2] ^= 1
			_, found := inspectAll(t, loaded(t, records), ring)
			require.True(t, slices.ContainsFunc(found, func(f Finding) bool {
				return f.Owner == string(records[i].Owner) && f.Kind == kind
			}), "%s: %v", kind, found)
		}
	})
	t.Run("a record that is missing, where another refers to it", func(t *testing.T) {
		for kind, problem := range map[string]string{
			"message": "the message is missing", "decision": "never decided", "consent": "the chain is broken", "data key": "data key is gone",
		} {
			records := slices.Delete(slices.Clone(w.dump), index(kind), index(kind)+1)
			_, found := inspectAll(t, loaded(t, records), ring)
			require.True(t, slices.ContainsFunc(found, func(f Finding) bool { return strings.Contains(f.Problem, problem) }), "%s: %v", kind, found)
		}
	})
	// What follows only who has the keys can do: it is what a bug of an engine would leave.
	rewrite := func(kind string, v any, change func()) []store.Record {
		i := index(kind)
		records := slices.Clone(w.dump)
		o := c.of(records[i].Owner)
		require.NoError(t, o.open(&records[i], v))
		change()
		r, err := o.seal(records[i], v)
		require.NoError(t, err)
		records[i] = r
		return records
	}
	t.Run("a decision that its facts do not lead to", func(t *testing.T) {
		var d decisionRecord
		_, found := inspectAll(t, loaded(t, rewrite("decision", &d, func() { d.Facts.Mode = Undecided })), ring)
		require.Len(t, found, 1)
		require.Equal(t, "its facts lead to another decision", found[0].Problem)
		require.NotEmpty(t, found[0].Message)
	})
	t.Run("a link of the history that was written anew", func(t *testing.T) {
		var ev consentEvent
		_, found := inspectAll(t, loaded(t, rewrite("consent", &ev, func() { ev.Mode = Manual })), ring)
		require.Len(t, found, 1)
		require.Contains(t, found[0].Problem, "the chain is broken at number 2")
	})
	t.Run("work in another service's queue, and work that is done twice", func(t *testing.T) {
		var work workRecord
		_, found := inspectAll(t, loaded(t, rewrite("waiting work", &work, func() { work.Service += "x" })), ring)
		require.Len(t, found, 1)
		require.Contains(t, found[0].Problem, "not in its service's queue")
		i := index("leased work")
		again, err := c.of(w.dump[i].Owner).seal(store.Record{Key: waitingKey(messageIDOf(w.dump[i].Key)), Lane: w.dump[i].Lane, Due: w.Now},
			&workRecord{Service: "tari", Entries: []workEntry{{ID: "d"}}})
		require.NoError(t, err)
		_, found = inspectAll(t, loaded(t, append(slices.Clone(w.dump), again)), ring)
		require.Len(t, found, 1)
		require.Equal(t, "it waits, and is under way", found[0].Problem)
	})
	t.Run("a request that nobody will come to, and one that is still in a queue", func(t *testing.T) {
		for _, r := range []struct {
			rec    store.Record
			status RequestStatus
		}{
			{store.Record{Key: keyDeletion}, RequestPending}, {store.Record{Key: keyDownload}, RequestPending}, {store.Record{Key: keyDownload}, RequestWIP},
			{store.Record{Key: keyDeletion, Lane: laneCleanUp, Due: w.Now}, RequestAborted},
		} {
			rec, err := c.of(c.citizen(anna)).seal(r.rec, &requestRecord{Status: r.status})
			require.NoError(t, err)
			_, found := inspectAll(t, loaded(t, append(slices.Clone(w.dump), rec)), ring)
			require.Len(t, found, 1, r)
			require.Equal(t, "data request", found[0].Kind)
		}
	})
	t.Run("a queue of each kind that has lost its records", func(t *testing.T) {
		for lane, kind := range map[store.Lane]string{laneDelivery: "deliveries", laneCleanUp: "clean-up", laneEffect: "effects", laneReminder: "reminders",
			laneParked: "parked", laneDownload: "downloads", lanePaused: "paused"} {
			rec := store.Record{Owner: c.citizen(anna), Key: keyDownload, Lane: lane, Due: w.Now, Value: []byte("x")}
			_, found := inspectAll(t, loseDue{loaded(t, append(slices.Clone(w.dump), rec))}, nil)
			require.True(t, slices.ContainsFunc(found, func(f Finding) bool { return strings.Contains(f.Problem, "the queue of "+kind+" in lane") }), kind)
		}
	})
	t.Run("a record of no kind, and one in no queue, also without keys", func(t *testing.T) {
		odd := store.Record{Owner: w.dump[0].Owner, Key: "unheard-of", Lane: 7, Due: w.Now, Value: []byte("x")}
		_, found := inspectAll(t, loaded(t, append(slices.Clone(w.dump), odd)), nil)
		require.Len(t, found, 2)
		_, found = inspectAll(t, loseDue{loaded(t, w.dump)}, nil)
		require.NotEmpty(t, found)
		require.Contains(t, found[0].Problem, "the queue of deliveries in lane")
	})
	t.Run("what the store cannot read is passed over, and the rest is looked at", func(t *testing.T) {
		i := index("consent")
		bad := damagedStore{Store: loaded(t, w.dump), owner: w.dump[i].Owner, key: w.dump[i].Key}
		in, found := inspectAll(t, bad, ring)
		require.Len(t, found, 1)
		require.Equal(t, string(bad.owner), found[0].Owner)
		require.Contains(t, found[0].Problem, "records cannot be read: those after")
		require.EqualValues(t, 8, in.Owners["citizen"])

		in, found = inspectAll(t, damagedStore{Store: loaded(t, w.dump), list: store.Owner(citizenOwner)}, nil)
		require.NotEmpty(t, found)
		require.Contains(t, found[0].Problem, "cannot be listed")
		require.EqualValues(t, 5, in.Owners["service"])
	})
}

// loseDue forgets the head of each lane.
type loseDue struct{ store.Store }

func (l loseDue) Due(ctx context.Context, q store.DueQuery) ([]store.Record, error) {
	recs, err := l.Store.Due(ctx, q)
	return recs[min(1, len(recs)):], err
}

// A damagedStore cannot read one record, or list owners of a kind.
type damagedStore struct {
	store.Store
	owner store.Owner
	key   store.Key
	list  store.Owner
}

func (d damagedStore) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	shots, err := d.Store.View(ctx, reads)
	for _, s := range shots {
		for _, r := range s.Records {
			if r.Owner == d.owner && r.Key == d.key {
				return nil, store.ErrCorrupt
			}
		}
	}
	return shots, err
}

func (d damagedStore) Owners(ctx context.Context, after store.Owner, limit int) ([]store.Owner, error) {
	names, err := d.Store.Owners(ctx, after, limit)
	if d.list != "" && slices.ContainsFunc(names, func(o store.Owner) bool { return strings.HasPrefix(string(o), string(d.list)) }) {
		return nil, store.ErrCorrupt
	}
	return names, err
}
