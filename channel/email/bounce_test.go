package email_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/email"
)

// report is a delivery status notification as mail servers write them, about a mail that had these fields.
func report(returned, recipients string) string {
	return strings.ReplaceAll(`Return-Path: <>
Date: Mon, 2 Nov 2026 10:00:00 +0100 (CET)
From: MAILER-DAEMON@mail.example.org (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: avvisi@comune.example.org
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="4C7B12.1762074000/mail.example.org"

This is a MIME-encapsulated message.

--4C7B12.1762074000/mail.example.org
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mail.example.org.

<maria.bianchi@example.org>: no such user

--4C7B12.1762074000/mail.example.org
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mail.example.org
X-Postfix-Queue-ID: 4C7B12
Arrival-Date: Mon, 2 Nov 2026 09:59:59 +0100 (CET)

`+recipients+`
--4C7B12.1762074000/mail.example.org
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

`+returned+`
--4C7B12.1762074000/mail.example.org--
`, "\n", "\r\n")
}

func recipient(action, status string) string {
	return fmt.Sprintf("Final-Recipient: rfc822; maria.bianchi@example.org\nOriginal-Recipient: rfc822;maria.bianchi@example.org\nAction: %s\nStatus: %s\n"+
		"Remote-MTA: dns; mx.example.org\nDiagnostic-Code: smtp; 550 5.1.1 <maria.bianchi@example.org>: User\n unknown\n", action, status)
}

// returned is what a server has sent, up to its text.
func returned(t *testing.T, s *mailServer) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	h, _, ok := strings.Cut(string(s.got[len(s.got)-1]), "\r\n\r\n")
	require.True(t, ok)
	return strings.ReplaceAll(h, "\r\n", "\n") + "\n"
}

func TestBouncedMailStopsWhatFollows(t *testing.T) {
	t.Parallel()
	s := newMailServer(t, false)
	w, ctx := newPlatform(t, open(t, s.options())), t.Context()
	id := w.send()
	require.Equal(t, 1, w.flush())
	b, err := email.ParseBounce(strings.NewReader(report(returned(t, s), recipient("failed", "5.1.1"))))
	require.NoError(t, err)
	require.True(t, b.Unreachable())
	require.NotContains(t, fmt.Sprint(b), b.Token)
	r, err := w.Explain(ctx, maria, id)
	require.NoError(t, err)
	require.Equal(t, string(r.Outcomes[0].ID)+"@comune.example.org", b.MessageID)

	require.NoError(t, w.Bounced(ctx, b.Token))
	w.send()
	w.flush()
	require.Len(t, s.messages(t), 1)

	v, err := w.citizen.ValidateAddress(ctx, "home")
	require.NoError(t, err)
	require.NoError(t, w.ConfirmAddress(ctx, v.Token))
	require.NoError(t, w.Bounced(ctx, b.Token), "an old report")
	w.send()
	w.flush()
	require.Len(t, s.messages(t), 2)

	other := newPlatform(t, open(t, s.options()))
	require.ErrorIs(t, other.Bounced(ctx, b.Token), appio.ErrUnauthorized, "one of another platform")
	forged := []byte(b.Token)
	forged[20] ^= 1
	require.ErrorIs(t, w.Bounced(ctx, string(forged)), appio.ErrUnauthorized)
}

