package appio_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store/memstore"
)

// benchPerson is a well-formed code for each number.
func benchPerson(n int) fiscalcode.Person {
	b := []byte("AAAAAA00A00A000A")
	for i := 5; i >= 0; i-- {
		b[i] = 'A' + byte(n%26)
		n /= 26
	}
	return fiscalcode.Person(b)
}

func benchEngine(b *testing.B, kind string, citizens int) *appio.Engine {
	b.Helper()
	none := appio.ChannelFunc(func(context.Context, appio.Delivery) error { return nil })
	o := &appio.Options{Keys: appio.RandomKeys(), Channels: []appio.Route{
		{Name: appio.Email, Channel: none, Default: appio.Full, ByCode: true},
		{Name: appio.Push, Channel: none, Default: appio.Generic, Secure: appio.Generic, ByCode: true},
	}}
	var e *appio.Engine
	var err error
	if kind == "mem" {
		e, err = appio.New(memstore.New(), o)
	} else {
		e, err = appio.Open(b.TempDir()+"/io.db", o)
	}
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, e.Close()) })
	ctx := b.Context()
	require.NoError(b, e.PutService(ctx, appio.Service{ID: "tari", Name: "Tassa rifiuti", Organization: "01199250158", State: appio.Live}))
	work := make(chan int)
	done := make(chan error, 64)
	for range cap(done) {
		go func() {
			var err error
			for n := range work {
				if e := e.Citizen(appio.Identity{Code: benchPerson(n)}).SetMode(ctx, appio.Auto); e != nil {
					err = e
				}
			}
			done <- err
		}()
	}
	for n := range citizens {
		work <- n
	}
	close(work)
	for range cap(done) {
		require.NoError(b, <-done)
	}
	return e
}

func benchMessage(to fiscalcode.Person) appio.Message {
	return appio.Message{To: to, Subject: "Prima rata della tassa sui rifiuti 2026", Markdown: strings.Repeat("Puoi pagare entro il 30 aprile. ", 19)}
}

// BenchmarkSend is one message from acceptance to the last recorded outcome, with Run at work.
func BenchmarkSend(b *testing.B) {
	const citizens = 2_000
	for _, kind := range []string{"mem", "bolt"} {
		for _, batch := range []int{1, 256} {
			for _, senders := range []int{1, 16} {
				b.Run(fmt.Sprintf("%s/batch=%d/senders=%d", kind, batch, senders), func(b *testing.B) {
					e := benchEngine(b, kind, citizens)
					ctx, cancel := context.WithCancel(b.Context())
					ran := make(chan error, 1)
					go func() { ran <- e.Run(ctx) }()
					work := make(chan int, senders)
					done := make(chan error, senders)
					b.ResetTimer()
					for range senders {
						go func() {
							var err error
							for n := range work {
								ms := make([]appio.Message, n)
								for i := range ms {
									ms[i] = benchMessage(benchPerson(rand.IntN(citizens)))
								}
								if _, e := e.Sender("tari").SendBatch(ctx, ms); e != nil {
									err = e
								}
							}
							done <- err
						}()
					}
					for left := b.N; left > 0; left -= batch {
						work <- min(left, batch)
					}
					close(work)
					for range senders {
						require.NoError(b, <-done)
					}
					cancel()
					require.NoError(b, <-ran)
					b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
				})
			}
		}
	}
}

// BenchmarkRevoke is a preference that takes something away, from a citizen with nothing under way.
func BenchmarkRevoke(b *testing.B) {
	e := benchEngine(b, "mem", 1)
	c := e.Citizen(appio.Identity{Code: benchPerson(0)})
	for b.Loop() {
		require.NoError(b, c.SetPreference(b.Context(), "tari", appio.Preference{Inbox: true}))
	}
}
