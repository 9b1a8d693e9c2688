package email_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/channeltest"
	"github.com/appio-go/appio/channel/email"
)

func TestChannel(t *testing.T) {
	t.Parallel()
	for name, implicit := range map[string]bool{"STARTTLS": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			channeltest.Run(t, func(t *testing.T) (appio.Channel, func() []appio.DeliveryID) {
				s := newMailServer(t, implicit)
				return open(t, s.options(func(o *email.Options) {
					if implicit {
						o.TLS = email.Implicit
					}
				})), s.ids(t)
			})
		})
	}
}

// verdict is what an engine takes an error for.
func verdict(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return "delivered"
	}
	require.NotContains(t, err.Error(), "maria")
	require.NotContains(t, err.Error(), password)
	answer := err
	w := newPlatform(t, appio.ChannelFunc(func(context.Context, appio.Delivery) error { return answer }))
	id := w.send()
	w.flush()
	r, err := w.Explain(t.Context(), maria, id)
	require.NoError(t, err)
	if len(r.Outcomes) > 0 {
		return map[appio.OutcomeResult]string{appio.OutcomeGone: "gone", appio.OutcomeParked: "permanent"}[r.Outcomes[0].Result]
	}
	w.advance(time.Second)
	w.flush()
	w.advance(2 * time.Minute) // Backoff has passed
	if w.flush() == 0 {
		return "pause"
	}
	return "later"
}

// The server's words are in none of the errors: they may quote the address in any form.
func TestReplies(t *testing.T) {
	t.Parallel()
	type reply struct {
		code int
		enh  smtp.EnhancedCode
	}
	for _, c := range []struct {
		step string
		reply
		want, says string
	}{
		{"MAIL", reply{451, smtp.EnhancedCode{4, 3, 0}}, "later", "email: MAIL: 451 4.3.0"},
		{"RCPT", reply{450, smtp.EnhancedCode{4, 2, 2}}, "later", "email: RCPT: 450 4.2.2"},
		{"DATA", reply{452, smtp.EnhancedCode{4, 3, 1}}, "later", "email: message: 452 4.3.1"},
		{"RCPT", reply{451, smtp.EnhancedCode{4, 7, 1}}, "pause", "email: RCPT: 451 4.7.1"},
		{"RCPT", reply{421, smtp.EnhancedCode{4, 7, 28}}, "pause", "email: RCPT: 421 4.7.28"},
		{"DATA", reply{421, smtp.EnhancedCode{4, 3, 2}}, "pause", "email: message: 421 4.3.2"},
		{"RCPT", reply{550, smtp.EnhancedCode{5, 1, 1}}, "gone", "email: RCPT: 550 5.1.1"},
		{"RCPT", reply{551, smtp.EnhancedCode{5, 1, 6}}, "gone", "email: RCPT: 551 5.1.6"},
		{"RCPT", reply{556, smtp.EnhancedCode{5, 1, 10}}, "gone", "email: RCPT: 556 5.1.10"},
		{"DATA", reply{550, smtp.EnhancedCode{5, 1, 1}}, "gone", "email: message: 550 5.1.1"},
		{"RCPT", reply{550, smtp.NoEnhancedCode}, "permanent", "email: RCPT: 550"},
		{"RCPT", reply{550, smtp.EnhancedCode{5, 7, 1}}, "later", "email: RCPT: 550 5.7.1"}, // the relay is not for this sender
		{"RCPT", reply{554, smtp.EnhancedCode{5, 7, 0}}, "later", "email: RCPT: 554 5.7.0"},
		{"RCPT", reply{550, smtp.EnhancedCode{5, 7, 27}}, "later", "email: RCPT: 550 5.7.27"},
		{"RCPT", reply{550, smtp.EnhancedCode{5, 1, 2}}, "permanent", "email: RCPT: 550 5.1.2"},
		{"RCPT", reply{550, smtp.EnhancedCode{5, 70, 1}}, "permanent", "email: RCPT: 550 5.70.1"},
		{"DATA", reply{550, smtp.EnhancedCode{5, 7, 1}}, "permanent", "email: message: 550 5.7.1"}, // about the text
		{"RCPT", reply{552, smtp.EnhancedCode{5, 2, 2}}, "permanent", "email: RCPT: 552 5.2.2"},
		{"MAIL", reply{550, smtp.EnhancedCode{5, 1, 1}}, "permanent", "email: MAIL: 550 5.1.1"}, // about the sender
		{"MAIL", reply{553, smtp.EnhancedCode{5, 7, 1}}, "later", "email: MAIL: 553 5.7.1"},     // the login may not write as this sender
		{"MAIL", reply{530, smtp.EnhancedCode{5, 7, 0}}, "later", "email: MAIL: 530 5.7.0"},
		{"DATA", reply{554, smtp.EnhancedCode{5, 6, 0}}, "permanent", "email: message: 554 5.6.0"},
		{"DATA", reply{550, smtp.EnhancedCode{5, 7, 8}}, "later", "email: message: 550 5.7.8"},
	} {
		t.Run(fmt.Sprint(c.step, c.code, c.enh), func(t *testing.T) {
			t.Parallel()
			s := newMailServer(t, false)
			s.refuse = func(step string) error {
				if step != c.step {
					return nil
				}
				return &smtp.SMTPError{Code: c.code, EnhancedCode: c.enh, Message: "<maria.bianchi@example.org> maria=2Ebianchi: no\nmaria"}
			}
			ch := open(t, s.options())
			err := ch.Deliver(t.Context(), delivery())
			require.Equal(t, c.want, verdict(t, err))
			require.Equal(t, c.says, err.Error())
			s.mu.Lock()
			s.refuse = nil
			s.mu.Unlock()
			require.NoError(t, ch.Deliver(t.Context(), delivery()), "the connection, or another, serves the next one")
			if c.code != 421 {
				require.Equal(t, 1, s.connections())
			}
		})
	}
}

