package appio_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/png"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
)

func picture(t testing.TB, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, image.NewGray(image.Rect(0, 0, width, height))))
	return b.Bytes()
}

func chunk(kind string, content []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(content)))
	b = append(append(b, kind...), content...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

func TestLogos(t *testing.T) {
	t.Parallel()
	ctx := t.Context()

	t.Run("of a service and of an organization are shown at once, replaced and taken away", func(t *testing.T) {
		t.Parallel()
		w := newOffice(t)
		a := w.Authority(comune)
		w.published(prepared())
		_, err := w.Logo(ctx, mensa)
		require.ErrorIs(t, err, appio.ErrNotFound)
		_, err = w.OrganizationLogo(ctx, comune)
		require.ErrorIs(t, err, appio.ErrNotFound)
		for _, side := range []int{1, 300, 4096} {
			logo := picture(t, side, side)
			require.NoError(t, a.PutLogo(ctx, mensa, logo))
			require.NoError(t, a.PutOrganizationLogo(ctx, logo[:]))
			got, err := w.Logo(ctx, mensa)
			require.NoError(t, err)
			require.Equal(t, logo, got)
			got, err = w.OrganizationLogo(ctx, comune)
			require.NoError(t, err)
			require.Equal(t, logo, got)
		}
		live, err := w.Service(ctx, mensa)
		require.NoError(t, err)
		require.Equal(t, appio.Live, live.State, "nothing else changes")
		require.Equal(t, appio.ServiceLogoChanged, collect(t, a.History(mensa))[0].What)
		_, err = w.Check(ctx, func(f appio.Finding) { t.Error(f) })
		require.NoError(t, err)
		require.NoError(t, a.PutLogo(ctx, mensa, nil))
		require.NoError(t, a.PutOrganizationLogo(ctx, nil))
		_, err = w.Logo(ctx, mensa)
		require.ErrorIs(t, err, appio.ErrNotFound)
		_, err = w.OrganizationLogo(ctx, comune)
		require.ErrorIs(t, err, appio.ErrNotFound)
		_, err = w.Logo(ctx, "")
		require.ErrorIs(t, err, appio.ErrNotFound)
	})

	t.Run("are for who may edit the service", func(t *testing.T) {
		t.Parallel()
		w := newOffice(t)
		a, logo := w.Authority(comune), picture(t, 2, 2)
		_, err := a.PutDraft(ctx, prepared())
		require.NoError(t, err)
		require.ErrorIs(t, w.Authority(regione).PutLogo(ctx, mensa, logo), appio.ErrNotFound)
		require.ErrorIs(t, a.PutLogo(ctx, "nessuno", logo), appio.ErrNotFound)
		require.ErrorIs(t, a.PutLogo(ctx, "", logo), appio.ErrNotFound)
		viewer, err := w.AuthorityByKey(ctx, w.manageKey(a, appio.ManageKey{ID: "v", Role: appio.Viewer}), noAddr)
		require.NoError(t, err)
		group, err := w.AuthorityByKey(ctx, w.manageKey(a, appio.ManageKey{ID: "g", Role: appio.Editor, Group: "scuola"}), noAddr)
		require.NoError(t, err)
		for _, other := range []*appio.Authority{viewer, group} {
			require.ErrorIs(t, other.PutLogo(ctx, mensa, logo), appio.ErrForbidden)
			require.ErrorIs(t, other.PutOrganizationLogo(ctx, logo), appio.ErrForbidden)
		}
		require.NoError(t, a.Delete(ctx, mensa))
		require.ErrorIs(t, a.PutLogo(ctx, mensa, logo), appio.ErrConflict)
	})

	t.Run("are whole pictures within bounds, and nothing else", func(t *testing.T) {
		t.Parallel()
		w := newOffice(t)
		a := w.Authority(comune)
		good := picture(t, 3, 4)
		header := good[len("\x89PNG\r\n\x1a\n"):][:25]
		const magic = "\x89PNG\r\n\x1a\n"
		side := func(width, height uint32) []byte {
			h := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height)
			return append(append([]byte(magic), chunk("IHDR", append(h, 8, 0, 0, 0, 0))...), append(chunk("IDAT", nil), chunk("IEND", nil)...)...)
		}
		require.NoError(t, a.PutOrganizationLogo(ctx, side(4096, 1)))
		for name, bad := range map[string][]byte{
			"a text":             []byte("GIF89a"),
			"a beginning":        good[:len(good)-1],
			"the magic alone":    []byte(magic),
			"the header alone":   append([]byte(magic), header...),
			"something behind":   append(bytes.Clone(good), "<script>"...),
			"no width":           side(0, 1),
			"no height":          side(1, 0),
			"too wide":           side(4097, 1),
			"too high":           side(1, 1<<31),
			"no header":          append([]byte(magic), append(chunk("IDAT", nil), chunk("IEND", nil)...)...),
			"no data":            append(append([]byte(magic), header...), chunk("IEND", nil)...),
			"two headers":        append(append(append([]byte(magic), header...), header...), good[len(magic)+25:]...),
			"a header too short": append([]byte(magic), append(chunk("IHDR", make([]byte, 12)), append(chunk("IDAT", nil), chunk("IEND", nil)...)...)...),
			"too large":          append(append([]byte(magic), header...), append(chunk("IDAT", make([]byte, 512<<10)), chunk("IEND", nil)...)...),
		} {
			require.ErrorIs(t, a.PutOrganizationLogo(ctx, bad), appio.ErrInvalid, name)
			require.ErrorIs(t, a.PutLogo(ctx, mensa, bad), appio.ErrInvalid, name)
		}
		r := rand.New(rand.NewPCG(1, 2))
		for range 2000 { // a flipped bit shows, wherever it is
			bad := bytes.Clone(good)
			bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
			requireField(t, a.PutOrganizationLogo(ctx, bad), "Logo", "")
		}
	})
}

