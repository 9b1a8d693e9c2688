package push_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/push"
	"github.com/appio-go/appio/channel/push/pushtest"
	"github.com/appio-go/appio/store/memstore"
)

// A citizen's browser is told of a message, and shows that there is one: the citizen has not allowed more. The push service, here one of
// the test, sees neither who it is for nor what it says.
func Example() {
	ctx := context.Background()
	browser := pushtest.NewBrowser()
	service := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Println(r.Header.Get("Content-Encoding"), len(body), "bytes, kept for an hour:", r.Header.Get("TTL") > "3590")

		text, err := browser.Decrypt(body) // in truth the browser does, far from here
		if err != nil {
			fmt.Println(err)
		}
		var n struct{ Title, Body string }
		_ = json.Unmarshal(text, &n)
		fmt.Println(n.Title, "-", n.Body)
		w.WriteHeader(http.StatusCreated)
	}))
	defer service.Close()

	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // kept for as long as subscriptions: they are for this key
	channel, err := push.New(&push.Options{Web: local(service, &push.WebPush{Key: key, Subject: "mailto:push@example.org"})})
	if err != nil {
		fmt.Println(err)
		return
	}
	eng, err := appio.New(memstore.New(), &appio.Options{Keys: appio.RandomKeys(), Channels: []appio.Route{channel.Route()}})
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = eng.PutService(ctx, appio.Service{ID: "mensa", Name: "Mensa scolastica", Organization: "01199250158", State: appio.Live})

	mario := eng.Citizen(appio.Identity{Code: "RSSMRA85M10H501S", Level: appio.L2, Provider: "cie"})
	_ = mario.SetMode(ctx, appio.Auto)
	installation, err := push.ParseSubscription(browser.Subscription(service.URL + "/push/v1/5d2f")) // what the browser sent to the host
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = mario.UpdateProfile(ctx, func(p *appio.Profile) error {
		p.Addresses = append(p.Addresses, appio.Address{Channel: appio.Push, Value: installation.Value()})
		return nil
	})

	_, err = eng.Sender("mensa").Send(ctx, appio.Message{
		To: "RSSMRA85M10H501S", Subject: "Retta di ottobre", TimeToLive: time.Hour,
		Markdown: "La retta della mensa di ottobre è di 84,50 euro. Si può pagare dall'app fino al 30 novembre, o allo sportello.",
	})
	fmt.Println("sent:", err)
	tried, err := eng.Flush(ctx)
	fmt.Println("tried:", tried, err)
	// Output:
	// sent: <nil>
	// aes128gcm 4096 bytes, kept for an hour: true
	// Mensa scolastica - Hai un nuovo messaggio. Apri l’app per leggerlo.
	// tried: 1 <nil>
}

// local lets a channel reach the test's own server, which is at no public address.
func local(server *httptest.Server, o *push.WebPush) *push.WebPush {
	at := netip.MustParseAddrPort(server.Listener.Addr().String())
	o.Allow, o.Ports = []netip.Prefix{netip.PrefixFrom(at.Addr(), at.Addr().BitLen())}, []uint16{at.Port()}
	o.TLS = &tls.Config{RootCAs: x509.NewCertPool()}
	o.TLS.RootCAs.AddCert(server.Certificate())
	return o
}
