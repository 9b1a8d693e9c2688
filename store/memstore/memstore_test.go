package memstore_test

import (
	"context"
	"fmt"
	"log"
	"testing"

	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
	"github.com/appio-go/appio/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return memstore.New() })
}

func FuzzStore(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		storetest.Model(t, data, memstore.New())
	})
}

func BenchmarkStore(b *testing.B) {
	storetest.Bench(b, func(*testing.B) store.Store { return memstore.New() })
}

func ExampleNew() {
	ctx := context.Background()
	s := memstore.New()
	defer s.Close()

	_, err := s.Commit(ctx, []store.Change{{Owner: "citizen/anna", Put: []store.Record{{Key: "profile", Value: []byte("auto")}}}})
	if err != nil {
		log.Fatal(err)
	}
	got, err := s.View(ctx, []store.Read{{Owner: "citizen/anna", Keys: []store.Key{"profile"}}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s, revision %d\n", got[0].Records[0].Value, got[0].Rev)
	// Output: auto, revision 1
}
