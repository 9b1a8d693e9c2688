// Package indistinct asks whether a sender can tell by the clock who is not known to the platform and who refused.
package indistinct

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/httpapi"
	"github.com/appio-go/appio/internal/form"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	service = "mensa"
	key     = "key-of-the-service-mensa"
)

// person is one of a thousand million invented persons.
func person(i int) fiscalcode.Person {
	letter := func(n int) byte { return byte('A' + n%26) }
	return fiscalcode.Person(fmt.Sprintf("%c%c%c%c%c%c%02dA%02dH%03dX",
		letter(i), letter(i/26), letter(i/676), letter(i/17576), letter(i/456976), letter(i/11881376), i%100, 1+i%28, i%1000))
}

// A platform is a server with citizens on it.
type platform struct {
	t    *testing.T
	url  string
	leak func(to string) // planted, before a request is answered
}

// Persons from 0 on are known, and those of them that are even refused the service; persons from unknownFrom on never came.
const unknownFrom = 500_000_000

func newPlatform(t *testing.T, citizens int) *platform {
	e, err := appio.Open(filepath.Join(t.TempDir(), "appio.db"), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	ctx := context.Background()
	require.NoError(t, e.PutService(ctx, appio.Service{ID: service, Name: "Mensa", Organization: "15376371009", State: appio.Live}))
	require.NoError(t, e.PutKey(ctx, service, appio.Primary, key))
	var wg sync.WaitGroup
	const together = 256
	for from := range together {
		wg.Go(func() {
			for i := from; i < citizens; i += together {
				mode := appio.Auto
				if i%2 == 0 {
					mode = appio.Manual // nobody who did not choose a service has it
				}
				if err := e.Citizen(appio.Identity{Code: person(i)}).SetMode(ctx, mode); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	p := &platform{t: t}
	h := httpapi.Handler(e, nil)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.leak != nil {
			p.leak(r.URL.Path)
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		srv.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	p.url = srv.URL
	return p
}

var letter = func() string {
	b, err := json.Marshal(map[string]any{"content": map[string]any{
		"subject": "Iscrizione alla mensa", "markdown": strings.Repeat("Le iscrizioni aprono il primo settembre. ", 10)}})
	if err != nil {
		panic(err)
	}
	return string(b)
}()

// ask asks once, and says how long it took until the answer was there.
func (p *platform) ask(method, path, body string, into any) time.Duration {
	req, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	require.NoError(p.t, err)
	req.Header.Set(httpapi.KeyHeader, key)
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	require.NoError(p.t, err)
	b, err := io.ReadAll(resp.Body)
	took := time.Since(began)
	resp.Body.Close()
	require.NoError(p.t, err)
	require.Less(p.t, resp.StatusCode, 300)
	require.NoError(p.t, json.Unmarshal(b, into))
	return took
}

// Samples are the times of requests about who is unknown and about who refused.
type samples struct{ unknown, refused []time.Duration }

// measure asks about pairs of persons of whom nobody was asked before, one unknown and one who refused, in an order that chance chooses.
func (p *platform) measure(r *rand.Rand, pairs, citizens int) (send, status samples) {
	refusing := r.Perm(citizens / 2)[:pairs]
	for i := range pairs {
		pair := [2]int{unknownFrom + i, 2 * refusing[i]}
		first := r.IntN(2)
		for _, k := range []int{first, 1 - first} {
			var sent struct {
				ID string `json:"id"`
			}
			path := "/api/v1/messages/" + string(person(pair[k]))
			took := p.ask("POST", path, letter, &sent)
			var st struct {
				Status string `json:"status"`
			}
			tookStatus := p.ask("GET", path+"/"+sent.ID, "", &st)
			require.Equal(p.t, "REJECTED", st.Status)
			if k == 0 {
				send.unknown, status.unknown = append(send.unknown, took), append(status.unknown, tookStatus)
			} else {
				send.refused, status.refused = append(send.refused, took), append(status.refused, tookStatus)
			}
		}
	}
	return send, status
}

// size is how many citizens a platform has, and how many pairs are compared: where ITEST_COUNT is set, so many of a hundred times as many
// citizens, in the full form 10,000 of 1,000,000.
func size(t *testing.T) (citizens, pairs int) {
	if n := form.Number(t, "ITEST_COUNT", 0); n > 0 {
		return 100 * n, n
	}
	if testing.Short() {
		return 1000, 100
	}
	return 4000, 400
}

// How often a sender may guess right, who sees one answer about each of two persons of whom one is not known and one refused: in 53 of 100
// cases; and what chance does not add in a million runs, in standard deviations. Neither depends on how fast the machine is or what else
// it does: noise makes a difference harder to see, not likelier.
const right, chance = 0.53, 5

func TestUnknownAndRefusedTakeTheSameTime(t *testing.T) {
	citizens, pairs := size(t)
	r := rand.New(rand.NewPCG(form.Seed(t), 0))
	p := newPlatform(t, citizens)
	p.measure(r, 20, citizens) // connections are made, caches filled
	send, status := p.measure(r, pairs, citizens)
	seen := map[string]float64{"citizens_max": float64(citizens), "pairs": float64(pairs)}
	for name, s := range map[string]samples{"sent": send, "looked at": status} {
		c := tell(s.unknown, s.refused)
		t.Logf("%s: %d pairs, median %v, difference %v, AUC %.4f, z %.1f", name, pairs, median(s.unknown), c.difference, c.auc, c.z)
		seen[name+" z_max"] = math.Abs(c.z)
		seen[name+" AUC_max"] = max(c.auc, 1-c.auc)
		seen[name+" microseconds_max"] = math.Abs(float64(c.difference.Nanoseconds()) / 1e3)
		require.Less(t, max(c.auc, 1-c.auc), right+chance*c.deviation, name)
	}
	form.Figures(t, seen)
}

// A leak as large as the times differ by themselves is seen in 200 pairs, whether who is unknown or who refused is answered later.
func TestPlantedLeaksAreSeen(t *testing.T) {
	const citizens, pairs = 1000, 200
	r := rand.New(rand.NewPCG(form.Seed(t), 0))
	p := newPlatform(t, citizens)
	send, status := p.measure(r, 50, citizens)
	leak := 2 * max(spread(send.unknown), spread(status.unknown), time.Millisecond)
	refused := map[string]bool{}
	for i := 0; i < citizens; i += 2 {
		refused[string(person(i))] = true
	}
	for _, later := range []bool{true, false} { // who refused, or who is unknown
		p.leak = func(path string) {
			if refused[strings.Split(path, "/")[4]] == later {
				time.Sleep(leak)
			}
		}
		send, status = p.measure(r, pairs, citizens)
		for name, s := range map[string]samples{"sent": send, "looked at": status} {
			c := tell(s.unknown, s.refused)
			t.Logf("%s, with %v more: AUC %.4f, z %.1f", name, leak, c.auc, c.z)
			require.Greater(t, max(c.auc, 1-c.auc), right+chance*c.deviation, name)
			require.Equal(t, later, c.z > 0)
		}
	}
}
