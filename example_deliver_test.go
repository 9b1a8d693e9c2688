package appio_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store/memstore"
)

// A channel of one's own is a function that tries once, under a name that citizens choose it by. This one knows by itself where
// people are, is on once a citizen has chosen a mode, and shows no text.
func ExampleChannelFunc() {
	ctx := context.Background()
	kiosk := appio.ChannelFunc(func(ctx context.Context, d appio.Delivery) error {
		if d.To == anna {
			return appio.Permanent(errors.New("no card"))
		}
		fmt.Printf("kiosk: a message of %q (%s)\n", d.ServiceName, d.Content)
		return nil
	})
	eng, err := appio.New(memstore.New(), &appio.Options{
		Channels: []appio.Route{{Name: "kiosk", Channel: kiosk, ByCode: true, Default: appio.Generic, Secure: appio.Generic}},
		Keys:     appio.RandomKeys(),
	})
	check(err)
	defer eng.Close()
	check(eng.PutService(ctx, appio.Service{
		ID: "mensa", Name: "Mensa scolastica", Organization: "01199250158", State: appio.Live,
	}))
	check(eng.Citizen(appio.Identity{Code: mario}).SetMode(ctx, appio.Auto))

	_, err = eng.Sender("mensa").Send(ctx, fee(mario))
	check(err)
	_, err = eng.Flush(ctx)
	check(err)
	// Output:
	// kiosk: a message of "Mensa scolastica" (generic)
}

// A delivery that cannot be made is parked, and waits for the operator: when the cause is mended it is made due again.
func ExampleEngine_Replay() {
	ctx := context.Background()
	broken := true
	eng := platformWith(appio.ChannelFunc(func(ctx context.Context, d appio.Delivery) error {
		if broken {
			return appio.Permanent(errors.New("550 sender not allowed"))
		}
		fmt.Println("e-mail to", d.Address.Value)
		return nil
	}))
	defer eng.Close()
	enrol(eng, mario, "mario@example.org")
	_, err := eng.Sender("mensa").Send(ctx, fee(mario))
	check(err)
	_, err = eng.Flush(ctx)
	check(err)

	var ids []appio.DeliveryID
	for p, err := range eng.Parked().All(ctx) {
		check(err)
		fmt.Println("parked:", p.Channel, p.Service, p.Cause)
		ids = append(ids, p.ID)
	}
	broken = false
	check(eng.Replay(ctx, ids...))
	_, err = eng.Flush(ctx)
	check(err)
	// Output:
	// parked: email mensa 550 sender not allowed
	// e-mail to mario@example.org
}

// A server runs the engine beside its own work, and stops both by one context. What is under way is waited for.
func ExampleEngine_Run() {
	ctx, stop := context.WithCancel(context.Background())
	arrived := make(chan string)
	eng := platformWith(appio.ChannelFunc(func(ctx context.Context, d appio.Delivery) error {
		arrived <- d.Address.Value
		return nil
	}))
	defer eng.Close()
	enrol(eng, mario, "mario@example.org")

	ended := make(chan error, 1)
	go func() { ended <- eng.Run(ctx) }()
	_, err := eng.Sender("mensa").Send(ctx, fee(mario))
	check(err)

	select {
	case address := <-arrived:
		fmt.Println("e-mail to", address)
	case <-time.After(10 * time.Second):
		fmt.Println("no e-mail")
	}
	stop()
	fmt.Println("ended:", <-ended)
	// Output:
	// e-mail to mario@example.org
	// ended: <nil>
}

// E-mail stands in for push: it is sent a day later, if the message was not read by then.
func ExampleFallback() {
	ctx := context.Background()
	now := time.Date(2026, 3, 10, 9, 0, 0, 0, time.UTC)
	tell := appio.ChannelFunc(func(ctx context.Context, d appio.Delivery) error {
		fmt.Println(now.Format("2 January"), d.Channel)
		return nil
	})
	eng, err := appio.New(memstore.New(), &appio.Options{
		Channels: []appio.Route{
			{Name: appio.Push, Channel: tell, ByCode: true, Default: appio.Generic, Interrupts: true},
			{Name: appio.Email, Channel: tell, ByCode: true, Default: appio.Full, Fallback: appio.Fallback{Of: appio.Push, After: 24 * time.Hour}},
		},
		Keys: appio.RandomKeys(),
		Now:  func() time.Time { return now },
	})
	check(err)
	defer eng.Close()
	check(eng.PutService(ctx, appio.Service{
		ID: "mensa", Name: "Mensa scolastica", Organization: "01199250158", State: appio.Live,
	}))
	check(eng.Citizen(appio.Identity{Code: mario}).SetMode(ctx, appio.Auto))

	_, err = eng.Sender("mensa").Send(ctx, fee(mario))
	check(err)
	for range 3 {
		_, err = eng.Flush(ctx)
		check(err)
		now = now.Add(24 * time.Hour)
	}
	// Output:
	// 10 March push
	// 11 March email
}
