package pagopa_test

import (
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/internal/form"
	"github.com/appio-go/appio/internal/notices"
	"github.com/appio-go/appio/pagopa"
)

// printer is what writes codes.
type printer struct {
	qr     func(pagopa.Code) (string, error)
	matrix func(pagopa.Code, string) (string, error)
}

// roundTrip is nil if all that the codes of the notice say is read back as it was, and only that.
func roundTrip(p printer, n notices.Notice) error {
	text, err := p.qr(n.Code)
	if err != nil {
		return err
	}
	want := pagopa.Code{RPTID: n.Code.RPTID, Amount: n.Code.Amount}
	if got, err := pagopa.ParseCode(text); err != nil || got != want || len(text) > 52 {
		return fmt.Errorf("QR %q reads as %#v, %w", text, got, err)
	}
	if text, err = p.matrix(n.Code, n.Account); err != nil {
		return err
	}
	if got, err := pagopa.ParseCode(text); err != nil || got != n.Read || len(text) != 256 {
		return fmt.Errorf("data matrix %q of %d characters reads as %#v, %w", text, len(text), got, err)
	}
	if account := text[35:47]; account != strings.Repeat("0", 12-len(n.Account))+n.Account {
		return fmt.Errorf("account %s is %s", n.Account, account)
	}
	if got, err := pagopa.ParseRPTID(n.Code.RPTID.String()); err != nil || got != n.Code.RPTID {
		return fmt.Errorf("RPT id %s reads as %v, %w", n.Code.RPTID, got, err)
	}
	number := n.Code.Notice
	if got, err := pagopa.NoticeNumberOf(number.AuxDigit(), strings.TrimSuffix(string(number[1:]), number.IUV()), number.IUV()); err != nil || got != number {
		return fmt.Errorf("notice number %s has the IUV %s, of the number %s, %w", number, number.IUV(), got, err)
	}
	if number.AuxDigit() != 1 {
		front, _ := new(big.Int).SetString(string(number[:16]), 10)
		if check := new(big.Int).Mod(front, big.NewInt(93)); fmt.Sprintf("%02d", check) != string(number[16:]) {
			return fmt.Errorf("notice number %s should end in %v", number, check)
		}
	}
	if !number.Check() {
		return errors.New("check digits are wrong")
	}
	return nil
}

// TestRoundTrip writes and reads 20,000 made-up notices, or ITEST_COUNT.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	seed := form.Seed(t)
	p := printer{pagopa.Code.QR, pagopa.Code.DataMatrix}
	done := 0
	for more := form.Rounds(t, 0, 20_000, 2_000); more(); done++ {
		n := notices.Random(rand.New(rand.NewPCG(seed, uint64(done))))
		if err := roundTrip(p, n); err != nil {
			t.Fatalf("notice %d: %#v: %v", done, n, err)
		}
	}
	form.Figures(t, map[string]float64{"notices": float64(done)})
}

// What has gone wrong elsewhere is found by TestRoundTrip.
func TestRoundTripFinds(t *testing.T) {
	t.Parallel()
	right := printer{pagopa.Code.QR, pagopa.Code.DataMatrix}
	matrix := func(change func(string) string) printer {
		return printer{right.qr, func(c pagopa.Code, account string) (string, error) {
			text, err := c.DataMatrix(account)
			return change(text), err
		}}
	}
	for name, p := range map[string]printer{
		"an amount that went through floating point": {func(c pagopa.Code) (string, error) {
			c.Amount = pagopa.Amount(float32(c.Amount))
			return c.QR()
		}, right.matrix},
		"a QR code without the notice's zeros": {func(c pagopa.Code) (string, error) {
			text, err := c.QR()
			return strings.Replace(text, "|002|0", "|002|", 1), err
		}, right.matrix},
		"the debtor printed, therefore masked": {right.qr, func(c pagopa.Code, account string) (string, error) {
			text, err := c.DataMatrix(account)
			return strings.Replace(text, string(c.Debtor), fmt.Sprint(c.Debtor), 1), err
		}},
		"a name padded to 39":       matrix(func(s string) string { return s[:132] + s[133:] }),
		"an account padded to 11":   matrix(func(s string) string { return s[:35] + s[36:] }),
		"the blanks at the end cut": matrix(func(s string) string { return strings.TrimRight(s[:255], " ") }),
		"a reason cut at 60":        matrix(func(s string) string { return s[:193] + strings.Repeat(" ", 50) + s[243:] }),
	} {
		found := false
		for i := range uint64(1000) {
			found = found || roundTrip(p, notices.Random(rand.New(rand.NewPCG(1, i)))) != nil
		}
		require.True(t, found, name)
	}
}
