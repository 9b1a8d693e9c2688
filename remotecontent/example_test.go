package remotecontent_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/remotecontent"
	"github.com/appio-go/appio/store/memstore"
)

// A citizen opens an act that is kept by the authority, after being told what that means.
func ExampleReader() {
	system := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/precondition"):
			_, _ = io.WriteString(w, `{"title": "Un atto con valore legale", "markdown": "Se apri, vale come consegna."}`)
		case strings.HasSuffix(r.URL.Path, ".pdf"):
			_, _ = io.WriteString(w, "%PDF-1.7 ...")
		default:
			_, _ = io.WriteString(w, `{"attachments": [{"id": "1", "name": "Atto", "url": "atto.pdf"}]}`)
		}
	}))
	defer system.Close()

	ctx := context.Background()
	eng, err := appio.New(memstore.New(), &appio.Options{Keys: appio.RandomKeys()})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	citizen, send := exampleOf(eng, system.URL)
	id := send(ctx)

	at, _ := url.Parse(system.URL)
	port, _ := strconv.ParseUint(at.Port(), 10, 16)
	reader, err := remotecontent.New(eng, &remotecontent.Options{ // this machine, and its certificate: for the example
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Ports: []uint16{uint16(port)}, TLS: &tls.Config{RootCAs: system.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs},
	})
	if err != nil {
		log.Fatal(err)
	}
	_, _, err = reader.Open(ctx, citizen, id)
	fmt.Println(err)
	before, err := reader.Precondition(ctx, citizen, id)
	fmt.Println(before.Title, err)
	_, content, err := reader.Open(ctx, citizen, id)
	fmt.Println(content.Attachments[0].Name, err)
	doc, err := reader.Attachment(ctx, citizen, id, content.Attachments[0].URL)
	if err != nil {
		log.Fatal(err)
	}
	defer doc.Body.Close()
	b, err := io.ReadAll(doc.Body)
	fmt.Println(doc.Type, string(b), err)
	// Output:
	// appio: forbidden: the message has a precondition that the citizen was not shown
	// Un atto con valore legale <nil>
	// Atto <nil>
	// application/pdf %PDF-1.7 ... <nil>
}

// exampleOf makes a citizen, and a service whose organization has a system.
func exampleOf(eng *appio.Engine, system string) (*appio.Citizen, func(context.Context) appio.MessageID) {
	ctx := context.Background()
	must := func(err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	must(eng.PutService(ctx, appio.Service{ID: "atti", Name: "Atti", Organization: "01199250158", State: appio.Live}))
	conf, err := eng.Authority("01199250158").PutRemoteConfiguration(ctx, appio.RemoteConfiguration{
		Name: "Protocollo", Description: "Gli atti del protocollo", Precondition: appio.Once,
		Production: &appio.RemoteSystem{URL: system, Header: "X-Api-Key", Key: "a secret", Type: "API_KEY"},
	})
	must(err)
	citizen := eng.Citizen(appio.Identity{Code: "RSSMRA85M10H501S", Level: appio.L2})
	must(citizen.SetMode(ctx, appio.Auto))
	return citizen, func(ctx context.Context) appio.MessageID {
		r, err := eng.Sender("atti").Send(ctx, appio.Message{
			To: "RSSMRA85M10H501S", Subject: "Un atto per te", Markdown: strings.Repeat("Un atto ti aspetta. ", 5),
			Remote: &appio.RemoteContent{ID: "7", Configuration: conf.ID, Attachments: true},
		})
		must(err)
		return r.ID
	}
}
