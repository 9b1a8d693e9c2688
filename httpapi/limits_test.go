package httpapi_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/gateway/gatewaytest"
	"github.com/appio-go/appio/httpapi"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

// A still clock stands but for what it is put on by.
type stillClock struct{ moved atomic.Int64 }

var stood = time.Now()

func (c *stillClock) now() time.Time          { return stood.Add(time.Duration(c.moved.Load())) }
func (c *stillClock) advance(d time.Duration) { c.moved.Add(int64(d)) }

// limited is how many of many requests are answered before one is 429, which must say when the next one is: exactly then.
func limited(t *testing.T, c *stillClock, wait time.Duration, ask func() answered) (answers int) {
	t.Helper()
	for a := ask(); ; a = ask() {
		if a.StatusCode == http.StatusTooManyRequests {
			a.problem(http.StatusTooManyRequests, "Too many requests")
			require.Equal(t, strconv.Itoa(int(math.Ceil(wait.Seconds()))), a.Header.Get("Retry-After"))
			break
		}
		require.Less(t, a.StatusCode, 300, "%s", a.body)
		answers++
		require.Less(t, answers, 1000)
	}
	c.advance(wait - time.Millisecond)
	require.Equal(t, http.StatusTooManyRequests, ask().StatusCode)
	c.advance(time.Millisecond)
	require.Less(t, ask().StatusCode, 300)
	require.Equal(t, http.StatusTooManyRequests, ask().StatusCode)
	return answers
}

func TestFeedRate(t *testing.T) {
	t.Parallel()
	for rate, want := range map[float64]int{2: 20, 0.25: 10} {
		c := &stillClock{}
		w := setup(t, &appio.Options{FeedDays: 30, FeedRate: rate, Now: c.now}, nil)
		day := stood.UTC().Format(time.DateOnly)
		c.advance(24 * time.Hour)
		_, err := w.eng.Flush(t.Context())
		require.NoError(t, err)
		ask := func() answered { return w.as(tributi, "GET", feedPath+day, nil) }
		require.Equal(t, want, limited(t, c, time.Duration(float64(time.Second)/rate), ask))
		w.as(mensa, "GET", feedPath+day, nil).into(http.StatusOK, &httpapi.SubscriptionsFeed{})
	}
}

// A heldStore lets some reads through, and holds those that come then until it is let go.
type heldStore struct {
	store.Store
	left    atomic.Int64
	waiting atomic.Int64
	free    chan struct{}
}

func (s *heldStore) View(ctx context.Context, reads []store.Read) ([]store.Snapshot, error) {
	if s.left.Add(-1) < 0 {
		s.waiting.Add(1)
		select {
		case <-s.free:
		case <-ctx.Done():
		}
		s.waiting.Add(-1)
	}
	return s.Store.View(ctx, reads)
}

// Who reads long days slowly has a few of them at once, and each of them counts once, though it is read twice.
func TestLongFeedsAtOnce(t *testing.T) {
	t.Parallel()
	s := &heldStore{Store: memstore.New(), free: make(chan struct{})}
	s.left.Store(1 << 40)
	w := newFed(t, s, 1.2) // 12 at once, of which 11 are asked for
	for i := range 300 {
		code := fiscalcode.Person(fmt.Sprintf("RSSMRA%02dA01H%03dS", i/10, 500+i%10))
		require.NoError(t, w.citizen(code).SetMode(t.Context(), appio.Auto))
	}
	w.next()
	before := s.left.Load()
	w.as(tributi, "GET", feedPath+w.day, nil).into(http.StatusOK, &httpapi.SubscriptionsFeed{})
	whole := before - s.left.Load() // reads of an answer, of which the first page takes less than half
	var under sync.WaitGroup
	for i := range 8 {
		s.left.Store(whole / 2)
		under.Go(func() {
			var feed httpapi.SubscriptionsFeed
			w.as(tributi, "GET", feedPath+w.day, nil).into(http.StatusOK, &feed)
			if len(feed.Subscriptions) != 302 {
				t.Errorf("%d", len(feed.Subscriptions))
			}
		})
		require.Eventually(t, func() bool { return s.waiting.Load() == int64(i)+1 }, 20*time.Second, time.Millisecond)
	}
	s.left.Store(1 << 40)
	a := w.as(tributi, "GET", feedPath+w.day, nil)
	a.problem(http.StatusTooManyRequests, "Too many requests")
	require.Equal(t, "5", a.Header.Get("Retry-After"))
	w.as(mensa, "GET", feedPath+w.day, nil).into(http.StatusOK, &httpapi.SubscriptionsFeed{})
	close(s.free)
	under.Wait()
	w.as(tributi, "GET", feedPath+w.day, nil).into(http.StatusOK, &httpapi.SubscriptionsFeed{})
}

