package appio_test

import (
	"context"
	"log"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/blob/memblob"
	"github.com/appio-go/appio/store/memstore"
)

// exampleArchive is an engine that keeps documents, with a service and a citizen who takes what it sends.
func exampleArchive() (*appio.Engine, *appio.Sender, *appio.Citizen) {
	eng, err := appio.New(memstore.New(), &appio.Options{Keys: appio.RandomKeys(), Documents: memblob.New()})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	if err := eng.PutService(ctx, appio.Service{ID: "anagrafe", Name: "Anagrafe", Organization: comune, State: appio.Live}); err != nil {
		log.Fatal(err)
	}
	c := eng.Citizen(appio.Identity{Code: giuseppe, Level: appio.L2})
	if err := c.SetMode(ctx, appio.Auto); err != nil {
		log.Fatal(err)
	}
	return eng, eng.Sender("anagrafe"), c
}