// A play is a server that says what it is told to.
type play struct {
	net.Listener
	mu    sync.Mutex
	says  map[string]string // by command; "" is the greeting, "." the end of a message; "hang", "close"
	once  map[string]string // said instead, the first time
	heard []string
	conns int
}

func (p *play) commands() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.heard)
}

func (p *play) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns
}

func newPlay(t *testing.T, says map[string]string) *play {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &play{Listener: l, says: map[string]string{
		"": "220 mail.example.org ESMTP", "EHLO": "250-mail.example.org\r\n250 ENHANCEDSTATUSCODES", "HELO": "250 mail.example.org", "MAIL": "250 ok", "RCPT": "250 ok",
		"DATA": "354 go on", ".": "250 taken", "RSET": "250 ok", "QUIT": "221 bye",
	}}
	for k, v := range says {
		p.says[k] = v
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wait.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wait.Wait()
	})
	return p
}

func (p *play) serve(c net.Conn) {
	defer c.Close()
	p.mu.Lock()
	p.conns++
	p.mu.Unlock()
	r := bufio.NewReader(c)
	inData := false
	command := ""
	for {
		p.mu.Lock()
		answer, ok := p.once[command]
		delete(p.once, command)
		if !ok {
			answer, ok = p.says[command]
		}
		p.mu.Unlock()
		switch {
		case answer == "close":
			return
		case answer == "hang":
			_, _ = io.Copy(io.Discard, r)
			return
		case !ok:
			answer = "502 5.5.1 no such command"
		}
		if _, err := fmt.Fprint(c, answer, "\r\n"); err != nil {
			return
		}
		inData = command == "DATA" && strings.HasPrefix(answer, "354")
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if line = strings.TrimRight(line, "\r\n"); inData && line != "." {
				continue
			}
			command, _, _ = strings.Cut(strings.ToUpper(line), " ")
			p.mu.Lock()
			p.heard = append(p.heard, line)
			p.mu.Unlock()
			break
		}
	}
}