func TestManageRate(t *testing.T) {
	t.Parallel()
	c := &stillClock{}
	w := setup(t, &appio.Options{ManageRate: 1, Now: c.now}, nil)
	key := w.manager(comune, appio.ManageKey{ID: "gestionale"})
	other := w.manager(comune, appio.ManageKey{ID: "altra"})
	second, err := w.eng.Authority(comune).NewManageKey(t.Context(), "gestionale", appio.Secondary)
	require.NoError(t, err)
	paths := []string{managed, managed + "/topics", "/api/v1/messages-sending/remote-contents/configurations"}
	next := 0
	ask := func() answered {
		next++
		return w.keyed([]string{key, second}[next%2], "GET", paths[next%len(paths)], nil)
	}
	require.Equal(t, 10, limited(t, c, time.Second, ask), "over both slots of the key")
	w.keyed(key, "POST", managed, payload()).problem(http.StatusTooManyRequests, "")
	w.keyed(key, "PUT", "/api/v1/organizations/"+string(comune)+"/logo", object{"logo": logo(1, 1)}).problem(http.StatusTooManyRequests, "")
	w.keyed(other, "GET", managed, nil).into(http.StatusOK, &httpapi.ServicePage{})
	w.keyed("a key that nobody has", "GET", managed, nil).problem(http.StatusUnauthorized, "")
	w.as(mensa, "GET", managed+"/topics", nil).into(http.StatusOK, &httpapi.TopicList{})
}

func TestMaxServices(t *testing.T) {
	t.Parallel()
	w := setup(t, &appio.Options{MaxServices: 3}, nil)
	key, theirs := w.manager(comune, appio.ManageKey{ID: "gestionale"}), w.manager(regione, appio.ManageKey{ID: "gestionale"})
	school := w.manager(comune, appio.ManageKey{ID: "school", Group: "scuola"})
	one := w.created(key)
	w.created(school)
	w.created(key)
	for _, k := range []string{key, school} {
		p := w.keyed(k, "POST", managed, payload()).problem(http.StatusBadRequest, "Bad parameters")
		require.Equal(t, "service: one of 3 that an organization may have", p.Detail)
	}
	w.keyed(key, "PUT", one, payload("name", "Un altro nome")).into(http.StatusOK, &httpapi.Service{})
	w.keyed(key, "DELETE", one, nil).status(http.StatusNoContent)
	w.keyed(key, "POST", managed, payload()).problem(http.StatusBadRequest, "Bad parameters")
	var page httpapi.ServicePage
	w.keyed(key, "GET", managed, nil).into(http.StatusOK, &page)
	require.Equal(t, 2, page.Pagination.Count)
	w.created(theirs, "organization.fiscal_code", regione)
}

// Of many that come at once none is one too many.
func TestMaxServicesAtOnce(t *testing.T) {
	t.Parallel()
	w := setup(t, &appio.Options{MaxServices: 10}, nil)
	key := w.manager(comune, appio.ManageKey{ID: "gestionale"})
	var made atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 4 {
				if w.keyed(key, "POST", managed, payload()).StatusCode == http.StatusCreated {
					made.Add(1)
				}
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 10, made.Load())
}

