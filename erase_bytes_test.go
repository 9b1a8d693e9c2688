package appio

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/blob/memblob"
	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store/memstore"
)

// A secret is text that must be nowhere but in sealed records, and where a store that is not sealed has it in clear.
type secret struct {
	name, text string
	plain      bool // a plain store keeps it; otherwise not even that
}

// forms are the ways in which text may come to stand among bytes.
func forms(text string) map[string][]byte {
	all := map[string][]byte{
		"as it is": []byte(text), "lower case": []byte(strings.ToLower(text)), "upper case": []byte(strings.ToUpper(text)),
		"quoted": fmt.Appendf(nil, "%q", text), "in a URL": []byte(url.QueryEscape(text)),
		"hex": []byte(hex.EncodeToString([]byte(text))), "upper case hex": []byte(strings.ToUpper(hex.EncodeToString([]byte(text)))),
	}
	var little, big []byte
	for _, u := range utf16.Encode([]rune(text)) {
		little = append(little, byte(u), byte(u>>8))
		big = append(big, byte(u>>8), byte(u))
	}
	all["UTF-16, little-endian"], all["UTF-16, big-endian"] = little, big
	if raw, err := hex.DecodeString(text); err == nil {
		all["the bytes it stands for"] = raw
	}
	// In base64 text looks one of three ways, by where it begins, and its ends depend on its neighbours.
	for shift := range 3 {
		for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64 for URLs": base64.RawURLEncoding} {
			whole := enc.EncodeToString(append(make([]byte, shift), text...))
			from := []int{0, 2, 3}[shift]
			to := (shift + len(text)) * 8 / 6
			all[fmt.Sprintf("%s, %d", name, shift)] = []byte(whole[from:to])
		}
	}
	return all
}

// betrayed names the secrets that are in data, in any form. It goes through data once.
func betrayed(data []byte, secrets []secret) (names []string) {
	type form struct {
		name  string
		bytes []byte
	}
	starts := map[uint32][]form{}
	var likely [1 << 16]bool
	for _, s := range secrets {
		for name, b := range forms(s.text) {
			start := binary.LittleEndian.Uint32(b)
			likely[uint16(start)] = true
			starts[start] = append(starts[start], form{s.name + ", " + name, b})
		}
	}
	for i := 0; i+4 <= len(data); i++ {
		if !likely[uint16(data[i])|uint16(data[i+1])<<8] {
			continue
		}
		for _, f := range starts[binary.LittleEndian.Uint32(data[i:])] {
			if bytes.HasPrefix(data[i:], f.bytes) && !slices.Contains(names, f.name) {
				names = append(names, f.name)
			}
		}
	}
	return names
}

func TestSecretsAreFound(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, text := range []string{string(anna), "anna.canarino@example.it", strings.Repeat("0123456789abcdef", 4)} {
		one := []secret{{name: "x", text: text}}
		for form, b := range forms(text) {
			noise := make([]byte, 10_000)
			for i := range noise {
				noise[i] = byte(r.Uint32())
			}
			require.Empty(t, betrayed(noise, one))
			copy(noise[r.IntN(9000):], b)
			require.NotEmpty(t, betrayed(noise, one), form)
		}
		// Somewhere inside of what somebody encoded whole.
		for before := range 7 {
			around := strings.Repeat("-", before) + text + "?"
			for _, whole := range []string{
				base64.StdEncoding.EncodeToString([]byte(around)), base64.URLEncoding.EncodeToString([]byte(around)), hex.EncodeToString([]byte(around)),
			} {
				require.NotEmpty(t, betrayed([]byte(whole), one), "%d before", before)
			}
		}
	}
}

// everything captures what an engine tells the outside about its work.
type everything struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (e *everything) Write(b []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.text.Write(b)
}

func (e *everything) Bytes() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return bytes.Clone(e.text.Bytes())
}

// saw keeps the text of an error, however it is printed.
func (e *everything) saw(err error) error {
	if err != nil {
		fmt.Fprintf(e, "%v\n%+v\n%#v\n%q\n", err, err, err, err)
	}
	return err
}

func (e *everything) logger() *slog.Logger {
	all := &slog.HandlerOptions{AddSource: true, Level: slog.Level(-100)}
	return slog.New(twoHandlers{slog.NewJSONHandler(e, all), slog.NewTextHandler(e, all)})
}

