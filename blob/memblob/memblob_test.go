package memblob_test

import (
	"testing"

	"github.com/appio-go/appio/blob"
	"github.com/appio-go/appio/blob/blobtest"
	"github.com/appio-go/appio/blob/memblob"
)

func TestStore(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(*testing.T) blob.Store { return memblob.New() })
}
