package webhook_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/webhook"
	"github.com/appio-go/appio/store/memstore"
)

// A system of the host's own is told of each message, signed, and verifies what it is told.
func Example() {
	ctx := context.Background()
	key := webhook.NewKey() // keep key.Text() where the host keeps secrets, and give key.Public().Text() to the receiver

	// The receiver: any program, elsewhere.
	v := &webhook.Verifier{Keys: []webhook.Key{key.Public()}}
	receiver := httptest.NewTLSServer(v.Handler(func(_ context.Context, id string, body []byte) error {
		var e webhook.Event
		if err := json.Unmarshal(body, &e); err != nil {
			return err
		}
		fmt.Println(e.Type, e.Data.Service, e.Data.Content)
		fmt.Println(e.Data.Subject)
		return nil
	}))
	defer receiver.Close()

	// The host. Allow, Ports and TLS are there because this receiver is no host of the Internet.
	roots := x509.NewCertPool()
	roots.AddCert(receiver.Certificate())
	hook, err := webhook.New(&webhook.Options{
		URL: receiver.URL + "/hook", Keys: []webhook.Key{key},
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Ports: []uint16{port(receiver.URL)}, TLS: &tls.Config{RootCAs: roots},
	})
	check(err)
	eng, err := appio.New(memstore.New(), &appio.Options{
		Channels: []appio.Route{{Name: "desk", Channel: hook, ByCode: true, Default: appio.Full}},
		Keys:     appio.RandomKeys(),
	})
	check(err)
	defer eng.Close()
	check(eng.PutService(ctx, appio.Service{ID: "mensa", Name: "Mensa scolastica", Organization: "01199250158", State: appio.Live}))
	check(eng.Citizen(appio.Identity{Code: "RSSMRA85M10H501S"}).SetMode(ctx, appio.Auto))
	_, err = eng.Sender("mensa").Send(ctx, appio.Message{
		To: "RSSMRA85M10H501S", Subject: "Mensa: retta di ottobre", Markdown: strings.Repeat("La retta di ottobre è di 84,50 euro. ", 4),
	})
	check(err)
	_, err = eng.Flush(ctx)
	check(err)

	// Who has no key is turned away.
	resp, err := receiver.Client().Post(receiver.URL+"/hook", "application/json", strings.NewReader("{}"))
	check(err)
	defer resp.Body.Close()
	fmt.Println(resp.StatusCode == http.StatusUnauthorized)
	// Output:
	// appio.message.v1 mensa full
	// Mensa: retta di ottobre
	// true
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