type twoHandlers struct{ a, b slog.Handler }

func (h twoHandlers) Enabled(context.Context, slog.Level) bool { return true }
func (h twoHandlers) Handle(ctx context.Context, r slog.Record) error {
	return errors.Join(h.a.Handle(ctx, r), h.b.Handle(ctx, r))
}
func (h twoHandlers) WithAttrs(as []slog.Attr) slog.Handler {
	return twoHandlers{h.a.WithAttrs(as), h.b.WithAttrs(as)}
}
func (h twoHandlers) WithGroup(n string) slog.Handler {
	return twoHandlers{h.a.WithGroup(n), h.b.WithGroup(n)}
}

// Observe makes it an Observer.
func (e *everything) Observe(ctx context.Context, op Operation) (context.Context, func(Outcome)) {
	fmt.Fprintf(e, "%+v\n", op)
	return ctx, func(o Outcome) {
		fmt.Fprintf(e, "%+v\n", o)
		e.saw(o.Err)
	}
}

const (
	trialKey = "chiave-della-mensa-che-nessuno-indovina"
	oldKey   = "chiave-vecchia-che-nessuno-indovina-piu"
)

func secretPerson(i int) fiscalcode.Person {
	return fiscalcode.Person(fmt.Sprintf("CNRPRS%02dA01H501%c", 10+i, 'A'+byte(i)))
}

