package appio_test

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
	"github.com/appio-go/appio/store/memstore"
)

func TestOpenWithOptionsOfTheFile(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "io.db")
	for _, file := range []*boltstore.Options{{ReadOnly: true}, {MaxSize: 1}} {
		_, err := appio.Open(path, &appio.Options{File: file})
		require.Error(t, err)
		require.NoFileExists(t, path)
	}
	_, err := appio.New(memstore.New(), &appio.Options{Keys: appio.RandomKeys(), File: &boltstore.Options{}})
	require.ErrorIs(t, err, appio.ErrInvalid)

	e, err := appio.Open(path, &appio.Options{File: &boltstore.Options{MaxSize: 1 << 20}})
	require.NoError(t, err)
	defer e.Close()
	s := appio.Service{ID: "tari", Name: "Tassa rifiuti", Organization: "01199250158", Description: strings.Repeat("è", 1000), Web: strings.Repeat("ù", 1000)}
	require.NoError(t, e.PutService(ctx, s))
	began := time.Now()
	require.NoError(t, e.PauseService(ctx, s.ID))
	require.Less(t, time.Since(began), 4*time.Second, "nobody else is on the file")
	for i := 0; err == nil && i < 2000; i++ {
		s.ID = appio.ServiceID(strconv.Itoa(i))
		err = e.PutService(ctx, s)
	}
	require.ErrorIs(t, err, store.ErrFull)
}
