package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/httpapi"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// A countingStore counts the records that are read.
type countingStore struct {
	store.Store
	records atomic.Int64
}

func (s *countingStore) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	snaps, err := s.Store.View(ctx, reads)
	for _, snap := range snaps {
		s.records.Add(int64(len(snap.Records)))
	}
	return snaps, err
}

// Few messages among many that are elsewhere: an answer looks at so many, and says where it got to.
func TestFewAmongMany(t *testing.T) {
	t.Parallel()
	const many = 12_000
	s := &countingStore{Store: memstore.New()}
	w := setupAppOn(t, s, nil, nil)
	letters := make([]appio.Message, 100)
	for i := range letters {
		letters[i] = appio.Message{To: ada, Subject: "Iscrizione alla mensa", Markdown: text(t, letter()["content"].(object)["markdown"])}
	}
	var all []appio.MessageID // oldest first
	for range many / len(letters) {
		sent, err := w.eng.Sender(tributi).SendBatch(t.Context(), letters)
		require.NoError(t, err)
		for _, r := range sent {
			all = append(all, r.ID)
		}
	}
	want := []appio.MessageID{all[many-2], all[6100], all[6000], all[0]}
	for _, id := range want {
		require.NoError(t, w.citizen(ada).Archive(t.Context(), id, true))
	}
	// find follows next to the end.
	find := func(query string) (ids []appio.MessageID, answers int) {
		next := ""
		for {
			var p httpapi.MessagePage
			before := s.records.Load()
			w.by(ada, "GET", communication+"/messages?"+query+next, nil).into(http.StatusOK, &p)
			require.Less(t, s.records.Load()-before, int64(25_000))
			require.NotNil(t, p.Items)
			for _, m := range p.Items {
				ids = append(ids, m.ID)
			}
			if answers++; p.Next == "" {
				return ids, answers
			}
			next = "&maximum_id=" + string(p.Next)
			require.Less(t, answers, many)
		}
	}
	for size, most := range map[int]int{1: 8, 2: 6, 100: 2} {
		ids, answers := find(fmt.Sprint("archived=true&page_size=", size))
		require.Equal(t, want, ids)
		require.LessOrEqual(t, answers, most, "page_size %d", size)
	}
	ids, _ := find("archived=true&page_size=1&minimum_id=" + string(all[6000]))
	require.Equal(t, want[:2], ids)

	// An answer of one, far from it, is cut short: it has none, and goes on.
	require.NoError(t, w.citizen(ada).Archive(t.Context(), want[0], false))
	var p httpapi.MessagePage
	w.by(ada, "GET", communication+"/messages?archived=true&page_size=1", nil).into(http.StatusOK, &p)
	require.Empty(t, p.Items)
	require.NotEmpty(t, p.Next)
	require.Empty(t, p.Prev)
	ids, answers := find("archived=true&page_size=1")
	require.Equal(t, want[1:], ids)
	require.GreaterOrEqual(t, answers, 4)
	ids, _ = find("page_size=100")
	require.Len(t, ids, many-3)
}

// Of a history nearly all of which is left out, an answer looks at so much, and its token goes on behind that.
func TestHistoryOfManyKeys(t *testing.T) {
	t.Parallel()
	s := &countingStore{Store: memstore.New()}
	w := setupOn(t, s, nil, nil)
	key := w.manager(comune, appio.ManageKey{ID: "gestionale"})
	at := w.created(key)
	for range 2500 {
		_, err := w.eng.Authority(comune).NewKey(t.Context(), idOf(at), appio.Primary)
		require.NoError(t, err)
	}
	w.keyed(key, "PUT", at, payload("name", "Un altro nome")).into(http.StatusOK, &httpapi.Service{})
	for _, query := range []string{"?limit=10", "?limit=100", "?limit=1", "?limit=100&order=ASC"} {
		var names []string
		for answers, next := 1, ""; ; answers++ {
			var h httpapi.ServiceHistory
			before := s.records.Load()
			w.keyed(key, "GET", at+"/history"+query+next, nil).into(http.StatusOK, &h)
			require.Less(t, s.records.Load()-before, int64(10_000), query)
			for _, item := range h.Items {
				names = append(names, item.Name)
			}
			if next = "&continuationToken=" + string(h.Token); h.Token == "" {
				require.GreaterOrEqual(t, answers, 3, query)
				break
			}
		}
		want := []string{"Un altro nome", "Scuola"}
		if query == "?limit=100&order=ASC" {
			want = []string{"Scuola", "Un altro nome"}
		}
		require.Equal(t, want, names, query)
	}
}