// confide tells an engine all kinds of secrets, and makes it use them, fail with them and be asked wrongly about them. It
// returns the secrets.
func confide(t *testing.T, e *Engine, clock *worldClock, heard *everything) (secrets []secret) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		require.NoError(t, heard.saw(err))
	}
	refused := func(err error) {
		t.Helper()
		require.Error(t, heard.saw(err))
	}
	add := func(name, text string, plain bool) string {
		secrets = append(secrets, secret{name, text, plain})
		return text
	}
	const people = 8
	var trial []fiscalcode.Person
	for i := range 3 {
		p := secretPerson(20 + i)
		trial = append(trial, p)
		add(fmt.Sprintf("code of trial recipient %d", i), string(p), true)
	}
	trial = append(trial, secretPerson(0), secretPerson(2))
	must(e.PutOrganization(ctx, Organization{Code: goldenOrg, Name: "Comune di Esempio"}))
	must(e.PutService(ctx, Service{ID: "tari", Name: "Tassa rifiuti", Organization: goldenOrg, State: Live, MaxPayment: 1000_00,
		Prefixes: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}))
	must(e.PutService(ctx, Service{ID: "mensa", Name: "Mensa scolastica", Organization: goldenOrg, Trial: trial}))
	made, err := e.NewKey(ctx, "tari", Primary)
	must(err)
	add("API key that was made", made, false)
	must(e.PutKey(ctx, "mensa", Primary, add("API key that was ended", oldKey, false)))
	must(e.PutKey(ctx, "mensa", Primary, add("API key", trialKey, false)))
	refused(e.PutKey(ctx, "tari", Secondary, trialKey))
	refused(e.PutKey(ctx, "tari", Secondary, trialKey[:10]))
	_, err = e.SenderByKey(ctx, oldKey, netip.Addr{})
	refused(err)
	_, err = e.SenderByKey(ctx, made, netip.MustParseAddr("198.51.100.1"))
	refused(err)
	sender, err := e.SenderByKey(ctx, made, netip.MustParseAddr("192.0.2.1"))
	must(err)

	remote, err := e.Authority(goldenOrg).PutRemoteConfiguration(ctx, RemoteConfiguration{Name: "Atti", Description: "Gli atti", Precondition: Once,
		TestUsers: []fiscalcode.Person{secretPerson(0), secretPerson(2)}, Unsigned: []fiscalcode.Person{secretPerson(2)},
		Production: &RemoteSystem{URL: "https://atti.example.it", Header: "X-Key", Key: add("key of a remote system", "chiave-del-sistema-remoto", true), Type: "k"}})
	must(err)
	refused(RemoteConfiguration{Name: "Atti", Description: "Gli atti", Precondition: Once, Production: &RemoteSystem{
		URL: remote.Production.Key, Header: remote.Production.Key + " ", Key: remote.Production.Key, Type: "k"}}.Validate())
	heard.logger().Info("as a host would", "system", remote.Production)
	_, err = sender.PutDocument(ctx, secretPerson(0), Document{Name: "a/" + string(secretPerson(0)), Type: "application/pdf"}, strings.NewReader(""))
	refused(err)

	var ms []Message
	for i := range people {
		code := secretPerson(i)
		add(fmt.Sprintf("code %d", i), string(code), true)
		c := e.Citizen(Identity{Code: code, Level: L2, Provider: "cie"})
		must(c.SetMode(ctx, Auto))
		must(c.UpdateProfile(ctx, func(p *Profile) error {
			p.Channels[Email] = Full
			p.Addresses = []Address{
				{Channel: Email, Value: add(fmt.Sprintf("address %d", i), fmt.Sprintf("canarino.%d@posta.example.it", i), true), ValidatedAt: clock.Now()},
				{Channel: Email, Value: add(fmt.Sprintf("unproved address %d", i), fmt.Sprintf("passero.%d@posta.example.it", i), true)},
			}
			return nil
		}))
		refused(c.UpdateProfile(ctx, func(p *Profile) error { p.Addresses[0].Value += "\x00"; return nil }))
		must(c.SetPreference(ctx, "tari", Preference{Inbox: true, Channels: On(Email, Push)}))
		m := Message{
			To: code, Subject: add(fmt.Sprintf("subject %d", i), fmt.Sprintf("Oggetto riservato numero %d", i), true),
			Markdown: strings.Repeat(add(fmt.Sprintf("text %d", i), fmt.Sprintf("Il testo confidenziale con il numero %d resta tra noi. ", i), true), 3),
			Language: "it", Translations: []Translation{{
				Language: "en", Subject: add(fmt.Sprintf("translated subject %d", i), fmt.Sprintf("Reserved subject number %d", i), true),
				Markdown: strings.Repeat(add(fmt.Sprintf("translation %d", i), fmt.Sprintf("The confidential text with number %d stays here. ", i), true), 3),
			}},
			Template: TemplateRef{ID: add(fmt.Sprintf("template %d", i), fmt.Sprintf("riservatissimo-%d", i), true), Version: 1},
			Key:      add(fmt.Sprintf("idempotency key %d", i), fmt.Sprintf("pratica-segreta-%d", i), false),
			Payment:  &Notice{Number: pagopa.NoticeNumber(add(fmt.Sprintf("notice %d", i), fmt.Sprintf("3012345678901234%02d", i), true)), Amount: 12_34},
		}
		m.Remote = &RemoteContent{ID: add(fmt.Sprintf("remote id %d", i), fmt.Sprintf("atto-riservato-%d", i), true), Configuration: remote.ID,
			Summary: add(fmt.Sprintf("summary %d", i), fmt.Sprintf("Sommario riservato numero %d", i), true)}
		content := "%PDF-1.7 " + add(fmt.Sprintf("document %d", i), fmt.Sprintf("Il certificato riservato numero %d", i), false)
		doc, err := sender.PutDocument(ctx, code, Document{Name: add(fmt.Sprintf("document's name %d", i), fmt.Sprintf("Certificato riservato %d.pdf", i), true),
			Type: "application/pdf"}, strings.NewReader(content))
		must(err)
		m.Documents = []Document{doc}
		ms = append(ms, m)
	}
	rs, err := sender.SendBatch(ctx, ms)
	must(err)
	fmt.Fprintf(heard, "%+v\n", rs)
	for _, m := range ms {
		other := m
		other.Subject += "!"
		_, err = sender.Send(ctx, other)
		refused(err)
		_, err = e.Sender("mensa").Send(ctx, m)
		if m.To != secretPerson(0) {
			refused(err)
		}
		bad := m
		bad.To += "X"
		_, err = sender.Send(ctx, bad)
		refused(err)
		bad = m
		bad.Subject = strings.Repeat(m.Subject, 10)
		_, err = sender.Send(ctx, bad)
		refused(err)
		bad = m
		bad.Payment = &Notice{Number: m.Payment.Number + "9", Amount: 1}
		_, err = sender.Send(ctx, bad)
		refused(err)
		bad = m
		bad.Payment = &Notice{Number: m.Payment.Number, Amount: 5000_00}
		_, err = sender.Send(ctx, bad)
		refused(err)
		_, err = sender.Status(ctx, bad.To+"Y", rs[0].ID)
		refused(err)
		_, err = e.Citizen(Identity{Code: m.To, Provider: strings.Repeat(string(m.To), 10)}).Profile(ctx)
		refused(err)
		_, err = e.Citizen(Identity{Code: m.To}).Inbox(nil).Page(ctx, Cursor(m.To), 0)
		refused(err)
		refused(e.Citizen(Identity{Code: m.To, Level: L1}).Erase(ctx))
		heard.logger().Info("as a host would", "message", m, "to", m.To, "identity", Identity{Code: m.To}, "inbox", InboxMessage{Message: m})
	}
	refused(e.Withdraw(ctx, string(secretPerson(0))))
	refused(e.Replay(ctx, DeliveryID(secretPerson(0))))

	for range 4 { // some deliveries fail again and again, some are parked
		_, err = e.Flush(ctx)
		must(err)
		clock.Advance(time.Hour / 4)
	}
	running, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- e.Run(running) }()
	for i := range ms {
		ms[i].Key, ms[i].Documents = "", nil
	}
	_, err = sender.SendBatch(ctx, ms)
	must(err)
	must(e.Citizen(Identity{Code: secretPerson(1), Level: L2}).SetPreference(ctx, "tari", Preference{}))
	time.Sleep(50 * time.Millisecond)
	stop()
	must(<-ran)

	parked, err := gather(ctx, e.Parked())
	must(err)
	require.NotEmpty(t, parked)
	fmt.Fprintf(heard, "%+v\n", parked)
	must(e.Replay(ctx))
	_, err = e.Flush(ctx)
	must(err)
	for i, r := range rs {
		x, err := e.Explain(ctx, secretPerson(i), r.ID)
		must(err)
		fmt.Fprintf(heard, "%+v\n", x)
		inbox, err := gather(ctx, e.Citizen(Identity{Code: secretPerson(i)}).Inbox(nil))
		must(err)
		require.NotEmpty(t, inbox)
	}
	must(e.Citizen(Identity{Code: secretPerson(2), Level: L2}).Erase(ctx))
	_, err = e.Flush(ctx)
	must(err)
	return secrets
}

