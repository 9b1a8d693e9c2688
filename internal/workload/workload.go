// Package workload is the delivery that the benchmarks measure, and what they share: who sends what to whom, and the engine
// put through it. One of [Services] services sends a message to one of n citizens; a fifth of the citizens refuse; half of the
// others have one channel besides the inbox, half two; half of the messages ask for a payment.
package workload

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
)

// Services is how many services there are.
const Services = 200

// MaxCitizens is how many persons have a code of their own.
const MaxCitizens = 26 * 26 * 26 * 26 * 26

// Preferences is how many preferences each citizen has.
const Preferences = 3

// Person is a well-formed code for each number below [MaxCitizens].
func Person(n int) fiscalcode.Person {
	c := []byte("AAAAAA80A01H501A")
	for i := 4; i >= 0; i-- {
		c[i] = 'A' + byte(n%26)
		n /= 26
	}
	return fiscalcode.Person(c)
}

// ServiceID is the id of the service with this number.
func ServiceID(n int) appio.ServiceID { return appio.ServiceID(fmt.Sprintf("service-%03d", n)) }

// Service is the service with this number.
func Service(n int) appio.Service {
	return appio.Service{
		ID: ServiceID(n), Name: fmt.Sprintf("Servizio %d", n), Organization: "01199250158", State: appio.Live, MaxPayment: 1000_00,
	}
}

// Refuses says whether a citizen wants nothing: a fifth does.
func Refuses(citizen int) bool { return citizen%5 == 0 }

// Channels is how many channels, besides the inbox, reach a citizen who does not refuse: one and a half on average.
func Channels(citizen int) int { return 2 - citizen%2 }

// PreferenceFor is the number of the service that a citizen's i-th preference is for.
func PreferenceFor(citizen, i int) int { return (citizen + i*67) % Services }

// Addresses are where a citizen can be reached.
func Addresses(citizen int) []appio.Address {
	return []appio.Address{
		{Channel: appio.Email, Value: fmt.Sprintf("cittadino.%d@posta.example.it", citizen), ValidatedAt: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)},
		{Channel: appio.Push, Value: strings.Repeat("0123456789abcdef", 4)},
	}
}

// Message is the n-th message.
func Message(to fiscalcode.Person, n int) appio.Message {
	m := appio.Message{
		To:       to,
		Subject:  "Avviso numero " + fmt.Sprintf("%09d", n) + " del servizio, con i dettagli",
		Markdown: strings.Repeat("Gentile cittadino, questo avviso riguarda il servizio. ", 11),
	}
	if n%2 == 0 {
		m.Payment = &appio.Notice{Number: "302032002700000251", Amount: 150_00}
	}
	return m
}

// Parallel calls f for parts of [0, n) from some goroutines, until one fails or ctx ends. A part has at most part numbers.
func Parallel(ctx context.Context, goroutines, n, part int, f func(from, to int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make(chan error, goroutines)
	stop := make(chan struct{})
	var once sync.Once
	for range goroutines {
		wg.Go(func() {
			for {
				from := int(next.Add(int64(part))) - part
				if from >= n || ctx.Err() != nil {
					return
				}
				select {
				case <-stop:
					return
				default:
				}
				if err := f(from, min(from+part, n)); err != nil {
					errs <- err
					once.Do(func() { close(stop) })
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	if err := <-errs; err != nil {
		return err
	}
	return ctx.Err()
}
