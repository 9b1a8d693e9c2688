package appio_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store/memstore"
)

// What need not be known at once may come once a day. Push comes as ever, and so does what is due soon.
func ExamplePreference_digest() {
	ctx := context.Background()
	now := time.Date(2026, 3, 10, 11, 0, 0, 0, time.UTC)
	show := appio.ChannelFunc(func(_ context.Context, d appio.Delivery) error {
		fmt.Printf("%s: %s\n", d.Channel, d.Subject)
		if d.Digest != nil {
			fmt.Print(d.Markdown)
		}
		return nil
	})
	eng, err := appio.New(memstore.New(), &appio.Options{
		Keys: appio.RandomKeys(), Now: func() time.Time { return now },
		Channels: []appio.Route{
			{Name: appio.Email, Channel: show, ByCode: true, Default: appio.Full},
			{Name: appio.Push, Channel: show, ByCode: true, Default: appio.Full, Interrupts: true},
		},
	})
	check(err)
	defer eng.Close()
	check(eng.PutService(ctx, appio.Service{ID: "mensa", Name: "Mensa scolastica", Organization: "01199250158", State: appio.Live}))
	citizen := eng.Citizen(appio.Identity{Code: mario})
	check(citizen.SetMode(ctx, appio.Auto))
	check(citizen.SetPreference(ctx, "mensa", appio.Preference{Inbox: true, Channels: appio.On(appio.Email, appio.Push), Digest: true}))

	for _, subject := range []string{"Il menu di aprile", "La retta di marzo"} {
		_, err := eng.Sender("mensa").Send(ctx, appio.Message{To: mario, Subject: subject, Markdown: strings.Repeat("Gentile famiglia, ", 6)})
		check(err)
		_, err = eng.Flush(ctx)
		check(err)
	}
	now = time.Date(2026, 3, 11, 7, 0, 0, 0, time.UTC) // eight o'clock in Italy
	_, err = eng.Flush(ctx)
	check(err)
	// Output:
	// push: Il menu di aprile
	// push: La retta di marzo
	// email: 2 nuovi messaggi da Mensa scolastica
	// Messaggi da leggere:
	//
	// - Il menu di aprile
	// - La retta di marzo
}
