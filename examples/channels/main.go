// Channels sends one message by e-mail, to a browser and to a webhook, and shows what arrives at each.
//
//	channels
//
// The mail server, the browser's push service and the receiver of the webhook are in this program, at addresses of this machine. Nothing
// else is asked.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/email"
	"github.com/appio-go/appio/channel/push"
	"github.com/appio-go/appio/channel/webhook"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/store/memstore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := channels(ctx, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "channels:", err)
		os.Exit(1)
	}
}

const (
	town  fiscalcode.Organization = "01199250158"
	mario fiscalcode.Person       = "RSSMRA85M10H501S"
)

const text = `Gentile cittadino,

la retta della mensa di **ottobre** è di 84,50 euro. Si può pagare con l'app fino al 30 novembre, o allo sportello di via Roma 1.`

func channels(ctx context.Context, out io.Writer) (err error) {
	// The far ends. What each has got, read as its owner reads it, is shown in the end.
	far, err := newFarEnds()
	if err != nil {
		return err
	}
	defer far.close()

	// The three channels. Only here, where the far ends are at no public address, Allow, Ports and TLS are needed.
	mailer, err := email.New(&email.Options{
		Addr: far.mail.addr, TLSConfig: far.trust, Username: "appio", Password: far.mail.password,
		From: mail.Address{Name: "Comune di Esempio", Address: "avvisi@comune.example.org"}, Body: email.Whole,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mailer.Close()) }()

	allow := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	vapid, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // kept for as long as subscriptions are
	if err != nil {
		return err
	}
	pusher, err := push.New(&push.Options{Web: &push.WebPush{
		Key: vapid, Subject: "mailto:push@comune.example.org", Allow: allow, Ports: []uint16{far.push.port}, TLS: far.trust,
	}})
	if err != nil {
		return err
	}

	hook, err := webhook.New(&webhook.Options{
		URL: far.hook.url, Keys: []webhook.Key{far.hook.key}, Allow: allow, Ports: []uint16{far.hook.port}, TLS: far.trust,
	})
	if err != nil {
		return err
	}

	// The engine, with a route for each. The webhook tells a system of the town's own, which knows people by their codes.
	eng, err := appio.New(memstore.New(), &appio.Options{Keys: appio.RandomKeys(), Channels: []appio.Route{
		{Name: appio.Email, Channel: mailer, Default: appio.Full, Reminders: true},
		pusher.Route(),
		{Name: "desk", Channel: hook, Default: appio.Full, ByCode: true},
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	if err := eng.PutOrganization(ctx, appio.Organization{Code: town, Name: "Comune di Esempio"}); err != nil {
		return err
	}
	if err := eng.PutService(ctx, appio.Service{ID: "mensa", Name: "Mensa scolastica", Organization: town, State: appio.Live}); err != nil {
		return err
	}

	// A citizen, who has proved an e-mail address, and whose browser has subscribed.
	browser, err := push.ParseSubscription(far.push.browser.Subscription(far.push.url))
	if err != nil {
		return err
	}
	citizen := eng.Citizen(appio.Identity{Code: mario, Level: appio.L2, Provider: "cie"})
	if err := citizen.SetMode(ctx, appio.Auto); err != nil {
		return err
	}
	if err := citizen.UpdateProfile(ctx, func(p *appio.Profile) error {
		p.Addresses = []appio.Address{
			{Channel: appio.Email, Value: "mario.rossi@posta.example.org", ValidatedAt: time.Now()},
			{Channel: appio.Push, Value: browser.Value()},
		}
		return nil
	}); err != nil {
		return err
	}

	// One message.
	if _, err := eng.Sender("mensa").Send(ctx, appio.Message{
		To: mario, Subject: "Mensa: retta di ottobre", Markdown: text, TimeToLive: time.Hour,
	}); err != nil {
		return err
	}
	if _, err := eng.Flush(ctx); err != nil { // a program that stays has eng.Run(ctx) beside its own work
		return err
	}
	return far.show(out)
}