func TestReversedLists(t *testing.T) {
	t.Parallel()
	w, ctx := newOffice(t), t.Context()
	a := w.Authority(comune)
	for range 7 {
		_, err := a.PutDraft(ctx, prepared())
		require.NoError(t, err)
	}
	list := a.History(mensa).Reversed()
	numbers := func(es []appio.ServiceEvent) (ns []int) {
		for _, e := range es {
			ns = append(ns, e.Number)
		}
		return ns
	}
	require.Equal(t, []int{1, 2, 3, 4, 5, 6, 7}, numbers(collect(t, list)))
	require.Equal(t, []int{7, 6, 5, 4, 3, 2, 1}, numbers(collect(t, list.Reversed())))
	for limit := 1; limit <= 8; limit++ {
		var forth, back []int
		var last appio.Page[appio.ServiceEvent]
		for c := appio.Cursor(""); ; {
			page, err := list.Page(ctx, c, limit)
			require.NoError(t, err)
			forth, last = append(forth, numbers(page.Items)...), page
			if c = page.Next; c == "" {
				break
			}
		}
		require.Equal(t, []int{1, 2, 3, 4, 5, 6, 7}, forth, limit)
		back = numbers(last.Items)
		for c := last.Prev; c != ""; {
			page, err := list.Page(ctx, c, limit)
			require.NoError(t, err)
			back, c = append(numbers(page.Items), back...), page.Prev
		}
		require.Equal(t, forth, back, limit)
	}
	page, err := list.Page(ctx, "", 2)
	require.NoError(t, err)
	_, err = a.History(mensa).Page(ctx, page.Next, 2)
	require.ErrorIs(t, err, appio.ErrInvalid, "a cursor of the other order")
	_, err = a.Drafts().Reversed().Page(ctx, "", 2)
	require.ErrorIs(t, err, appio.ErrInvalid)
}