func TestParseBounce(t *testing.T) {
	t.Parallel()
	const mail = "Message-ID: <abc@comune.example.org>\nX-Appio-Bounce: to-ken\n _1\nSubject: x\n"
	parse := func(t *testing.T, s string) email.Bounce {
		t.Helper()
		b, err := email.ParseBounce(iotest.OneByteReader(strings.NewReader(s)))
		require.NoError(t, err)
		return b
	}
	for _, c := range []struct {
		action, status string
		unreachable    bool
	}{
		{"failed", "5.1.1", true}, {"Failed", "5.1.2", true}, {"failed (permanently)", "5.1.10 (null MX)", true}, {"failed", "5.2.1", true}, {"failed", "5.4.4", true},
		{"failed", "5.2.2", false}, {"failed", "5.7.1", false}, {"failed", "4.4.7", false}, {"delayed", "4.4.1", false},
		{"delayed", "5.1.1", false}, {"delivered", "2.0.0", false}, {"relayed", "2.0.0", false},
	} {
		b := parse(t, report(mail, recipient(c.action, c.status)))
		require.Equal(t, c.unreachable, b.Unreachable(), c)
		require.Equal(t, []string{"to-ken_1", "abc@comune.example.org"}, []string{b.Token, b.MessageID})
	}
	t.Run("of several recipients the best news counts", func(t *testing.T) {
		t.Parallel()
		b := parse(t, report(mail, recipient("failed", "5.1.1")+"\n"+recipient("delivered", "2.1.5")+"\n"+recipient("failed", "5.1.2")))
		require.Equal(t, "delivered 2.1.5", b.String())
		require.True(t, parse(t, report(mail, recipient("failed", "5.1.1")+"\n"+recipient("failed", "5.1.2"))).Unreachable())
	})
	t.Run("the whole mail may come back, in other encodings", func(t *testing.T) {
		t.Parallel()
		s := strings.Replace(report(mail+"\ntext\nX-Appio-Bounce: no\n", recipient("failed", "5.1.1")), "text/rfc822-headers", "message/rfc822", 1)
		require.Equal(t, "to-ken_1", parse(t, s).Token)
		s = strings.Replace(report("TWVzc2FnZS1JRDogPGFiY0Bjb211bmUuZXhhbXBsZS5vcmc+Clgt\nQXBwaW8tQm91bmNlOiB0by1rZW5fMQo=\n", recipient("failed", "5.1.1")),
			"Content-Type: text/rfc822-headers", "Content-Type: message/global-headers\r\nContent-Transfer-Encoding: base64", 1)
		require.Equal(t, "to-ken_1", parse(t, s).Token)
		s = strings.Replace(report(strings.ReplaceAll(mail, "=", "=3D"), recipient("failed", "5.1.1")),
			"Content-Type: text/rfc822-headers", "Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: quoted-printable", 1)
		require.Equal(t, "to-ken_1", parse(t, s).Token)
	})
	t.Run("the diagnostic says what the status leaves open", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, "5.1.1", parse(t, report(mail, recipient("failed", "5.0.0"))).Status)
		for _, said := range []string{"550 4.1.1 <", "550 no <", "unix; 550 5.1.1 <"} {
			s := strings.Replace(report(mail, recipient("failed", "5.0.0")), "550 5.1.1 <", said, 1)
			require.Equal(t, "5.0.0", parse(t, s).Status, said)
			require.False(t, parse(t, s).Unreachable())
		}
	})
	t.Run("a report that returns nothing has no token, and one that is cut is as good as what is there", func(t *testing.T) {
		t.Parallel()
		whole := report(mail, recipient("failed", "5.1.1"))
		at := strings.Index(whole, "Content-Description: Undelivered")
		require.Empty(t, parse(t, whole[:at]).Token)
		long := report(mail+"\n"+strings.Repeat("testo\n", 1<<18), recipient("failed", "5.1.1"))
		require.Equal(t, "to-ken_1", parse(t, strings.Replace(long, "text/rfc822-headers", "message/rfc822", 1)).Token)
	})
	t.Run("what is no token is none", func(t *testing.T) {
		t.Parallel()
		for _, v := range []string{"a b?", "<x>", strings.Repeat("x", 3000), "\x80"} {
			require.Empty(t, parse(t, report("X-Appio-Bounce: "+v+"\n", recipient("failed", "5.1.1"))).Token)
		}
	})
	t.Run("what is no report is refused", func(t *testing.T) {
		t.Parallel()
		whole := report(mail, recipient("failed", "5.1.1"))
		for _, s := range []string{
			"", "x", "Subject: x\r\n\r\ntext", strings.Replace(whole, "multipart/report", "text/plain", 1),
			strings.Replace(whole, "message/delivery-status", "text/plain", 1), strings.Replace(whole, "Action: failed", "Action: nonsense", 1),
			strings.Replace(whole, "Status: 5.1.1", "Status: none", 1), "X: " + strings.Repeat("x", 1<<20) + "\r\n" + whole, report(mail, ""),
		} {
			_, err := email.ParseBounce(strings.NewReader(s))
			require.ErrorIs(t, err, email.ErrNotBounce)
		}
		gone := errors.New("the mailbox is away")
		_, err := email.ParseBounce(io.MultiReader(strings.NewReader(whole[:200]), iotest.ErrReader(gone)))
		require.ErrorIs(t, err, gone)
	})
	t.Run("it reads no more than it says", func(t *testing.T) {
		t.Parallel()
		whole := report(mail, recipient("failed", "5.1.1"))
		for _, start := range []string{"", whole[:strings.Index(whole, "This is the mail")], whole[:strings.Index(whole, "--4C7B12.1762074000/mail.example.org--")]} {
			endless := &counter{r: io.MultiReader(strings.NewReader(start), forever{})}
			_, err := email.ParseBounce(endless)
			require.True(t, err == nil || errors.Is(err, email.ErrNotBounce))
			require.LessOrEqual(t, endless.n, 1<<20)
		}
	})
}

type forever struct{}

func (forever) Read(p []byte) (int, error) {
	return copy(p, strings.Repeat("testo senza fine\r\n", 100)), nil
}

type counter struct {
	r io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

func FuzzParseBounce(f *testing.F) {
	const mail = "Message-ID: <abc@comune.example.org>\nX-Appio-Bounce: to-ken\n _1\nSubject: x\n"
	f.Add(report(mail, recipient("failed", "5.1.1")))
	f.Add(report(mail, recipient("failed", "5.1.1")+"\n"+recipient("delivered", "2.1.5")))
	f.Add("Content-Type: multipart/report; boundary=x\n\n--x\nContent-Type: message/delivery-status\n\n\nAction: failed\nStatus: 5.1.1\n--x--")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := email.ParseBounce(strings.NewReader(s))
		if err != nil {
			if !errors.Is(err, email.ErrNotBounce) || b != (email.Bounce{}) {
				t.Fatal(b, err)
			}
			return
		}
		if b.Action == "" || b.Status == "" || strings.ContainsAny(b.Token+b.MessageID+b.Status+b.Action, " \r\n<>") || len(b.Token) > 2<<10 {
			t.Fatalf("%+v", b)
		}
	})
}
