// Package hostile lets what reads text and streams from outside read what was changed on purpose.
package hostile

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/mutate"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func texts(all ...string) (seeds [][]byte) {
	for _, s := range all {
		seeds = append(seeds, []byte(s))
	}
	return seeds
}

// same is a decoder of a text form: what it takes is the same when it is written and read again.
func same[T ~string](name string, parse func(string) (T, error), seeds ...string) mutate.Decoder {
	return mutate.Decoder{Name: name, Seeds: texts(seeds...), Read: func(_ *rand.Rand, b []byte) error {
		v, err := parse(string(b))
		if err != nil {
			return nil
		}
		if again, err := parse(string(v)); err != nil || again != v {
			return fmt.Errorf("%q is read as %q, and that as %q: %w", b, v, again, err)
		}
		return nil
	}}
}

// stream is a backup of a store of a few owners.
func stream(t *testing.T, owners int) []byte {
	s := memstore.New()
	defer s.Close()
	for i := range owners {
		c := store.Change{Owner: store.Owner(fmt.Sprint("owner ", i))}
		for k := range 3 * (i + 1) {
			c.Put = append(c.Put, store.Record{Key: store.Key(fmt.Sprint(k)), Lane: store.Lane(k), Value: bytes.Repeat([]byte{byte(k)}, 10*k)})
		}
		_, err := s.Commit(t.Context(), []store.Change{c})
		require.NoError(t, err)
	}
	var b bytes.Buffer
	require.NoError(t, store.Backup(t.Context(), s, &b))
	return b.Bytes()
}

func TestHostileBytes(t *testing.T) {
	ctx := t.Context()
	mutate.Run(t, 0.03,
		same("fiscal codes of persons", fiscalcode.ParsePerson, "RSSMRA85M10H501S", "rssmra85m10h501s", "AAAAAA00A00A000A", "RSSMRAURMLTHRLMS"),
		same("fiscal codes of organizations", fiscalcode.ParseOrganization, "01199250158", "80078750587"),
		same("notice numbers", pagopa.ParseNoticeNumber, "302032002700000251", "001123456789012345"),
		mutate.Decoder{Name: "amounts", Seeds: texts("150.00", "1", "9999999.99", "0.01"), Read: func(_ *rand.Rand, b []byte) error {
			a, err := pagopa.ParseAmount(string(b))
			if err != nil {
				return nil
			}
			if again, err := pagopa.ParseAmount(a.String()); err != nil || again != a {
				return fmt.Errorf("%q is read as %v, and that as %v: %w", b, a, again, err)
			}
			return nil
		}},
		mutate.Decoder{Name: "payment positions", Seeds: texts("01199250158302032002700000251"), Read: func(_ *rand.Rand, b []byte) error {
			id, err := pagopa.ParseRPTID(string(b))
			if err != nil {
				return nil
			}
			if again, err := pagopa.ParseRPTID(id.String()); err != nil || again != id {
				return fmt.Errorf("%q is read as %v: %w", b, id, err)
			}
			return nil
		}},
		mutate.Decoder{Name: "codes of notices", Seeds: texts("PAGOPA|002|302032002700000251|03334231200|11", "01199250158 3020 3200 2700 0002 51",
			"codfase=NBPA;183007157000000000321200001630209310000000000138961P100085240950BSCMTT83A12L719RN\xc0ME SURNAME                            test"+
				"                                                                                                                      A"),
			Read: func(_ *rand.Rand, b []byte) error {
				c, err := pagopa.ParseCode(string(b))
				if err != nil {
					return nil
				}
				c.Amount = max(c.Amount, 1) // a typed one has none, and some are free
				text, err := c.QR()
				if err != nil {
					return fmt.Errorf("%q is read as %v, which cannot be written: %w", b, c, err)
				}
				if again, err := pagopa.ParseCode(text); err != nil || again.RPTID != c.RPTID || again.Amount != c.Amount {
					return fmt.Errorf("%q is read as %v, and that as %v: %w", b, c, again, err)
				}
				return nil
			}},
		mutate.Decoder{Name: "messages", Seeds: texts("RSSMRA85M10H501S", "Prima rata della tassa", "La informiamo che il servizio di raccolta cambia orario dal prossimo mese, come da calendario."),
			Read: func(_ *rand.Rand, b []byte) error {
				m := appio.Message{To: fiscalcode.Person(b[:min(len(b), 16)]), Subject: string(b), Markdown: string(b), Key: string(b)}
				if err := m.Validate(); err != nil && !errors.Is(err, appio.ErrInvalid) {
					return err
				}
				return nil
			}},
		mutate.Decoder{Name: "backup streams", Seeds: [][]byte{stream(t, 0), stream(t, 1), stream(t, 5)}, Read: func(_ *rand.Rand, b []byte) error {
			s := memstore.New()
			defer s.Close()
			err := store.Restore(ctx, bytes.NewReader(b), s)
			if err != nil && !errors.Is(err, store.ErrCorrupt) && !errors.Is(err, store.ErrNewer) {
				return err
			}
			return nil
		}},
	)
}
