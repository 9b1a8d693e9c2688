package email

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"

	"github.com/appio-go/appio"
)

// patience is how long a conversation takes at most where the context says nothing.
const patience = time.Minute

// mostPerConnection is how many messages go by one connection: servers like to see an end.
const mostPerConnection = 100

// A mailing is one message for the server.
type mailing struct {
	to  address
	msg []byte
}

// send brings a message to the server, by a connection that waits or by a new one.
func (c *Channel) send(ctx context.Context, m *mailing) error {
	if err := c.pool.enter(ctx); err != nil {
		return err
	}
	defer c.pool.leave()
	k := c.pool.take()
	if k != nil {
		err := c.converse(ctx, k, m)
		if !errors.Is(err, errStale) {
			return err
		}
	}
	k, err := c.dial(ctx)
	if err != nil {
		return err
	}
	return c.converse(ctx, k, m)
}

// errStale means that a connection that had waited is not there any more, and that the server has heard nothing of the message.
var errStale = errors.New("email: the server has ended the connection")

// mostSaid is the most bytes that a server may say about one message, TLS and all: replies are read whole.
const mostSaid = 256 << 10

// A bounded connection breaks where the server does not come to an end.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errBroken
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// A conn is a connection that is logged in.
type conn struct {
	raw    *bounded
	client *smtp.Client
	sent   int
	idle   *time.Timer // while it waits
}

// drop ends a connection without a word.
func (k *conn) drop() { _ = k.raw.Close() }

// quit ends one politely, without waiting for the answer.
func (k *conn) quit() {
	_ = k.raw.SetDeadline(time.Now().Add(time.Second))
	_ = k.client.Text.PrintfLine("QUIT")
	k.drop()
}

// under has a connection obey a context, at whatever it does, until stop; stop reports false if the context ended meanwhile, after
// which the connection is of no use.
func under(ctx context.Context, raw net.Conn) (stop func() bool) {
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(patience)
	}
	_ = raw.SetDeadline(end.Add(time.Second)) // for where nobody ends the context
	return context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
}

// dial makes a connection, protects it and logs in.
func (c *Channel) dial(ctx context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	raw, err := c.o.Dial(ctx, "tcp", c.o.Addr)
	if err != nil {
		return nil, c.failed(ctx, "connect", err)
	}
	k := &conn{raw: &bounded{raw, mostSaid}}
	stop := under(ctx, k.raw)
	step, err := c.greet(k)
	if !stop() || err != nil {
		k.drop()
		return nil, c.refused(ctx, step, err)
	}
	return k, nil
}

// greet says at which step it failed.
func (c *Channel) greet(k *conn) (step string, err error) {
	var inner net.Conn = k.raw
	if c.o.TLS == Implicit {
		inner = tls.Client(k.raw, c.o.TLSConfig)
	}
	if k.client, err = smtp.NewClient(inner, c.host); err != nil {
		return "connect", err
	}
	if err = k.client.Hello(c.o.Hello); err != nil {
		return "EHLO", err
	}
	if c.o.TLS == StartTLS || c.o.TLS == Opportunistic {
		if offered, _ := k.client.Extension("STARTTLS"); offered {
			if err = k.client.StartTLS(c.o.TLSConfig); err != nil {
				return "STARTTLS", err
			}
		} else if c.o.TLS == StartTLS {
			return "STARTTLS", errUnprotected
		}
	}
	if c.o.Username != "" {
		how, err := c.auth(k)
		if err == nil {
			err = k.client.Auth(how)
		}
		if err != nil {
			return "AUTH", err
		}
	}
	k.client.SetDSNMailReturnOption("HDRS") // what comes back needs no text of a message
	k.client.SetDSNRcptNotifyOption("FAILURE")
	return "", nil
}

var (
	errUnprotected = errors.New("the server does not offer it")
	errNoLogin     = errors.New("the server offers no login that is known here")
	errUTF8        = errors.New("email: the server does not take addresses in other scripts")
)

// auth is the best way of logging in that the server offers.
func (c *Channel) auth(k *conn) (smtp.Auth, error) {
	_, offered := k.client.Extension("AUTH")
	ways := strings.Fields(strings.ToUpper(offered))
	switch {
	case slices.Contains(ways, "SCRAM-SHA-256"):
		return smtp.ScramSHA256Auth(c.o.Username, c.o.Password), nil
	case slices.Contains(ways, "PLAIN"):
		return smtp.PlainAuth("", c.o.Username, c.o.Password, c.host, false), nil
	case slices.Contains(ways, "LOGIN"):
		return smtp.LoginAuth(c.o.Username, c.o.Password, c.host, false), nil
	}
	return nil, errNoLogin
}