func (p *play) options(changes ...func(*email.Options)) *email.Options {
	s := &mailServer{addr: p.Addr().String()}
	return s.options(append([]func(*email.Options){func(o *email.Options) {
		o.TLS, o.Username, o.Password = email.Plain, "", ""
	}}, changes...)...)
}

func TestEachStepMayFail(t *testing.T) {
	t.Parallel()
	steps := []string{"", "EHLO", "MAIL", "RCPT", "DATA", "."}
	for _, step := range steps {
		t.Run("hangs at "+step, func(t *testing.T) {
			t.Parallel()
			p := newPlay(t, map[string]string{step: "hang"})
			c := open(t, p.options())
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			start := time.Now()
			err := c.Deliver(ctx, delivery())
			require.ErrorIs(t, err, context.Canceled)
			require.Less(t, time.Since(start), 5*time.Second)
			ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			require.ErrorIs(t, c.Deliver(ctx, delivery()), context.DeadlineExceeded)
		})
		t.Run("ends at "+step, func(t *testing.T) {
			t.Parallel()
			p := newPlay(t, map[string]string{step: "close", "HELO": "close"})
			err := open(t, p.options()).Deliver(t.Context(), delivery())
			require.Equal(t, "later", verdict(t, err))
			require.Equal(t, 1, p.connections(), "one attempt")
		})
		t.Run("says nonsense at "+step, func(t *testing.T) {
			t.Parallel()
			p := newPlay(t, map[string]string{step: "maria.bianchi@example.org", "HELO": "maria"})
			require.Equal(t, "later", verdict(t, open(t, p.options()).Deliver(t.Context(), delivery())))
		})
	}
	for _, c := range []struct{ step, reply, want string }{
		{"", "421 4.7.0 too many connections", "pause"},
		{"", "554 5.7.1 we do not like this machine", "later"}, // not about the message
		{"EHLO", "550 5.7.1 nor its name", "later"},
		{"DATA", "554 5.5.1 no valid recipients", "permanent"},
		{"DATA", "451 4.3.0 later", "later"},
		{".", "550-5.1.1 The email account that you tried to reach\r\n550 5.1.1 does not exist: maria.bianchi", "gone"},
		{"RCPT", "550 4.1.1 a class of another kind", "permanent"},
	} {
		t.Run(c.step+" is answered with "+c.reply, func(t *testing.T) {
			t.Parallel()
			p := newPlay(t, map[string]string{c.step: c.reply, "HELO": c.reply})
			require.Equal(t, c.want, verdict(t, open(t, p.options()).Deliver(t.Context(), delivery())))
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		t.Parallel()
		p := newPlay(t, nil)
		c := open(t, p.options())
		require.NoError(t, p.Close())
		require.Equal(t, "later", verdict(t, c.Deliver(t.Context(), delivery())))
	})
}

func TestProtection(t *testing.T) {
	t.Parallel()
	t.Run("without STARTTLS nothing is sent", func(t *testing.T) {
		t.Parallel()
		p := newPlay(t, nil)
		err := open(t, p.options(func(o *email.Options) { o.TLS = email.StartTLS })).Deliver(t.Context(), delivery())
		require.Equal(t, "later", verdict(t, err))
		require.Equal(t, "email: STARTTLS: the server does not offer it", err.Error())
		require.Len(t, p.commands(), 1, "EHLO alone")
		require.NoError(t, open(t, p.options(func(o *email.Options) { o.TLS = email.Opportunistic })).Deliver(t.Context(), delivery()))
	})
	t.Run("what the server says before it is protected does not count", func(t *testing.T) {
		t.Parallel()
		p := newPlay(t, map[string]string{"EHLO": "250-mail.example.org\r\n250 STARTTLS", "STARTTLS": "220 go on\r\n250 injected\r\n250 ok\r\n250 ok\r\n354 go on\r\n250 taken"})
		for _, how := range []email.TLS{email.StartTLS, email.Opportunistic} {
			err := open(t, p.options(func(o *email.Options) { o.TLS = how })).Deliver(t.Context(), delivery())
			require.Equal(t, "later", verdict(t, err))
		}
	})
	t.Run("a certificate of somebody else is refused", func(t *testing.T) {
		t.Parallel()
		for _, how := range []email.TLS{email.StartTLS, email.Opportunistic, email.Implicit} {
			s := newMailServer(t, how == email.Implicit)
			err := open(t, s.options(func(o *email.Options) { o.TLSConfig, o.TLS = nil, how })).Deliver(t.Context(), delivery())
			require.Equal(t, "later", verdict(t, err))
			require.ErrorContains(t, err, "certificate")
			require.Empty(t, s.got)
		}
	})
	t.Run("a password is not told to everybody", func(t *testing.T) {
		t.Parallel()
		p := newPlay(t, map[string]string{"EHLO": "250-mail.example.org\r\n250 AUTH PLAIN LOGIN", "AUTH": "235 ok"})
		err := open(t, p.options(func(o *email.Options) {
			o.Username, o.Password, o.Addr = user, password, strings.Replace(o.Addr, "127.0.0.1", "elsewhere.example.org", 1)
			o.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, p.Addr().String())
			}
		})).Deliver(t.Context(), delivery())
		require.ErrorContains(t, err, "unencrypted")
		require.NotContains(t, strings.Join(p.commands(), "\n"), "AUTH")
	})
	t.Run("a wrong password is put right while deliveries wait", func(t *testing.T) {
		t.Parallel()
		s := newMailServer(t, false)
		err := open(t, s.options(func(o *email.Options) { o.Password = "wrong" })).Deliver(t.Context(), delivery())
		require.Equal(t, "later", verdict(t, err))
		require.ErrorContains(t, err, "AUTH: 535")
		err = open(t, s.options(func(o *email.Options) { o.Username, o.Password = "", "" })).Deliver(t.Context(), delivery())
		require.Equal(t, "later", verdict(t, err))
	})
	for _, reply := range []string{"454 4.7.0 temporary authentication failure", "504 5.5.4 mechanism", "535 5.7.8 no"} {
		t.Run("AUTH: "+reply, func(t *testing.T) {
			t.Parallel()
			p := newPlay(t, map[string]string{"EHLO": "250-mail.example.org\r\n250 AUTH PLAIN", "AUTH": reply, "*": "501 ended"})
			err := open(t, p.options(func(o *email.Options) { o.Username, o.Password = user, password })).Deliver(t.Context(), delivery())
			require.Equal(t, "later", verdict(t, err))
		})
	}
}