// talkative is a channel whose every error tells all it knows.
func talkative(heard *everything) func(context.Context, Delivery) error {
	return func(_ context.Context, d Delivery) error {
		heard.logger().Info("as a channel would", "delivery", d)
		fmt.Fprintf(heard, "%v %+v %s\n", d, d, d)
		err := fmt.Errorf("550 5.1.1 <%s> (%s): %s / %s", d.Address.Value, string(d.To), d.Subject, d.Markdown)
		switch {
		case strings.Contains(d.Address.Value, ".3@"):
			return Permanent(err)
		case strings.Contains(d.Address.Value, ".4@"):
			return Gone(err)
		case strings.Contains(d.Address.Value, ".5@"):
			return RetryAfter(time.Minute, err)
		case strings.Contains(d.Address.Value, ".6@"):
			panic(err)
		case strings.Contains(d.Address.Value, ".7@"), d.To == secretPerson(7):
			return err
		}
		return nil
	}
}

func TestSecretsAreNowhere(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	dir := t.TempDir()
	path := filepath.Join(dir, "io.db")
	clock := &worldClock{now: goldenTime}
	heard := &everything{}
	options := func(ring Keyring) *Options {
		o := worldOptions(ring, clock.Now, talkative(heard))
		o.Logger, o.Observer, o.Plain = heard.logger(), heard, false
		return o
	}
	e, err := Open(path, options(nil))
	require.NoError(t, err)
	secrets := confide(t, e, clock, heard)
	require.Greater(t, len(secrets), 40)

	// The engine key is another one: it is in its own file, and nowhere else.
	text, err := os.ReadFile(path + ".key")
	require.NoError(t, err)
	keys, err := parseKeyFile(text)
	require.NoError(t, err)
	_, key, err := keys.Current()
	require.NoError(t, err)
	secrets = append(secrets, secret{name: "engine key", text: hex.EncodeToString(key)})

	nowhere := func(where string, data []byte) {
		t.Helper()
		if names := betrayed(data, secrets); len(names) > 0 {
			t.Errorf("in %s: %s", where, strings.Join(names, "; "))
		}
	}
	files := func(when string) {
		t.Helper()
		n := 0
		require.NoError(t, filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || strings.HasSuffix(file, ".key") {
				return err
			}
			n++
			data, err := os.ReadFile(file)
			nowhere(filepath.Base(file)+", "+when, data)
			return err
		}))
		require.Positive(t, n)
	}
	files("open")
	var backup bytes.Buffer
	require.NoError(t, e.Backup(ctx, &backup))
	nowhere("the backup", backup.Bytes())
	require.NoError(t, e.Close())
	files("closed")
	nowhere("logs, errors and what is observed", heard.Bytes())

	// They were all there to be seen: the backup has them for who has the key, and the log has something.
	require.NotEmpty(t, heard.Bytes())
	copied := filepath.Join(t.TempDir(), "copy.db")
	require.NoError(t, os.WriteFile(copied, backup.Bytes(), 0o600))
	e, err = Open(copied, options(FileKeys(path+".key")))
	require.NoError(t, err)
	inbox, err := gather(ctx, e.Citizen(Identity{Code: secretPerson(0)}).Inbox(nil))
	require.NoError(t, err)
	require.Equal(t, "Oggetto riservato numero 0", inbox[0].Subject)
	require.NoError(t, e.Close())
}

