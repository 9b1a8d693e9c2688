package appio_test

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"time"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store/memstore"
)

// exampleOffice is a platform with one organization, whose agreement is signed.
func exampleOffice() (*appio.Engine, *appio.Authority) {
	eng, err := appio.New(memstore.New(), &appio.Options{Keys: appio.RandomKeys()})
	if err != nil {
		log.Fatal(err)
	}
	err = eng.PutOrganization(context.Background(), appio.Organization{
		Code: "01199250158", Name: "Comune di Esempio", SignedAt: time.Date(2026, 1, 7, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		log.Fatal(err)
	}
	return eng, eng.Authority("01199250158")
}

// An authority prepares a service, the operator approves it, and it is live.
func ExampleAuthority() {
	ctx := context.Background()
	eng, comune := exampleOffice()
	defer eng.Close()

	service := appio.Service{ID: "tari", Name: "Tassa rifiuti", Description: "Avvisi e scadenze della TARI"}
	if _, err := comune.PutDraft(ctx, service); err != nil {
		log.Fatal(err)
	}
	draft, err := comune.Submit(ctx, "tari", true)
	fmt.Println(draft.Stage, draft.Reason, err)

	service.Privacy, service.Email = "https://example.it/privacy", "tari@example.it"
	if _, err := comune.PutDraft(ctx, service); err != nil {
		log.Fatal(err)
	}
	draft, err = comune.Submit(ctx, "tari", true)
	fmt.Println(draft.Stage, err)
	draft, err = eng.Approve(ctx, "tari", "anna@platform")
	fmt.Println(draft.Stage, draft.Publication, err)

	fmt.Println(comune.Unpublish(ctx, "tari")) // at once
	for ev, err := range comune.History("tari").All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(ev.Number, ev.What, "by", ev.By)
	}
	// Output:
	// rejected privacy-missing contact-missing <nil>
	// submitted <nil>
	// approved published <nil>
	// <nil>
	// 8 unpublished by authority
	// 7 published by operator
	// 6 approved by operator
	// 5 submitted by authority
	// 4 edited by authority
	// 3 rejected by engine
	// 2 submitted by authority
	// 1 edited by authority
}

// An editor of the authority acts by a handle of their own; the end of the agreement stops the service.
func ExampleEngine_AuthorityFor() {
	ctx := context.Background()
	eng, comune := exampleOffice()
	defer eng.Close()
	if err := eng.PutService(ctx, appio.Service{ID: "tari", Name: "Tassa rifiuti", Organization: comune.Code(), State: appio.Live}); err != nil {
		log.Fatal(err)
	}
	if err := comune.PutMember(ctx, appio.Member{ID: "utente-7", Role: appio.Editor}); err != nil {
		log.Fatal(err)
	}

	editor, err := eng.AuthorityFor(ctx, "utente-7", comune.Code())
	if err != nil {
		log.Fatal(err)
	}
	draft, err := editor.PutDraft(ctx, appio.Service{ID: "tari", Name: "Tassa sui rifiuti"})
	fmt.Println(draft.Stage == appio.Editing, draft.Publication, err)
	_, err = eng.AuthorityFor(ctx, "utente-8", comune.Code())
	fmt.Println(err)

	if err := eng.WithdrawAgreement(ctx, comune.Code()); err != nil {
		log.Fatal(err)
	}
	live, err := eng.Service(ctx, "tari")
	fmt.Println(live.Name, live.State, err)
	// Output:
	// true published <nil>
	// appio: forbidden: not a member who may do this now
	// Tassa rifiuti stopped <nil>
}

// A key that its authority can see again, and its replacement.
func ExampleAuthority_Keys() {
	ctx := context.Background()
	eng, comune := exampleOffice()
	defer eng.Close()
	if _, err := comune.PutDraft(ctx, appio.Service{ID: "tari", Name: "Tassa rifiuti"}); err != nil {
		log.Fatal(err)
	}
	old, err := comune.NewKey(ctx, "tari", appio.Primary)
	if err != nil {
		log.Fatal(err)
	}
	keys, err := comune.Keys(ctx, "tari")
	fmt.Println(keys.Primary == old, keys.Secondary == "", err)

	if _, err := comune.NewKey(ctx, "tari", appio.Primary); err != nil {
		log.Fatal(err)
	}
	_, err = eng.SenderByKey(ctx, old, netip.Addr{})
	fmt.Println(err)
	// Output:
	// true true <nil>
	// appio: unauthorized
}

// An organization's own software prepares services by a key, and a technical partner hands one over to it.
func ExampleEngine_AuthorityByKey() {
	ctx := context.Background()
	eng, comune := exampleOffice()
	defer eng.Close()
	partner := eng.Authority("02342520158")
	key := appio.ManageKey{ID: "gestionale", Role: appio.Editor, Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}
	if err := comune.PutManageKey(ctx, key); err != nil {
		log.Fatal(err)
	}
	secret, err := comune.NewManageKey(ctx, key.ID, appio.Primary) // shown once
	if err != nil {
		log.Fatal(err)
	}

	if _, err := partner.PutDraft(ctx, appio.Service{ID: "tari", Name: "Tassa rifiuti"}); err != nil {
		log.Fatal(err)
	}
	if err := partner.HandOver(ctx, "tari", comune.Code()); err != nil {
		log.Fatal(err)
	}
	if _, err := comune.TakeOver(ctx, "tari"); err != nil {
		log.Fatal(err)
	}

	software, err := eng.AuthorityByKey(ctx, secret, netip.MustParseAddr("192.0.2.7"))
	if err != nil {
		log.Fatal(err)
	}
	draft, err := software.Draft(ctx, "tari")
	fmt.Println(draft.Organization, err)
	fmt.Println(software.HandOver(ctx, "tari", "02342520158"))
	_, err = eng.AuthorityByKey(ctx, secret, netip.MustParseAddr("198.51.100.1"))
	fmt.Println(err)
	// Output:
	// 01199250158 <nil>
	// appio: forbidden: the key is not for this
	// appio: forbidden: the key may not be used from this address
}

// The operator approves what waits, and stops a service so that only the operator lets it go on.
func ExampleEngine_StopService() {
	ctx := context.Background()
	eng, comune := exampleOffice()
	defer eng.Close()
	_, err := comune.PutDraft(ctx, appio.Service{ID: "tari", Name: "Tassa rifiuti", Description: "Avvisi della TARI",
		Privacy: "https://example.it/privacy", Email: "tari@example.it"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := comune.Submit(ctx, "tari", true); err != nil {
		log.Fatal(err)
	}
	for d, err := range eng.Reviews().All(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		d, err = eng.Approve(ctx, d.ID, "anna@platform")
		fmt.Println(d.ID, d.Publication, err)
	}

	fmt.Println(eng.StopService(ctx, "tari", "anna@platform", "complaints"))
	fmt.Println(comune.Publish(ctx, "tari"))
	fmt.Println(eng.AllowService(ctx, "tari", "anna@platform"), comune.Publish(ctx, "tari"))
	// Output:
	// tari published <nil>
	// <nil>
	// appio: forbidden: the operator has stopped the service
	// <nil> <nil>
}