func TestPool(t *testing.T) {
	t.Parallel()
	t.Run("connections are used again, and there are no more than allowed", func(t *testing.T) {
		t.Parallel()
		s := newMailServer(t, false)
		most := 0
		s.refuse = func(string) error { most = max(most, s.sessions); return nil }
		c := open(t, s.options(func(o *email.Options) { o.Connections = 3 }))
		var wait sync.WaitGroup
		for range 12 {
			wait.Go(func() {
				for range 5 {
					if err := c.Deliver(t.Context(), delivery()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wait.Wait()
		require.Len(t, s.got, 60)
		require.LessOrEqual(t, s.connections(), 3)
		require.LessOrEqual(t, most, 3)
	})
	t.Run("who waits for a place obeys the context", func(t *testing.T) {
		t.Parallel()
		p := newPlay(t, map[string]string{"MAIL": "hang"})
		c := open(t, p.options(func(o *email.Options) { o.Connections = 1 }))
		first, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Deliver(first, delivery()) }()
		require.Eventually(t, func() bool { return len(p.commands()) > 1 }, 5*time.Second, time.Millisecond)
		second, end := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer end()
		require.ErrorIs(t, c.Deliver(second, delivery()), context.DeadlineExceeded)
		require.Equal(t, 1, p.connections())
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
	})
	t.Run("one that is not used is closed", func(t *testing.T) {
		t.Parallel()
		s := newMailServer(t, false)
		c := open(t, s.options(func(o *email.Options) { o.Idle = 50 * time.Millisecond }))
		require.NoError(t, c.Deliver(t.Context(), delivery()))
		require.Eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.sessions == 0 }, 5*time.Second, 5*time.Millisecond)
		require.NoError(t, c.Deliver(t.Context(), delivery()))
		require.Equal(t, 2, s.connections())
	})
	t.Run("one that the server has closed is noticed, and the delivery does not fail", func(t *testing.T) {
		t.Parallel()
		for _, end := range []string{"close", "421 4.4.2 timeout"} {
			p := newPlay(t, nil)
			c := open(t, p.options())
			require.NoError(t, c.Deliver(t.Context(), delivery()))
			p.mu.Lock()
			p.once = map[string]string{"MAIL": end}
			p.mu.Unlock()
			require.NoError(t, c.Deliver(t.Context(), delivery()))
			require.Equal(t, 2, p.connections())
		}
	})
	t.Run("one that was used often is ended", func(t *testing.T) {
		t.Parallel()
		p := newPlay(t, nil)
		c := open(t, p.options())
		for range 101 {
			require.NoError(t, c.Deliver(t.Context(), delivery()))
		}
		require.Equal(t, 2, p.connections())
		require.Contains(t, p.commands(), "QUIT")
	})
	t.Run("after Close nothing is sent, and nothing is left", func(t *testing.T) {
		t.Parallel()
		s := newMailServer(t, false)
		c := open(t, s.options())
		require.NoError(t, c.Deliver(t.Context(), delivery()))
		require.NoError(t, c.Close())
		require.Eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.sessions == 0 }, 5*time.Second, 5*time.Millisecond)
		require.Error(t, c.Deliver(t.Context(), delivery()))
	})
}