// converse hands one message over and puts the connection back if it is still good. errStale is only of one that was used before.
func (c *Channel) converse(ctx context.Context, k *conn, m *mailing) error {
	stop := under(ctx, k.raw)
	k.raw.left = mostSaid
	step, err := c.hand(k, m)
	k.sent++
	var said *textproto.Error
	alive := err == nil || errors.Is(err, errUTF8)
	if errors.As(err, &said) && said.Code != 421 {
		alive = step == "message" || k.client.Reset() == nil // after its end there is nothing to take back
	}
	if stop() && alive {
		c.pool.put(k)
	} else {
		k.drop()
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errUTF8):
		return appio.Permanent(err)
	case step == "MAIL" && k.sent > 1 && ctx.Err() == nil && (said == nil || said.Code == 421):
		return errStale
	}
	return c.refused(ctx, step, err)
}

// hand says at which step it failed.
func (c *Channel) hand(k *conn, m *mailing) (step string, err error) {
	k.client.SkipSMTPUTF8(m.to.ascii)
	if offered, _ := k.client.Extension("SMTPUTF8"); !offered && !m.to.ascii {
		return "MAIL", errUTF8
	}
	if err = k.client.Mail("<" + c.o.Return + ">"); err != nil {
		return "MAIL", err
	}
	if err = k.client.Rcpt("<" + m.to.String() + ">"); err != nil {
		return "RCPT", err
	}
	w, err := k.client.Data()
	if err != nil {
		return "DATA", err
	}
	if _, err = w.Write(m.msg); err != nil {
		return "message", err
	}
	return "message", w.Close()
}

// refused makes of what went wrong what the engine is to know. Of the server's words only the codes are kept: the rest may quote the
// address, in whatever form.
func (c *Channel) refused(ctx context.Context, step string, err error) error {
	var said *textproto.Error
	if !errors.As(err, &said) || ctx.Err() != nil {
		return c.failed(ctx, step, err)
	}
	code := enhanced(said)
	short := fmt.Errorf("email: %s: %d %s", step, said.Code, code)
	if code == "" {
		short = fmt.Errorf("email: %s: %d", step, said.Code)
	}
	switch {
	case said.Code == 421 || said.Code/100 == 4 && step != "AUTH" && strings.HasPrefix(code, "4.7."):
		return appio.RetryAfter(c.o.Pause, short)
	case said.Code/100 != 5, !slices.Contains([]string{"MAIL", "RCPT", "DATA", "message"}, step),
		slices.Contains(loginCodes, said.Code), slices.Contains(loginStates, code), policySteps[step] && strings.HasPrefix(code, "5.7."):
		return short
	case step != "MAIL" && slices.Contains(goneStates, code):
		return appio.Gone(short)
	}
	return appio.Permanent(short)
}

var (
	// goneStates are the clear words about an address (RFC 3463; RFC 7505): no such mailbox, it has moved away, its domain takes no
	// mail at all. A 550 without such a state may be about the sender, or the text, or the weather.
	goneStates = []string{"5.1.1", "5.1.6", "5.1.10"}
	// loginCodes and loginStates are about who sends (RFC 4954): they are put right while deliveries wait.
	loginCodes  = []int{530, 534, 535, 538}
	loginStates = []string{"5.7.8", "5.7.9", "5.7.11"}
	// policySteps are those before the text, at which 5.7.z (RFC 3463) is what the relay permits this sender: it too is put right. What
	// a policy says of a text it says again.
	policySteps = map[string]bool{"MAIL": true, "RCPT": true}
)

var enhancedCode = regexp.MustCompile(`(?m)^[245]\.\d{1,3}\.\d{1,3}(?:[ \n]|$)`)

// enhanced is the enhanced status code (RFC 3463) of a reply, in whichever of its lines; empty: it has none, or one of another class.
func enhanced(said *textproto.Error) string {
	code := enhancedCode.FindString(said.Msg)
	if code == "" || int(code[0]-'0') != said.Code/100 {
		return ""
	}
	return strings.TrimSpace(code)
}

// failed is an error that is no answer of the server.
func (c *Channel) failed(ctx context.Context, step string, err error) error {
	var network *net.OpError
	var certificate *tls.CertificateVerificationError
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.As(err, &timeout) && timeout.Timeout():
		err = errSlow
	case errors.As(err, &certificate):
		err = certificate
	case errors.As(err, &network):
		err = network
	case errors.Is(err, smtp.ErrUnencrypted):
		err = smtp.ErrUnencrypted
	case errors.Is(err, errUnprotected), errors.Is(err, errNoLogin):
	default:
		err = errBroken
	}
	return fmt.Errorf("email: %s: %w", step, err)
}

var (
	errSlow   = errors.New("no answer in time")
	errBroken = errors.New("the server has ended the connection, or does not speak SMTP")
)
