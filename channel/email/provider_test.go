package email_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	netmail "net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio"
	"github.com/appio-go/appio/channel/channeltest"
	"github.com/appio-go/appio/channel/email"
)

func TestFaultsOfTheServer(t *testing.T) {
	t.Parallel()
	channeltest.RunFaults(t, func(t *testing.T) (appio.Channel, *channeltest.Provider) {
		p := newProvider(t)
		s := &mailServer{addr: p.Addr().String()}
		return open(t, s.options(func(o *email.Options) {
			o.TLS, o.Username, o.Password, o.Pause = email.Plain, "", "", channeltest.PauseOf // SMTP has no words for how long
		})), &channeltest.Provider{Got: p.ids, Asked: p.count, Meet: p.meet}
	})
}

func TestAServerThatDoesNotStopIsLeft(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.meet(channeltest.Endless)
	s := &mailServer{addr: p.Addr().String()}
	c := open(t, s.options(func(o *email.Options) { o.TLS, o.Username, o.Password = email.Plain, "", "" }))
	start := time.Now()
	require.Error(t, c.Deliver(t.Context(), delivery()))
	require.Less(t, time.Since(start), 30*time.Second, "not when its time is up, which is a minute")
}

// A provider is a server that fails at the end of a message, where it knows which one it is.
type provider struct {
	net.Listener
	mu    sync.Mutex
	got   []appio.DeliveryID
	asked int
	fault channeltest.Fault
	only  []appio.DeliveryID
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &provider{Listener: l, fault: channeltest.Works}
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				defer c.Close()
				p.serve(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wait.Wait()
	})
	return p
}

func (p *provider) ids() []appio.DeliveryID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

func (p *provider) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

func (p *provider) meet(f channeltest.Fault, only ...appio.DeliveryID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.only = f, only
	return true
}

func (p *provider) serve(c net.Conn) {
	r := bufio.NewReader(c)
	say := func(s string) { _, _ = fmt.Fprint(c, s, "\r\n") }
	say("220 mail.example.org")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch command, _, _ := strings.Cut(strings.TrimSpace(line), " "); command {
		case "DATA":
			say("354 go on")
			var msg bytes.Buffer
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				msg.WriteString(strings.TrimPrefix(line, "."))
			}
			if !p.end(c, r, msg.Bytes(), say) {
				return
			}
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// end answers a message, and reports whether the connection goes on.
func (p *provider) end(c net.Conn, r io.Reader, msg []byte, say func(string)) bool {
	m, err := netmail.ReadMessage(bytes.NewReader(msg))
	if err != nil {
		say("554 5.6.0 no message")
		return false
	}
	name, _, _ := strings.Cut(strings.Trim(m.Header.Get("Message-ID"), "<>"), "@")
	id, quoted := appio.DeliveryID(name), m.Header.Get("To")+" "+m.Header.Get("Subject")
	p.mu.Lock()
	p.asked++
	f := p.fault
	if len(p.only) > 0 && !slices.Contains(p.only, id) {
		f = channeltest.Works
	}
	if f == channeltest.Works || f == channeltest.Lost {
		p.got = append(p.got, id)
	}
	p.mu.Unlock()
	switch f {
	case channeltest.Hangs:
		_, _ = io.Copy(io.Discard, r)
		return false
	case channeltest.Breaks:
		_, _ = fmt.Fprint(c, "250-ok\r\n25")
		return false
	case channeltest.Lost:
		return false
	case channeltest.Garbage:
		say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
		return false
	case channeltest.Endless:
		for err == nil {
			_, err = fmt.Fprint(c, "550-5.7.1 "+quoted+"\r\n")
		}
		return false
	}
	say(map[channeltest.Fault]string{
		channeltest.Works: "250 taken", channeltest.Busy: "451 4.3.0 " + quoted, channeltest.Pauses: "421 4.7.0 " + quoted,
		channeltest.Credentials: "530 5.7.0 " + quoted, channeltest.Refuses: "554 5.6.0 " + quoted, channeltest.Gone: "550 5.1.1 " + quoted,
	}[f])
	return f != channeltest.Pauses
}