func TestDebtRate(t *testing.T) {
	t.Parallel()
	c := &stillClock{}
	creditors := &gatewaytest.Gateway{}
	w := setupApp(t, &appio.Options{Payments: creditors, DebtRate: 0.1, Now: c.now}, nil)
	id := pagopa.RPTID{Creditor: comune, Notice: "302032002700000251"}
	creditors.Put(appio.Debt{RPTID: id, Amount: 114_00})
	ask := func(code fiscalcode.Person) answered {
		return w.by(code, "GET", communication+"/payment/info/"+id.String(), nil)
	}
	require.Equal(t, 10, limited(t, c, 10*time.Second, func() answered { return ask(ada) }))
	ask(bruno).into(http.StatusOK, &httpapi.PaymentInfo{})
	w.by(ada, "GET", communication+"/messages", nil).into(http.StatusOK, &httpapi.MessagePage{})
}

// What a service says of whom it serves is written, as often as it likes, were it not bounded; what a host says in its name is not counted.
func TestActivationRate(t *testing.T) {
	t.Parallel()
	c := &stillClock{}
	w := setup(t, &appio.Options{ActivationRate: 2, Now: c.now}, nil)
	for _, id := range []appio.ServiceID{bonus, "02BONUS"} {
		w.service(appio.Service{ID: id, Name: "Bonus", State: appio.Live, Category: appio.Special})
	}
	say := func(id appio.ServiceID) answered {
		return w.as(id, "PUT", "/api/v1/activations", object{"fiscal_code": ada, "status": "ACTIVE"})
	}
	require.Equal(t, 20, limited(t, c, time.Second/2, func() answered { return say(bonus) }))
	say("02BONUS").into(http.StatusOK, &httpapi.Activation{})
	w.as(bonus, "POST", "/api/v1/activations", object{"fiscal_code": ada}).into(http.StatusOK, &httpapi.Activation{})
	require.NoError(t, w.eng.Sender(bonus).Activate(t.Context(), bruno, appio.Active, time.Time{}))
}

// A citizen's app changes things as often as people do. What it reads is not counted.
func TestCitizenRate(t *testing.T) {
	t.Parallel()
	c := &stillClock{}
	w := setupApp(t, &appio.Options{CitizenRate: 1. / 4, Now: c.now}, nil)
	id := w.message(mensa, ada)
	read, n := communication+"/messages/"+string(id)+"/status", 0
	var p httpapi.ServicePreference
	w.by(ada, "GET", preferences(mensa), nil).into(http.StatusOK, &p)
	change := func(code fiscalcode.Person) answered {
		if n++; n%2 == 0 {
			return w.by(code, "POST", preferences(mensa), choice(true, true, true, p.SettingsVersion))
		}
		return w.by(code, "PUT", read, object{"change_type": "reading", "is_read": true})
	}
	require.Equal(t, 10, limited(t, c, 4*time.Second, func() answered { return change(ada) }), "whatever is changed")
	w.by(ada, "GET", communication+"/messages", nil).into(http.StatusOK, &httpapi.MessagePage{})
	w.by(bruno, "POST", preferences(mensa), choice(true, true, true, p.SettingsVersion)).into(http.StatusOK, &p)
}

// Who looks for addresses that somebody has proved gets few answers. An app that shows the citizen's own gets as many as it asks for.
func TestAddressRate(t *testing.T) {
	t.Parallel()
	c := &stillClock{}
	w := setupApp(t, &appio.Options{AddressRate: 1. / 60, Now: c.now}, nil)
	var p httpapi.InitializedProfile
	profile := identity + "/profile"
	n := 0
	ask := func() answered {
		n++
		w.by(ada, "GET", profile, nil).into(http.StatusOK, &p)
		return w.by(ada, "POST", profile, object{"version": p.Version, "email": fmt.Sprintf("ada%d@example.it", n),
			"service_preferences_settings": object{"mode": "AUTO"}})
	}
	require.Equal(t, 10, limited(t, c, time.Minute, ask))
	for range 30 {
		w.by(ada, "GET", profile, nil).into(http.StatusOK, &p)
		require.False(t, p.IsEmailValidated)
		w.by(ada, "POST", profile, object{"version": p.Version, "email": p.Email, "service_preferences_settings": object{"mode": "AUTO"}}).into(http.StatusOK, &p)
	}
	w.by(bruno, "GET", profile, nil).into(http.StatusOK, &p)
	w.by(bruno, "POST", profile, object{"version": p.Version, "email": "bruno@example.it", "service_preferences_settings": object{"mode": "AUTO"}}).into(http.StatusOK, &p)
}