func TestOptions(t *testing.T) {
	t.Parallel()
	s := &mailServer{addr: "mail.example.org:587"}
	for field, change := range map[string]func(*email.Options){
		"Addr":          func(o *email.Options) { o.Addr = "mail.example.org" },
		"From":          func(o *email.Options) { o.From.Address = "a@b@c" },
		"Return":        func(o *email.Options) { o.Return = `"a> SIZE=1"@example.org` },
		"Domain":        func(o *email.Options) { o.Domain = "not a domain" },
		"TLS":           func(o *email.Options) { o.TLS = 9 },
		"Body":          func(o *email.Options) { o.Body = 9 },
		"Username":      func(o *email.Options) { o.Password = "" },
		"Connections":   func(o *email.Options) { o.Connections = -1 },
		"Idle":          func(o *email.Options) { o.Idle = -1 },
		"Withdraw":      func(o *email.Options) { o.Withdraw = "http://io.example.org/stop" },
		"Validate":      func(o *email.Options) { o.Validate = "https://io.example.org/?a=b" },
		"Logo":          func(o *email.Options) { o.Logo = []byte("<svg xmlns='http://www.w3.org/2000/svg'/>") },
		"DKIM.Key":      func(o *email.Options) { o.DKIM = &email.DKIM{Domain: "example.org", Selector: "a"} },
		"DKIM.Domain":   func(o *email.Options) { o.DKIM = &email.DKIM{Domain: "example.com", Selector: "a", Key: newKey(t)} },
		"DKIM.Selector": func(o *email.Options) { o.DKIM = &email.DKIM{Domain: "example.org", Key: newKey(t)} },
	} {
		_, err := email.New(s.options(change))
		var f *appio.FieldError
		require.ErrorAs(t, err, &f, field)
		require.Equal(t, "Options."+field, f.Field)
	}
	_, err := email.New(nil)
	require.ErrorIs(t, err, appio.ErrInvalid)
	require.False(t, errors.Is(err, appio.ErrUnsupported))
}
