package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/httpapi"
	"github.com/appio-go/appio/store/memstore"
)

// BenchmarkSubmit sends messages over loopback, from 128 connections, each to another of 10,000 citizens: on a bbolt file, and in memory,
// which leaves what the handler and the engine cost without a disk.
func BenchmarkSubmit(b *testing.B) {
	for name, open := range map[string]func(b *testing.B) (*appio.Engine, error){
		"bbolt": func(b *testing.B) (*appio.Engine, error) {
			return appio.Open(filepath.Join(b.TempDir(), "appio.db"), nil)
		},
		"memory": func(*testing.B) (*appio.Engine, error) {
			return appio.New(memstore.New(), &appio.Options{Keys: appio.RandomKeys()})
		},
	} {
		b.Run(name, func(b *testing.B) {
			e, err := open(b)
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, e.Close()) })
			benchmarkSubmit(b, e)
		})
	}
}

const benchCitizens, benchConnections = 10_000, 128

func benchmarkSubmit(b *testing.B, e *appio.Engine) {
	ctx := context.Background()
	require.NoError(b, e.PutService(ctx, appio.Service{ID: mensa, Name: "Mensa", Organization: comune, State: appio.Live}))
	require.NoError(b, e.PutKey(ctx, mensa, appio.Primary, keyOf+string(mensa)))
	var wg sync.WaitGroup
	for from := range 64 {
		wg.Go(func() {
			for i := from; i < benchCitizens; i += 64 {
				if err := e.Citizen(appio.Identity{Code: numbered(i)}).SetMode(ctx, appio.Auto); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	srv := httptest.NewServer(httpapi.Handler(e, nil))
	b.Cleanup(srv.Close)
	body, err := json.Marshal(letter("time_to_live", 3600))
	require.NoError(b, err)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: benchConnections}}

	var next atomic.Int64
	took := make([]time.Duration, b.N)
	b.ReportAllocs()
	b.ResetTimer()
	for range benchConnections {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				req, err := http.NewRequest("POST", srv.URL+"/api/v1/messages/"+string(numbered(int(i)%benchCitizens)), bytes.NewReader(body))
				if err != nil {
					b.Error(err)
					return
				}
				req.Header.Set(httpapi.KeyHeader, keyOf+string(mensa))
				began := time.Now()
				resp, err := client.Do(req)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				took[i] = time.Since(began)
				if resp.StatusCode != http.StatusCreated {
					b.Errorf("status %d", resp.StatusCode)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	b.ReportMetric(float64(took[len(took)*99/100])/1e6, "p99-ms")
}

// numbered is an invented person.
func numbered(i int) fiscalcode.Person {
	return fiscalcode.Person(fmt.Sprintf("PRV%c%c%c%02dA%02dH%03dX", 'A'+i/26/26%26, 'A'+i/26%26, 'A'+i%26, i%100, 1+i%28, i%1000))
}
