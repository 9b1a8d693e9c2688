package appio_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store/memstore"
)

// A first message: one file, one service, one citizen. The channel prints; one of a platform's own would call a provider.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "appio")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	email := appio.ChannelFunc(func(ctx context.Context, d appio.Delivery) error {
		fmt.Printf("e-mail to %s: %s\n", d.Address.Value, d.Subject)
		return nil
	})
	eng, err := appio.Open(filepath.Join(dir, "io.db"), &appio.Options{
		Channels: []appio.Route{{Name: appio.Email, Channel: email}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()

	// The operator registers a service.
	if err := eng.PutService(ctx, appio.Service{
		ID: "tari", Name: "Tassa rifiuti", Organization: "01199250158", State: appio.Live, MaxPayment: 500_00,
	}); err != nil {
		log.Fatal(err)
	}

	// A citizen, whom the host has logged in, lets services write, and wants e-mail too.
	const mario fiscalcode.Person = "RSSMRA85M10H501S"
	citizen := eng.Citizen(appio.Identity{Code: mario, Level: appio.L2, Provider: "cie"})
	if err := citizen.SetMode(ctx, appio.Auto); err != nil {
		log.Fatal(err)
	}
	if err := citizen.UpdateProfile(ctx, func(p *appio.Profile) error {
		p.Channels[appio.Email] = appio.Full
		p.Addresses = append(p.Addresses, appio.Address{
			Channel: appio.Email, Value: "mario@example.org", ValidatedAt: time.Now(),
		})
		return nil
	}); err != nil {
		log.Fatal(err)
	}

	// The service writes. What it gets back says whether the message is in the inbox.
	res, err := eng.Sender("tari").Send(ctx, appio.Message{
		To:       mario,
		Subject:  "TARI 2026, prima rata",
		Markdown: strings.Repeat("Puoi pagare entro il 30 aprile. ", 4),
		Payment:  &appio.Notice{Number: "302032002700000251", Amount: 150_00},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Status)

	// A server calls Run, which delivers until it is stopped. A job delivers once.
	if _, err := eng.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	for m, err := range citizen.Inbox(nil).All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("inbox:", m.Subject, "-", m.Payment.Amount)
	}
	// Output:
	// PROCESSED
	// e-mail to mario@example.org: TARI 2026, prima rata
	// inbox: TARI 2026, prima rata - 150.00
}

// The other examples begin here.

const (
	mario fiscalcode.Person = "RSSMRA85M10H501S"
	anna  fiscalcode.Person = "BNCNNA80A41H501R"
)

// platform is an engine in memory with one live service, "mensa", and one channel, e-mail, which prints.
func platform() *appio.Engine {
	return platformWith(appio.ChannelFunc(func(ctx context.Context, d appio.Delivery) error {
		fmt.Println("e-mail to", d.Address.Value)
		return nil
	}))
}

// platformWith is one whose e-mail goes out through this channel.
func platformWith(email appio.Channel) *appio.Engine {
	eng, err := appio.New(memstore.New(), &appio.Options{
		Channels: []appio.Route{{Name: appio.Email, Channel: email}},
		Keys:     appio.RandomKeys(),
	})
	check(err)
	check(eng.PutService(context.Background(), appio.Service{
		ID: "mensa", Name: "Mensa scolastica", Organization: "01199250158", State: appio.Live,
	}))
	return eng
}

// enrol is a citizen who chose Auto and wants e-mail.
func enrol(eng *appio.Engine, code fiscalcode.Person, address string) *appio.Citizen {
	ctx := context.Background()
	c := eng.Citizen(appio.Identity{Code: code, Level: appio.L2, Provider: "spid"})
	check(c.SetMode(ctx, appio.Auto))
	check(c.UpdateProfile(ctx, func(p *appio.Profile) error {
		p.Channels[appio.Email] = appio.Full
		p.Addresses = []appio.Address{{Channel: appio.Email, Value: address, ValidatedAt: time.Now()}}
		return nil
	}))
	return c
}

// fee is a message of the canteen.
func fee(to fiscalcode.Person) appio.Message {
	return appio.Message{
		To:       to,
		Subject:  "Mensa: retta di ottobre",
		Markdown: strings.Repeat("La retta di ottobre è di 84,50 euro. ", 4),
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
