package pagopa_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/pagopa"
)

func TestNewNoticeNumber(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		aux        int
		code, base string
		want       pagopa.NoticeNumber
	}{
		{3, "22", "2011513985741", "322201151398574181"},
		{3, "00", "7157000000000", "300715700000000032"},
		{3, "02", "0320027000002", "302032002700000251"},
		{3, "01", "2024000000001", "301202400000000164"},
		{3, "47", "1234567890123", "347123456789012389"},
		{3, "00", "0000000000001", "300000000000000104"}, // check digits with a zero in front
		{3, "99", "9999999999999", "399999999999999903"},
		{0, "01", "0000000000001", "001000000000000141"},
		{0, "02", "2024000000123", "002202400000012337"},
		{2, "", "012345678901234", "201234567890123415"},
		{1, "", "01234567890123456", "101234567890123456"}, // no check digits
		{3, "02", "0123876543123", "302012387654312386"},   // pagoPA's own sample ends in 84
	} {
		n, err := pagopa.NewNoticeNumber(c.aux, c.code, c.base)
		require.NoError(t, err, c.want)
		require.Equal(t, c.want, n)
		require.True(t, n.Check(), n)
		require.Equal(t, c.aux, n.AuxDigit(), n)
		require.Equal(t, c.code, n.Code(), n)
		require.Equal(t, c.base, n.Base(), n)
	}
	for name, c := range map[string]struct {
		aux        int
		code, base string
	}{
		"aux digit 4":             {4, "01", "2024000000001"},
		"aux digit -1":            {-1, "01", "2024000000001"},
		"no code with 3":          {3, "", "012024000000001"},
		"no code with 0":          {0, "", "012024000000001"},
		"code with 1":             {1, "01", "202400000000123"},
		"code with 2":             {2, "01", "2024000000001"},
		"code of one digit":       {3, "1", "02024000000001"},
		"code of letters":         {3, "0A", "2024000000001"},
		"short base":              {3, "01", "202400000001"},
		"long base":               {3, "01", "20240000000011"},
		"long base with 1":        {1, "", "012345678901234567"},
		"base with check digits":  {2, "", "01234567890123415"},
		"letter in base":          {3, "01", "202400000000O"},
		"digits of other lands":   {3, "01", "٢٢٢٢٢٢a"},
		"a sign":                  {3, "-1", "2024000000001"},
		"nothing":                 {},
		"blank in front of base":  {3, "01", " 024000000001"},
		"code within a long base": {0, "", "1234567890123456"},
	} {
		n, err := pagopa.NewNoticeNumber(c.aux, c.code, c.base)
		require.ErrorIs(t, err, pagopa.ErrInvalid, name)
		require.Empty(t, n, name)
	}
}

func TestNoticeNumberOfIUV(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		aux              int
		application, iuv string
		want             pagopa.NoticeNumber
	}{
		{3, "", "22201151398574181", "322201151398574181"},
		{3, "", "02012387654312384", "302012387654312384"}, // wrong check digits stay
		{0, "02", "202400000012337", "002202400000012337"},
		{0, "01", "000000000000141", "001000000000000141"},
		{1, "", "01234567890123456", "101234567890123456"},
		{2, "", "01234567890123415", "201234567890123415"},
	} {
		n, err := pagopa.NoticeNumberOf(c.aux, c.application, c.iuv)
		require.NoError(t, err, c.want)
		require.Equal(t, c.want, n)
		require.Equal(t, c.iuv, n.IUV())
	}
	for name, c := range map[string]struct {
		aux              int
		application, iuv string
	}{
		"aux digit 4":                        {4, "", "22201151398574181"},
		"aux digit -1":                       {-1, "", "22201151398574181"},
		"no application code":                {0, "", "202400000012337"},
		"no application code, but 17 digits": {0, "", "02202400000012337"},
		"segregation code given twice":       {3, "22", "201151398574181"},
		"one digit of the IUV apart":         {3, "2", "2201151398574181"},
		"application code with 1":            {1, "01", "234567890123456"},
		"application code of letters":        {0, "O1", "000000000000141"},
		"application code of one digit":      {0, "1", "0000000000000141"},
		"short":                              {3, "", "2220115139857418"},
		"long":                               {3, "", "222011513985741811"},
		"letter":                             {3, "", "2220115139857418A"},
		"creditor reference RF":              {3, "", "RF18539007547034"},
		"nothing":                            {},
	} {
		n, err := pagopa.NoticeNumberOf(c.aux, c.application, c.iuv)
		require.ErrorIs(t, err, pagopa.ErrInvalid, name)
		require.Empty(t, n, name)
	}
	for _, n := range []pagopa.NoticeNumber{"", "402032002700000251", "30203200270000025"} {
		require.Empty(t, n.IUV())
		require.Empty(t, n.Code())
		require.Empty(t, n.Base())
	}
}

func FuzzNewNoticeNumber(f *testing.F) {
	f.Add(3, "01", "2024000000001")
	f.Add(0, "02", "2024000000123")
	f.Add(1, "", "01234567890123456")
	f.Add(2, "", "012345678901234")
	f.Add(-1, "", "")
	f.Fuzz(func(t *testing.T, aux int, code, base string) {
		n, err := pagopa.NewNoticeNumber(aux, code, base)
		if err != nil {
			if n != "" {
				t.Fatal("a number beside the error")
			}
			return
		}
		if !n.Check() || n.AuxDigit() != aux || n.Code() != code || n.Base() != base {
			t.Fatalf("%d %q %q gives %q: %v %d %q %q", aux, code, base, n, n.Check(), n.AuxDigit(), n.Code(), n.Base())
		}
	})
}

func FuzzNoticeNumberOf(f *testing.F) {
	f.Add(3, "", "22201151398574181")
	f.Add(0, "02", "202400000012337")
	f.Add(0, "", "02202400000012337")
	f.Add(4, "", "22201151398574181")
	f.Fuzz(func(t *testing.T, aux int, application, iuv string) {
		n, err := pagopa.NoticeNumberOf(aux, application, iuv)
		if err != nil {
			if n != "" {
				t.Fatal("a number beside the error")
			}
			return
		}
		if !n.Valid() || n.AuxDigit() != aux || n.IUV() != iuv || aux == 0 && n.Code() != application {
			t.Fatalf("%d %q %q gives %q", aux, application, iuv, n)
		}
	})
}