// The same in a store that is not sealed: there they are found, so that not to find them says something.
func TestSecretsAreInPlainStores(t *testing.T) {
	t.Parallel()
	clock := &worldClock{now: goldenTime}
	heard := &everything{}
	s := memstore.New()
	o := worldOptions(nil, clock.Now, talkative(heard))
	o.Logger, o.Observer = heard.logger(), heard
	blobs := memblob.New()
	o.Documents = blobs
	e, err := New(s, o)
	require.NoError(t, err)
	secrets := confide(t, e, clock, heard)
	defer e.Close()
	for info, err := range blobs.All(t.Context()) { // which are sealed all the same
		require.NoError(t, err)
		r, err := blobs.Open(t.Context(), info.ID)
		require.NoError(t, err)
		sealed, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Empty(t, betrayed(append(sealed, info.ID...), secrets))
	}
	var all []byte
	var names []byte
	for _, r := range dumpStore(t, s) {
		all = append(all, r.Value...)
		names = append(names, string(r.Owner)+" "+string(r.Key)+"\n"...)
	}
	for _, x := range secrets {
		at := betrayed(all, []secret{x})
		switch {
		case strings.HasSuffix(x.name, " 2") && !strings.Contains(x.name, "trial"): // who was erased
			require.Empty(t, at)
		case strings.HasPrefix(x.name, "address 4"): // which is gone
			require.Empty(t, at)
		default:
			require.Equal(t, x.plain, len(at) > 0, x.name)
		}
	}
	require.Empty(t, betrayed(names, secrets), "names of owners and keys are pseudonyms all the same")
	require.Empty(t, betrayed(heard.Bytes(), secrets), "logs and errors are silent all the same")
}

// opened is what can be read of a store by who holds its engine key: each record that opens under it, or under a data key that
// is in the store, by owner and key.
func (w *world) opened(t *testing.T) map[place][]byte {
	t.Helper()
	openers := w.openers(t, &codec{ring: w.ring, plain: w.ring == nil})
	all := map[place][]byte{}
	for i := range w.dump {
		r := &w.dump[i]
		for _, oc := range openers { // the data keys of the others, too
			mine := openers[r.Owner]
			try := *mine
			if oc.personal != nil {
				try.personal = oc.personal
			}
			if payload, err := try.payload(r); err == nil {
				all[placeOf(r)] = payload
				break
			}
		}
	}
	return all
}

// proofs are what outlives an erasure: decisions, the history of consent, outcomes, settled idempotency keys. In none of them
// is a code, an address or a text.
var proofs = []string{prefixDecision, prefixHistory, prefixOutcome, prefixRepeat}

