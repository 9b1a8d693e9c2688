package blob_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"github.com/appio-go/appio/blob/fileblob"
)

func ExampleStore() {
	dir, err := os.MkdirTemp("", "documents")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	s := fileblob.New(dir)
	if err := s.Put(ctx, "certificate-7", strings.NewReader("a certificate")); err != nil {
		log.Fatal(err)
	}
	r, err := s.Open(ctx, "certificate-7")
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r) // with an error, if it is damaged
	fmt.Printf("%s, %v\n", b, err)
	// Output: a certificate, <nil>
}
