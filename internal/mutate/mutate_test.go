package mutate

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBugsAreFound: decoders that trust what they read are found out within one round.
func TestBugsAreFound(t *testing.T) {
	t.Parallel()
	sound := []byte{3, 'a', 'b', 'c'}
	for name, bad := range map[string]func(b []byte) error{
		"one that trusts a length": func(b []byte) error {
			if len(b) > 0 {
				_ = b[1 : 1+int(b[0])]
			}
			return nil
		},
		"one that takes what is too long": func(b []byte) error {
			if len(b) > 1 && b[0] == 3 && string(b[1:]) != "abc" {
				return errors.New("taken")
			}
			return nil
		},
	} {
		d := Decoder{Name: name, Seeds: [][]byte{sound}, Read: func(_ *rand.Rand, b []byte) error { return bad(b) }}
		caught := false
		for i := 0; i < inRound && !caught; i++ {
			r := rand.New(rand.NewPCG(1, uint64(i)))
			caught = read(&d, r, Bytes(r, d.Seeds)) != nil
		}
		require.True(t, caught, name)
	}
	require.NotNil(t, sound)
	r := rand.New(rand.NewPCG(1, 1))
	for range 1000 {
		Bytes(r, [][]byte{sound, {}})
	}
	require.Equal(t, []byte{3, 'a', 'b', 'c'}, sound, "seeds stay as they are")
}
