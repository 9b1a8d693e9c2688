package email_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	netmail "net/mail"
	"strings"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/email"
	"github.com/appio-go/appio/store/memstore"
)

// From a new address to the e-mail, and to the click that ends it. The mail server here is one in this process.
func Example() {
	ctx := context.Background()
	server := exampleServer()
	defer server.close()

	mail, err := email.New(&email.Options{
		Addr: server.addr, TLSConfig: server.client, Username: user, Password: password,
		From:     netmail.Address{Name: "Sportello digitale", Address: "avvisi@comune.example.org"},
		Withdraw: "https://io.example.org/email/stop", Validate: "https://io.example.org/email/conferma",
	})
	check(err)
	defer mail.Close()
	eng, err := appio.New(memstore.New(), &appio.Options{
		Plain: true, Channels: []appio.Route{{Name: appio.Email, Channel: mail, Bounces: true}},
	})
	check(err)
	defer eng.Close()
	check(eng.PutService(ctx, appio.Service{ID: "mensa", Name: "Mensa scolastica", Organization: comune, State: appio.Live}))

	citizen := eng.Citizen(appio.Identity{Code: maria, Level: appio.L2})
	check(citizen.SetMode(ctx, appio.Auto))
	check(citizen.UpdateProfile(ctx, func(p *appio.Profile) error {
		p.Channels = appio.On(appio.Email)
		p.Addresses = []appio.Address{{ID: "home", Channel: appio.Email, Value: "maria.bianchi@example.org"}}
		return nil
	}))
	v, err := citizen.ValidateAddress(ctx, "home")
	check(err)
	check(mail.SendValidation(ctx, v))
	fmt.Println(server.subject())
	fmt.Println(press(email.ValidationHandler(eng), "https://io.example.org/email/conferma?t="+v.Token))

	send := func() {
		_, err = eng.Sender("mensa").Send(ctx, appio.Message{To: maria, Subject: "Mensa: retta di ottobre", Markdown: text})
		check(err)
		_, err = eng.Flush(ctx)
		check(err)
		fmt.Println(server.subject())
	}
	send()
	fmt.Println(press(email.WithdrawHandler(eng), server.link("https://io.example.org/email/stop?t=")))
	send()
	// Output:
	// Conferma il tuo indirizzo e-mail
	// 200 OK
	// Mensa: retta di ottobre
	// 200 OK
	// no mail
}

// press is what the button on a link's page does, and the one click of a mail program.
func press(h http.Handler, link string) string {
	r := httptest.NewRequest(http.MethodPost, link, strings.NewReader("List-Unsubscribe=One-Click"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result().Status
}

// subject is that of the mail that came last, which is taken away.
func (s *mailServer) subject() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.got) == 0 {
		return "no mail"
	}
	s.taken = s.got[len(s.got)-1]
	s.got = nil
	m, err := netmail.ReadMessage(bytes.NewReader(s.taken))
	check(err)
	return m.Header.Get("Subject")
}

// link is the one in the mail that was taken that starts like this.
func (s *mailServer) link(start string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, rest, _ := strings.Cut(strings.ReplaceAll(strings.ReplaceAll(string(s.taken), "=\r\n", ""), "=3D", "="), start)
	token, _, _ := strings.Cut(rest, "\r\n")
	return start + token
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
