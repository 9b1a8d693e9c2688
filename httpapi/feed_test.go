package httpapi_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/httpapi"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

const feedPath = "/api/v1/subscriptions-feed/"

func hashOf(code fiscalcode.Person) string {
	sum := sha256.Sum256([]byte(code))
	return hex.EncodeToString(sum[:])
}

// A fed world's day is over once the clock is put on.
type fed struct {
	*world
	days atomic.Int64
	day  string
}

func newFed(t testing.TB, s store.Store, rate float64) *fed {
	f := &fed{day: time.Now().UTC().Format(time.DateOnly)}
	f.world = setupOn(t, s, &appio.Options{FeedDays: 30, FeedRate: rate, Now: func() time.Time {
		return time.Now().AddDate(0, 0, int(f.days.Load()))
	}}, nil)
	return f
}

func (f *fed) next() {
	f.t.Helper()
	f.days.Add(1)
	_, err := f.eng.Flush(context.Background())
	require.NoError(f.t, err)
}

func TestSubscriptionsFeed(t *testing.T) {
	t.Parallel()
	w := newFed(t, memstore.New(), 0)
	w.as(mensa, "GET", feedPath+w.day, nil).problem(404, "Data not available yet")
	w.next()
	var got httpapi.SubscriptionsFeed
	// Who closed her inbox on the same day ends among those who cannot be reached.
	w.as(tributi, "GET", feedPath+w.day, nil).into(200, &got)
	want := []string{hashOf(ada), hashOf(bruno)}
	slices.Sort(want)
	slices.Sort(got.Subscriptions)
	require.Equal(t, httpapi.SubscriptionsFeed{DateUTC: w.day, Subscriptions: want, Unsubscriptions: []string{hashOf(carla)}}, got)
	w.as(mensa, "GET", feedPath+w.day, nil).into(200, &got)
	require.Equal(t, []string{hashOf(ada)}, got.Subscriptions, "who refused the service is in neither list")
	answer := w.as(tributi, "GET", feedPath+"2001-02-03", nil)
	answer.problem(404, "Data not available yet")

	for _, date := range []string{"2026-02-30", "2026-1-1", "yesterday", "2026-01-01T00:00:00Z"} {
		w.as(mensa, "GET", feedPath+date, nil).problem(400, "Bad parameters")
	}
	w.as("", "GET", feedPath+w.day, nil).problem(401, "")
	w.ask("GET", feedPath+w.day, nil, httpapi.KeyHeader, "another").problem(401, "")
	w.service(appio.Service{ID: "01TRIAL", Name: "Prova"})
	w.as("01TRIAL", "GET", feedPath+w.day, nil).problem(403, "You are not allowed here")
	w.service(appio.Service{ID: "01WRITER", Name: "Scrive", State: appio.Live, Scopes: []appio.Scope{appio.WriteMessages}})
	w.as("01WRITER", "GET", feedPath+w.day, nil).problem(403, "You are not allowed here")
	w.as(mensa, "POST", feedPath+w.day, nil).problem(405, "")
	setup(t, nil, nil).as(mensa, "GET", feedPath+w.day, nil).problem(501, "")
}

// A failingStore fails from a read on.
type failingStore struct {
	store.Store
	left atomic.Int64
}

var errBroken = errors.New("broken")

func (s *failingStore) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	if s.left.Add(-1) == 0 {
		return nil, errBroken
	}
	return s.Store.View(ctx, reads)
}

// A day of many is answered as it is read; what breaks off is seen to.
func TestLongFeed(t *testing.T) {
	t.Parallel()
	s := &failingStore{Store: memstore.New()}
	w := newFed(t, s, 0)
	want := map[string]bool{hashOf(ada): true, hashOf(bruno): true, hashOf(carla): false}
	for i := range 450 {
		code := fiscalcode.Person(fmt.Sprintf("RSSMRA%02dA01H%03dS", i/10, 500+i%10))
		require.NoError(t, w.citizen(code).SetMode(context.Background(), appio.Auto))
		want[hashOf(code)] = i%3 > 0
		if i%3 == 0 {
			require.NoError(t, w.citizen(code).SetMode(context.Background(), appio.Manual))
		}
	}
	w.next()
	var feed httpapi.SubscriptionsFeed
	w.as(tributi, "GET", feedPath+w.day, nil).into(200, &feed)
	got := map[string]bool{}
	for _, hash := range feed.Subscriptions {
		got[hash] = true
	}
	for _, hash := range feed.Unsubscriptions {
		got[hash] = false
	}
	require.Equal(t, w.day, feed.DateUTC)
	require.Len(t, feed.Subscriptions, 302)
	require.Equal(t, want, got)

	s.left.Store(300)
	req, err := http.NewRequest("GET", w.url+feedPath+w.day, nil)
	require.NoError(t, err)
	req.Header.Set(httpapi.KeyHeader, keyOf+string(tributi))
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	_, err = io.ReadAll(resp.Body)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}
