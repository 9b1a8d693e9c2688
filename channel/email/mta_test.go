package email_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/email"
)

// newOpenSMTPD starts OpenSMTPD, which passes mail on to next. It needs root, and is the only one on the machine. Debian 12's cannot speak
// TLS as a server: its separate process for keys does not work with OpenSSL 3.
func newOpenSMTPD(t *testing.T, next string) (addr string) {
	t.Helper()
	const program = "/usr/sbin/smtpd"
	if _, err := os.Stat(program); errors.Is(err, fs.ErrNotExist) || os.Geteuid() != 0 {
		t.Skip("needs Debian's package opensmtpd, and root")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr = l.Addr().String()
	require.NoError(t, l.Close())
	conf := filepath.Join(t.TempDir(), "smtpd.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, "listen on 127.0.0.1 port %s hostname mail.example.org\n"+
		"action next relay host \"smtp://%s\" helo mail.example.org\nmatch from any for any action next\n", addr[strings.LastIndex(addr, ":")+1:], next), 0o600))
	var log bytes.Buffer
	cmd := exec.Command(program, "-d", "-f", conf)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // its own children, where they are left
		if t.Failed() {
			t.Log(log.String())
		}
	})
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, 20*time.Second, 20*time.Millisecond, "OpenSMTPD does not start")
	return addr
}

// A mail server that is not ours takes the mail as it is, the signature holds after it, and what it says of a mailbox that does not exist is
// understood.
func TestThroughOpenSMTPD(t *testing.T) {
	next := newMailServer(t, false)
	next.open = true
	addr := newOpenSMTPD(t, next.addr)
	key := newKey(t)
	c := open(t, next.options(func(o *email.Options) {
		o.Addr, o.TLS, o.Username, o.Password = addr, email.Plain, "", ""
		o.Body, o.Logo, o.DKIM = email.Whole, logo(t), &email.DKIM{Domain: "example.org", Selector: "a", Key: key}
	}))
	w := newPlatform(t, c)
	arrive := func(n int) {
		t.Helper()
		require.Eventually(t, func() bool { next.mu.Lock(); defer next.mu.Unlock(); return len(next.got) == n }, 60*time.Second, 20*time.Millisecond)
	}
	w.send()
	require.Equal(t, 1, w.flush())
	arrive(1)
	l := next.last(t)
	require.Contains(t, l.header.Get("Received"), "OpenSMTPD")
	require.Equal(t, "<maria.bianchi@example.org>", l.header.Get("To"))
	require.Contains(t, l.html, "la retta della mensa di ottobre è di 84,50 euro")
	require.Equal(t, logo(t), l.images["<logo@comune.example.org>"])
	vs, err := dkim.VerifyWithOptions(bytes.NewReader(l.raw), &dkim.VerifyOptions{LookupTXT: func(string) ([]string, error) {
		return []string{"v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey))}, nil
	}})
	require.NoError(t, err)
	require.Len(t, vs, 1)
	require.NoError(t, vs[0].Err)

	next.mu.Lock()
	next.got = nil
	next.refuseTo = func(to string) error {
		if strings.HasPrefix(to, "maria") {
			return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such user"}
		}
		return nil
	}
	next.mu.Unlock()
	w.send()
	require.Equal(t, 1, w.flush())
	arrive(1) // the report, to Options.Return
	next.mu.Lock()
	raw, to := next.got[0], next.to[len(next.to)-1]
	next.mu.Unlock()
	require.Equal(t, "avvisi@comune.example.org", to)
	b, err := email.ParseBounce(bytes.NewReader(raw))
	require.NoError(t, err, string(raw))
	require.Equal(t, "failed", b.Action)
	require.NotEmpty(t, b.Token, string(raw))
	require.Equal(t, "5.0.0", b.Status, "OpenSMTPD says no more, and leaves it to the operator to read the text")
	require.NoError(t, w.Bounced(t.Context(), b.Token))
	p, err := w.citizen.Profile(t.Context())
	require.NoError(t, err)
	require.Zero(t, p.Addresses[0].ValidatedAt)
	require.Equal(t, appio.Email, p.Addresses[0].Channel)
}