func TestErasedTextsCannotBeRead(t *testing.T) {
	t.Parallel()
	for name, ring := range map[string]Keyring{"sealed": RandomKeys(), "with checksums": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			w := newWorld(t, ring)
			c := &codec{ring: ring, plain: ring == nil}
			w.openers(t, c)
			owner := c.citizen(anna)
			secrets := []secret{
				{name: "code", text: string(anna)}, {name: "address", text: "anna@example.it"}, {name: "subject", text: "Retta di marzo della mensa"},
				{name: "another subject", text: "Il tuo referto è pronto"}, {name: "text", text: strings.Repeat("Convocazione a visita medica. ", 2)},
			}
			// readable is all that can be read of Anna's records, and of all other people's.
			readable := func(w *world) (hers, others []byte) {
				for p, payload := range w.opened(t) {
					if p.owner == owner {
						hers = append(hers, payload...)
					} else {
						others = append(others, payload...)
					}
				}
				return hers, others
			}
			hers, _ := readable(w)
			for _, s := range secrets {
				require.NotEmpty(t, betrayed(hers, []secret{s}), s.name+" is there before")
			}
			consents := 0
			for _, r := range w.dump {
				if r.Owner == owner && strings.HasPrefix(string(r.Key), prefixHistory) {
					consents++
				}
			}

			s := undumpStore(t, w.dump)
			clock := &worldClock{now: w.Now.Add(time.Hour)} // no lease of the dump stands
			e, err := New(s, worldOptions(ring, clock.Now, func(context.Context, Delivery) error { return errors.New("later") }))
			require.NoError(t, err)
			defer e.Close()
			me := e.Citizen(Identity{Code: anna, Level: L2})
			require.NoError(t, me.Erase(ctx))

			after := func() *world {
				v := *w
				v.dump = dumpStore(t, s)
				return &v
			}
			if ring != nil { // at once, while the records are still there
				v := after()
				hers, others := readable(v)
				require.Empty(t, betrayed(append(hers, others...), secrets))
				still := 0
				for p := range v.opened(t) {
					if p.owner == owner && strings.HasPrefix(string(p.key), prefixMessage) {
						t.Errorf("%s still opens", p)
					}
				}
				for i := range v.dump {
					if r := &v.dump[i]; r.Owner == owner && strings.HasPrefix(string(r.Key), prefixMessage) {
						still++
					}
				}
				require.Positive(t, still)

				// An erasure that left the data key would be found out.
				kept := *v
				for _, r := range w.dump {
					if r.Owner == owner && r.Key == keyDataKey {
						kept.dump = append(slices.Clone(v.dump), r)
					}
				}
				hers, _ = readable(&kept)
				require.NotEmpty(t, betrayed(hers, secrets[2:]))
			}
			_, err = me.Inbox(nil).Page(ctx, "", 0)
			require.ErrorIs(t, err, ErrErasing)

			_, err = e.Flush(ctx)
			require.NoError(t, err)
			v := after()
			opened := v.opened(t)
			left := 0
			for i := range v.dump {
				r := &v.dump[i]
				if r.Owner != owner {
					continue
				}
				left++
				require.True(t, slices.ContainsFunc(proofs, func(p string) bool { return strings.HasPrefix(string(r.Key), p) }), "%s is left", placeOf(r))
				require.NotEmpty(t, opened[placeOf(r)], "%s is a proof, and can be read", placeOf(r))
			}
			require.Greater(t, left, 10)
			hers, others := readable(v)
			require.Empty(t, betrayed(append(hers, others...), secrets))
			var raw []byte
			for i := range v.dump {
				raw = append(append(raw, v.dump[i].Key...), v.dump[i].Value...)
			}
			require.Empty(t, betrayed(raw, secrets))

			// The proof is whole.
			history, err := gather(ctx, me.Consents())
			require.NoError(t, err)
			require.Len(t, history, consents+1)
			require.Equal(t, Erased, history[0].What)
			for _, m := range w.Messages {
				if m.To == anna {
					x, err := e.Explain(ctx, anna, m.ID)
					require.NoError(t, err)
					require.True(t, Decide(x.Facts).Equal(x.Decision))
				}
			}
			inbox, err := gather(ctx, me.Inbox(nil))
			require.NoError(t, err)
			require.Empty(t, inbox)
			p, err := me.Profile(ctx)
			require.NoError(t, err)
			require.Equal(t, Profile{}, p)
		})
	}
}
