package appio

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/pagopa"
	"github.com/appio-go/appio/store"
)

type goldenRecord struct {
	Kind   string
	Stored storedRecord
	Says   any
}

// recordKinds are the kinds of records of format 1.
var recordKinds = map[string]func() any{
	"format":        func() any { return &formatRecord{} },
	"root":          func() any { return &rootRecord{} },
	"data-key":      func() any { return &dataKeyRecord{} },
	"organization":  func() any { return &organizationRecord{} },
	"service":       func() any { return &serviceRecord{} },
	"api-key":       func() any { return &apiKeyRecord{} },
	"profile":       func() any { return &profileRecord{} },
	"preference":    func() any { return &preferenceRecord{} },
	"activation":    func() any { return &activationRecord{} },
	"message":       func() any { return &messageRecord{} },
	"state":         func() any { return &stateRecord{} },
	"repeat-key":    func() any { return &repeatRecord{} },
	"decision":      func() any { return &decisionRecord{} },
	"consent-event": func() any { return &consentEvent{} },
	"work":          func() any { return &workRecord{} },
	"outcome":       func() any { return &outcomeRecord{} },
	"parked":        func() any { return &parkedRecord{} },
	"clean-up":      func() any { return &cleanUpRecord{} },
	"tombstone":     func() any { return &tombstoneRecord{} },
	"bill":          func() any { return &billRecord{} },
	"receipt":       func() any { return &receiptRecord{} },
	"effect":        func() any { return &effectRecord{} },
	"feed":          func() any { return &feedRecord{} },
	"feed-person":   func() any { return &feedPersonRecord{} },
	"feed-line":     func() any { return &feedLineRecord{} },
	"tally":         func() any { return &tallyRecord{} },
	"day":           func() any { return &dayRecord{} },
	"document-use":  func() any { return &documentUseRecord{} },
	"counted":       func() any { return &closedRecord{} },
	"debtor":        func() any { return &debtorRecord{} },
	"listed":        func() any { return &listedRecord{} },
	"taken":         func() any { return &takenRecord{} },
	"news":          func() any { return &newsRecord{} },
	"spread":        func() any { return &spreadRecord{} },
	"paused":        func() any { return &pauseRecord{} },
	"reminder":      func() any { return &reminderRecord{} },
	"digest":        func() any { return &digestRecord{} },
	"request":       func() any { return &requestRecord{} },
	"draft":         func() any { return &draftRecord{} },
	"change":        func() any { return &changeRecord{} },
	"member":        func() any { return &memberRecord{} },
	"logo":          func() any { return &logoRecord{} },
	"manage-key":    func() any { return &manageKeyRecord{} },
	"derived":       func() any { return &derivedRecord{} },
	"use":           func() any { return &keyUseRecord{} },
	"prepared":      func() any { return &preparedRecord{} },
	"remote":        func() any { return &remoteConfigurationRecord{} },
	"document":      func() any { return &ownedRecord{} },
	"upload":        func() any { return &documentToken{} }, // in tokens, not in a store
	"withdrawal":    func() any { return &withdrawal{} },    // in tokens, not in a store
}

const (
	goldenPerson  = fiscalcode.Person("RSSMRA85M10H501S")
	goldenService = ServiceID("tari")
	goldenKey     = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	goldenID      = MessageID("01HZY3V7K8QZ4M5N6P7R8S9T0V")
	goldenDigest  = MessageID("01HZY3V7K8QZ4M5N6P7R8S9T0W")
	goldenOrg     = fiscalcode.Organization("01199250158")
)

var (
	goldenTime = time.Date(2026, 3, 2, 8, 0, 0, 123456000, time.UTC)
	goldenText = strings.Repeat("Gentile cittadina, la rata della TARI scade a fine mese. ", 2)
)

// goldenCases are one record of each kind, and of each form of it, every field set in at least one of them.
func goldenCases(t *testing.T, c *codec) (cases []goldenRecord) {
	at := goldenTime.UnixMicro()
	var secrets goldenSecrets
	readGolden(t, "keys.json", &secrets)
	person, svc := c.of(c.citizen(goldenPerson)), c.of(service(goldenService))
	dataKey := dataKeyRecord{ID: secrets.DataKey.ID, Key: unhex(t, secrets.DataKey.Key)}
	person.useDataKey(dataKey)
	add := func(name string, oc *ownerCodec, s *sealer, r store.Record, v any) {
		if s == nil {
			var err error
			s, err = oc.engineSealer(0)
			require.NoError(t, err)
		}
		kind, _, _ := strings.Cut(name, ".")
		sealed, err := oc.sealWith(s, r, v)
		require.NoError(t, err)
		cases = append(cases, goldenRecord{name, newStoredRecord(&sealed), v})
		require.Equal(t, reflect.TypeOf(recordKinds[kind]()), reflect.TypeOf(v))
	}
	meta := c.of(ownerMeta)
	instance := bytes.Repeat([]byte{0x5a}, 16)
	check, err := c.keyCheck(1, instance)
	require.NoError(t, err)
	add("format", meta, &sealer{}, store.Record{Key: keyFormat}, &formatRecord{Format: 1, Instance: instance, Key: 1, Check: check})
	add("root", meta, nil, store.Record{Key: keyRoot}, &rootRecord{Secret: unhex(t, secrets.Root)})
	add("organization", c.of(c.organization(goldenOrg)), nil, store.Record{Key: keyOrganization},
		&organizationRecord{Code: string(goldenOrg), Name: "Comune di Esempio", SignedAt: at - 1, At: at})
	add("service", svc, nil, store.Record{Key: keyService}, &serviceRecord{
		ID: goldenService, Name: "Tassa rifiuti", Organization: string(goldenOrg), OrgName: "Comune di Esempio",
		State: Live, Category: Special, Basis: PublicTask, Secure: true, MaxPayment: 500_00,
		Trial: []string{string(goldenPerson)}, Prefixes: []string{"192.0.2.0/24"},
		Texts: []string{"descrizione", "privacy", "web", "e-mail", "tel", "PEC", "aiuto", "altro"},
		Keys:  [][]byte{keyHash(goldenKey), keyHash("another key of this service")}, At: at, LoweredAt: at - 1,
	})
	add("service.trial", svc, nil, store.Record{Key: keyService},
		&serviceRecord{ID: goldenService, Name: "Tassa rifiuti", Organization: string(goldenOrg), At: at})
	add("service.payees", svc, nil, store.Record{Key: keyService},
		&serviceRecord{ID: goldenService, Name: "Tassa rifiuti", Organization: string(goldenOrg), MaxPayment: 1, OtherPayees: true, At: at})
	add("service.rates", svc, nil, store.Record{Key: keyService},
		&serviceRecord{ID: goldenService, Name: "Tassa rifiuti", Organization: string(goldenOrg), SendRate: 0.5, DeliveryRate: 10, At: at})
	add("api-key", c.of(c.apiKey(keyHash(goldenKey))), nil, store.Record{Key: keyAPIKey}, &apiKeyRecord{Service: goldenService})

	add("data-key", person, nil, store.Record{Key: keyDataKey}, &dataKey)
	add("tombstone", person, nil, store.Record{Key: keyTombstone}, &tombstoneRecord{At: at})
	add("profile", person, person.personal, store.Record{Key: keyProfile}, &profileRecord{
		Code: string(goldenPerson), Mode: Manual, SettingsVersion: 3, Inbox: true, Channels: Channels{Email: Full, Push: Generic},
		Addresses: []addressRecord{
			{ID: "a1", Channel: Email, Value: "maria@example.it", ValidatedAt: at, SetAt: at - 1},
			{ID: "a2", Channel: Push, Value: "installation-1"},
		},
		Languages: []string{"it", "de"}, Version: 7,
	})
	add("profile.proof", person, person.personal, store.Record{Key: keyProfile}, &profileRecord{
		Code: string(goldenPerson), Mode: Auto, Version: 2,
		Addresses: []addressRecord{{ID: "a1", Channel: Email, Value: "maria@example.it", SetAt: at - 1, Proof: bytes.Repeat([]byte{9}, 32), ProofAt: at}},
	})
	choice := preferenceRecord{Service: goldenService, Inbox: true, Channels: Channels{Email: Full, Push: None}, ReadStatus: true, SettingsVersion: 3}
	before := preferenceRecord{Service: goldenService, Inbox: true, Channels: Channels{Push: Generic}, ReadStatus: true, SettingsVersion: 2}
	add("preference", person, person.personal, store.Record{Key: person.preferenceKey(goldenService)}, &choice)
	add("preference.refusal", person, person.personal, store.Record{Key: person.preferenceKey("altro")},
		&preferenceRecord{Service: "altro", SettingsVersion: 3})
	add("activation", person, nil, store.Record{Key: person.activationKey(goldenService)},
		&activationRecord{Service: goldenService, Activation: Pending, Since: at})
	add("activation.version", person, nil, store.Record{Key: person.activationKey(goldenService)},
		&activationRecord{Service: goldenService, Activation: Active, Since: at, Version: 3})
	add("message", person, person.personal, store.Record{Key: messageKey(goldenID)}, &messageRecord{
		Service: goldenService, At: at, Subject: "Avviso TARI: 🗑 prima rata", Markdown: goldenText, Due: at + 1,
		Payment: &noticeRecord{Number: "301000000000000123", Amount: 123_45, Payee: string(goldenOrg), Invalid: true},
		Secure:  true, TTL: 7 * 24 * time.Hour,
	})
	add("message.translations", person, person.personal, store.Record{Key: messageKey(goldenID)}, &messageRecord{
		Service: goldenService, At: at, Subject: "Avviso TARI: prima rata", Markdown: goldenText, Language: "it",
		Translations: []translationRecord{{Language: "de", Subject: "Müllgebühr: erste Rate", Markdown: goldenText},
			{Language: "en-GB", Subject: "TARI waste tax: first instalment", Markdown: goldenText}},
		Template: "tari-rata", TemplateVersion: 3,
	})
	add("message.premium", person, person.personal, store.Record{Key: messageKey(goldenID)}, &messageRecord{
		Service: goldenService, At: at, Subject: "La Sua ricetta elettronica", Markdown: goldenText, Premium: true,
		Prescription: &prescriptionRecord{NRE: "010A12345678901", IUP: "REG0001", Prescriber: string(goldenPerson)},
	})
	add("state", person, person.personal, store.Record{Key: stateKey(goldenID)}, &stateRecord{ReadAt: at, Archived: true})
	add("repeat-key", person, nil, store.Record{Key: person.repeatKey(goldenService, "2026/0001"), Lane: cleanUpLane(person.owner),
		Due: goldenTime.Add(keepKeys)}, &repeatRecord{ID: goldenID, Status: Processed, Body: bytes.Repeat([]byte{7}, 16)})
	facts := Facts{
		Known: true, Mode: Auto, Inbox: true, HasPreference: true, InboxPreference: true, Category: Special, Activation: Active,
		Age: time.Hour, Secure: true, Channels: []ChannelFacts{
			{Name: Email, Switch: Full, Preference: Generic, Secure: Generic, Address: true, Validated: true}, {Name: Push, Address: true},
		},
	}
	decision := Decision{Status: Processed, Rule: RuleModeAuto, Channels: []ChannelDecision{
		{Name: Email, Content: Generic, Rule: RuleSecure}, {Name: Push, Rule: RuleChannelOff},
	}}
	add("decision", person, nil, store.Record{Key: decisionKey(goldenID)}, newDecisionRecord(goldenService, at, &facts, &decision))
	rejected := newDecisionRecord(goldenService, at, &Facts{}, &Decision{Status: Rejected, Rule: RuleUnknown})
	rejected.Facts.Channels, rejected.Channels = nil, nil // as they are read
	add("decision.rejected", person, nil, store.Record{Key: decisionKey(goldenID), Lane: cleanUpLane(person.owner),
		Due: goldenTime.Add(keepRejected)}, rejected)
	add("consent-event", person, nil, store.Record{Key: historyKey(2)}, &consentEvent{
		Number: 2, Prev: bytes.Repeat([]byte{9}, 32), ID: "mfrggzdfmztwq2lknnwg23tpoa", At: at, What: string(ChangedPreference),
		Service: goldenService, Before: before, After: choice, Mode: Manual, Level: L2, Provider: "spid:esempio", Text: "2026-01",
		By: string(ByCitizen),
	})
	held := workEntry{ID: "aaaaaaaaaaaaaaaaaaaaaaaaaa", Channel: Email, Address: "a1", Attempts: 2, Claims: 1, Next: at, Held: true, Cause: "451 later"}
	done := outcomeItem{ID: "bbbbbbbbbbbbbbbbbbbbbbbbbb", Channel: Push, Result: OutcomeDelivered, At: at, Attempts: 1, Cause: "a cause", Late: true}
	lease := leaseRecord{Process: "4711", Boot: "00112233445566778899aabbccddeeff", Number: 5, Until: at + 30_000_000}
	add("work.waiting", person, nil, store.Record{Key: waitingKey(goldenID), Lane: deliveryLane(goldenService), Due: goldenTime},
		&workRecord{Service: goldenService, Expires: at + 1, Entries: []workEntry{{ID: "aaaaaaaaaaaaaaaaaaaaaaaaaa", Channel: Push, Next: at}}})
	add("work.leased", person, nil, store.Record{Key: leasedKey(goldenID), Lane: deliveryLane(goldenService), Due: goldenTime.Add(32 * time.Second)},
		&workRecord{Service: goldenService, Secure: true, Expires: at + 1, Lease: &lease,
			Entries: []workEntry{held, {ID: "cccccccccccccccccccccccccc", Channel: Push, Next: at}}, Done: []outcomeItem{done}})
	add("outcome", person, nil, store.Record{Key: outcomeKey(goldenID)}, &outcomeRecord{Service: goldenService, Items: []outcomeItem{done}})
	add("parked", person, nil, store.Record{Key: prefixParked + store.Key(held.ID), Lane: laneParked, Due: goldenTime},
		&parkedRecord{Service: goldenService, Message: goldenID, Secure: true, At: at, Lifetime: 3600_000_000, Entry: held})
	add("clean-up", person, nil, store.Record{Key: taskErase, Lane: cleanUpLane(person.owner), Due: goldenTime}, &cleanUpRecord{From: "m/01HZ", Step: 2})
	add("profile.app", person, person.personal, store.Record{Key: keyProfile}, &profileRecord{
		Code: string(goldenPerson), Mode: Auto, Version: 3, Moves: 2,
		App: &appRecord{Terms: "2.4", Version: "2.14.0", RemindersAsked: true, Shown: Channels{Push: Full}},
	})
	add("profile.reminders", person, person.personal, store.Record{Key: keyProfile},
		&profileRecord{Code: string(goldenPerson), Mode: Auto, SettingsVersion: 1, Inbox: true, Version: 1, Reminders: 5})
	notice := pagopa.RPTID{Creditor: goldenOrg, Notice: "301000000000000123"}
	owed, bill := c.of(c.notice(notice)), person.billKey(notice)
	paid := newsRecord{State: Paid, At: at + 2, Event: "evento 1"}
	add("bill", person, person.personal, store.Record{Key: bill}, &billRecord{
		Creditor: string(goldenOrg), Notice: string(notice.Notice), Amount: 123_45, Payee: "Comune di Esempio", Text: "TARI, prima rata", Due: at + 1,
		Invalid: true, Added: at, News: &paid, Paper: true, Messages: []MessageID{goldenID}, Attempt: "dddddddddddddddddddddddddd", Begun: at, Until: at + 1,
	})
	add("receipt", person, person.personal, store.Record{Key: receiptKey(bill, at+2)}, &receiptRecord{
		Creditor: string(goldenOrg), Notice: string(notice.Notice), Amount: 123_45, Payee: "Comune di Esempio", Text: "TARI, prima rata", At: at + 2,
		Event: "evento 1", Message: goldenID,
	})
	add("effect", person, nil, store.Record{Key: prefixEffect + bill[len(prefixBill):], Lane: effectLane(person.owner), Due: goldenTime},
		&effectRecord{Notice: string(owed.owner), Bill: string(bill)})
	add("taken", c.of(c.address(Email, "maria@example.it")), nil, store.Record{Key: keyTaken, Lane: cleanUpLane(c.address(Email, "maria@example.it")),
		Due: goldenTime.Add(keepTaken)}, &takenRecord{Citizen: string(person.owner), At: at})
	add("listed", person, nil, store.Record{Key: keyListed, Lane: cleanUpLane(person.owner), Due: goldenTime.Add(keepListed)},
		&listedRecord{Code: string(goldenPerson), Lists: []listRef{{string(service(goldenService)), keyService}}})
	add("debtor", owed, nil, store.Record{Key: prefixDebtor + store.Key(person.owner)}, &debtorRecord{Citizen: string(person.owner), Bill: string(bill)})
	add("debtor.due", owed, nil, store.Record{Key: prefixDebtor + store.Key(person.owner), Lane: cleanUpLane(owed.owner), Due: goldenTime.Add(keepDebtor)},
		&debtorRecord{Citizen: string(person.owner), Bill: string(bill)})
	add("news", owed, nil, store.Record{Key: keyNews, Lane: cleanUpLane(owed.owner), Due: goldenTime.Add(keepNews)}, &paid)
	add("work.reminder", person, nil, store.Record{Key: waitingKey(goldenID), Lane: deliveryLane(goldenService), Due: goldenTime},
		&workRecord{Service: goldenService, Expires: at + 1, Entries: []workEntry{{
			ID: "eeeeeeeeeeeeeeeeeeeeeeeeee", Channel: Push, Next: at, Reminder: RemindUnpaid, Bill: string(bill), Expires: at + 2}}})
	add("work.paused", person, nil, store.Record{Key: waitingKey(goldenID), Lane: pausedLane(goldenService), Due: goldenTime},
		&workRecord{Service: goldenService, Expires: at + 1, Entries: []workEntry{{ID: "ffffffffffffffffffffffffff", Channel: Push, Next: at - 1, Paused: at}}})
	add("work.replayed", person, nil, store.Record{Key: waitingKey(goldenID), Lane: deliveryLane(goldenService), Due: goldenTime},
		&workRecord{Service: goldenService, Expires: at + 1, Entries: []workEntry{{ID: "ffffffffffffffffffffffffff", Channel: Push, Next: at, Cause: "x", Replayed: true}}})
	add("work.replay", person, nil, store.Record{Key: waitingKey(goldenID), Lane: deliveryLane(goldenService), Due: goldenTime},
		&workRecord{Service: goldenService, Expires: at + 1, Entries: []workEntry{{ID: "ffffffffffffffffffffffffff", Channel: Push, Next: at, Replayed: true}}, Replay: 1<<32 - 1})
	add("parked.replay", person, nil, store.Record{Key: prefixParked + "ffffffffffffffffffffffffff", Lane: laneParked, Due: goldenTime},
		&parkedRecord{Service: goldenService, Message: goldenID, At: at, Lifetime: 1, Entry: workEntry{ID: "ffffffffffffffffffffffffff", Channel: Push, Next: at}, Replay: 1<<32 - 1})
	add("paused", meta, nil, store.Record{Key: keyPaused}, &pauseRecord{Version: at, Channels: map[string]int64{Push: at},
		Services: map[ServiceID]int64{goldenService: at + 1}})
	add("parked.reminder", person, nil, store.Record{Key: prefixParked + "eeeeeeeeeeeeeeeeeeeeeeeeee", Lane: laneParked, Due: goldenTime},
		&parkedRecord{Service: goldenService, Message: goldenID, At: at, Lifetime: 1, Entry: workEntry{
			ID: "eeeeeeeeeeeeeeeeeeeeeeeeee", Channel: Push, Next: at, Attempts: 10, Reminder: RemindUnpaid, Bill: string(bill), Expires: at + 2}})
	add("parked.paused", person, nil, store.Record{Key: prefixParked + "ffffffffffffffffffffffffff", Lane: laneParked, Due: goldenTime},
		&parkedRecord{Service: goldenService, Message: goldenID, At: at, Lifetime: 1,
			Entry: workEntry{ID: "ffffffffffffffffffffffffff", Channel: Push, Next: at - 1, Paused: at}})
	add("parked.replayed", person, nil, store.Record{Key: prefixParked + "ffffffffffffffffffffffffff", Lane: laneParked, Due: goldenTime},
		&parkedRecord{Service: goldenService, Message: goldenID, At: at, Lifetime: 1,
			Entry: workEntry{ID: "ffffffffffffffffffffffffff", Channel: Push, Next: at - 1, Cause: "x", Replayed: true}})
	add("reminder", person, nil, store.Record{Key: remindBillKey(bill), Lane: reminderLane(person.owner), Due: goldenTime}, &reminderRecord{
		Service: goldenService, Message: goldenID, Secure: true, Since: at, Due: at + 1, Bill: string(bill), Last: at - 1})
	add("reminder.kept", person, nil, store.Record{Key: remindBillKey(bill)}, &reminderRecord{
		Service: goldenService, Message: goldenID, Since: at, Due: at + 1, Bill: string(bill), Last: at - 1, Work: goldenID})
	add("request.deletion", person, nil, store.Record{Key: keyDeletion, Lane: cleanUpLane(person.owner), Due: goldenTime}, &requestRecord{
		Status: RequestPending, Version: 3, Asked: at - 2, Changed: at - 1, Due: at, Waited: 1, Level: L2, Provider: "cie", Text: "2026-01"})
	add("request.download", person, nil, store.Record{Key: keyDownload},
		&requestRecord{Status: RequestFailed, Version: 3, Asked: at - 2, Changed: at - 1, Reason: "no room", Level: L3})
	add("spread", owed, nil, store.Record{Key: keySpread, Lane: effectLane(owed.owner), Due: goldenTime}, &spreadRecord{From: prefixDebtor + "c/x"})
	hash := feedHash(string(goldenPerson))
	fed := c.of(c.feedOwner(goldenTime, hash))
	alias := store.Key(fed.feedAlias(hash))
	add("feed.choice", person, nil, store.Record{Key: prefixFeed + "0000000000000007", Lane: effectLane(person.owner), Due: goldenTime},
		&feedRecord{Hash: hash, At: at, Number: 7, Service: goldenService, Op: feedOff})
	add("feed.erasure", person, nil, store.Record{Key: prefixFeed + "0000000000000008", Lane: effectLane(person.owner), Due: goldenTime},
		&feedRecord{Hash: hash, At: at, Number: 8, Op: feedOff, List: true, Erase: true})
	add("feed-person", fed, nil, store.Record{Key: prefixFeedPerson + alias},
		&feedPersonRecord{Op: feedOn, Number: 6, Services: []feedServiceRecord{{goldenService, feedOff, 7}}})
	add("feed-line", fed, nil, store.Record{Key: store.Key(fed.feedServicePrefix(goldenService)) + alias}, &feedLineRecord{hash, feedOff})
	add("tally", person, nil, store.Record{Key: prefixTally + "3bbbbbbbbbbbbbbbbbbbbbbbbbb-1", Lane: cleanUpLane(person.owner), Due: goldenTime.Add(keepTally)},
		&tallyRecord{Kind: tallyDelivered, Service: goldenService, Channel: Push})
	add("day", c.of(statisticsOwner+store.Owner(goldenService)), nil, store.Record{Key: dayKey(goldenTime)},
		&dayRecord{Processed: 1000, Rejected: 70, Delivered: map[string]int64{Email: 3, Push: 990}, Read: 400, Paid: 5})
	add("document-use", c.of(documentUser(goldenService)), nil, store.Record{Key: keyDocumentUse},
		&documentUseRecord{Day: toMicro(utcDay(goldenTime)), Bytes: 1 << 20, Change: 1<<64 - 1})
	add("counted", c.of(statisticsOwner), nil, store.Record{Key: keyClosed}, &closedRecord{Until: toMicro(utcDay(goldenTime))})
	add("outcome.more", person, nil, store.Record{Key: outcomeKey(goldenID), Lane: outcomeLane(goldenService), Due: goldenTime},
		&outcomeRecord{Service: goldenService, Items: []outcomeItem{done, done}, First: 1})
	add("bill.service", person, person.personal, store.Record{Key: bill}, &billRecord{
		Creditor: string(goldenOrg), Notice: string(notice.Notice), Amount: 123_45, Added: at, Messages: []MessageID{goldenID}, Service: goldenService})
	add("service.quiet", svc, nil, store.Record{Key: keyService}, &serviceRecord{
		ID: goldenService, Name: "Allerta", Organization: string(goldenOrg), At: at, QuietBasis: "d.lgs. 1/2018, art. 17"})
	add("profile.quiet", person, person.personal, store.Record{Key: keyProfile}, &profileRecord{
		Code: string(goldenPerson), Mode: Auto, SettingsVersion: 1, Inbox: true, Version: 1,
		Quiet: &quietRecord{From: 22 * time.Hour, To: 7*time.Hour + 30*time.Minute, Zone: "Europe/London"}})
	add("consent-event.quiet", person, nil, store.Record{Key: historyKey(1)}, &consentEvent{
		Number: 1, ID: "mfrggzdfmztwq2lknnwg23tpoa", At: at, What: string(ChangedProfile), Mode: Auto, By: string(ByCitizen),
		Quiet: &quietRecord{From: 22 * time.Hour, To: 7 * time.Hour, Zone: "Europe/London"}})
	facts = Facts{Known: true, Mode: Auto, Inbox: true, QuietBasis: "d.lgs. 1/2018, art. 17", Channels: []ChannelFacts{
		{Name: Push, Switch: Full, Address: true, Validated: true, Quiet: 8 * time.Hour},
		{Name: Email, Switch: Full, Address: true, Validated: true, Fallback: Fallback{Of: Push, After: 24 * time.Hour}},
	}}
	decision = Decide(facts)
	add("decision.quiet", person, nil, store.Record{Key: decisionKey(goldenID)}, newDecisionRecord(goldenService, at, &facts, &decision))
	add("work.fallback", person, nil, store.Record{Key: waitingKey(goldenID), Lane: deliveryLane(goldenService), Due: goldenTime},
		&workRecord{Service: goldenService, Expires: at + 1, Entries: []workEntry{
			{ID: "ffffffffffffffffffffffffff", Channel: Push, Next: at, Expires: at + 2, Quiet: true},
			{ID: "gggggggggggggggggggggggggg", Channel: Email, Next: at + 3, Expires: at + 4, Fallback: Push},
		}, Done: []outcomeItem{{ID: "hhhhhhhhhhhhhhhhhhhhhhhhhh", Channel: Push, Result: OutcomeDelivered, At: at, Attempts: 1, Basis: "d.lgs. 1/2018, art. 17"}}})
	add("parked.fallback", person, nil, store.Record{Key: prefixParked + "gggggggggggggggggggggggggg", Lane: laneParked, Due: goldenTime},
		&parkedRecord{Service: goldenService, Message: goldenID, At: at, Lifetime: 1, Entry: workEntry{
			ID: "gggggggggggggggggggggggggg", Channel: Email, Next: at, Attempts: 10, Expires: at + 2, Fallback: Push, Quiet: true}})
	add("outcome.quiet", person, nil, store.Record{Key: outcomeKey(goldenID)}, &outcomeRecord{Service: goldenService, Items: []outcomeItem{
		{ID: "hhhhhhhhhhhhhhhhhhhhhhhhhh", Channel: Push, Result: OutcomeDelivered, At: at, Attempts: 1, Basis: "d.lgs. 1/2018, art. 17"}}})
	add("preference.digest", person, person.personal, store.Record{Key: person.preferenceKey(goldenService)}, &preferenceRecord{
		Service: goldenService, Inbox: true, Channels: Channels{Email: Full}, SettingsVersion: 1, Digest: true})
	add("consent-event.digest", person, nil, store.Record{Key: historyKey(1)}, &consentEvent{
		Number: 1, ID: "mfrggzdfmztwq2lknnwg23tpoa", At: at, What: string(ChangedPreference), Service: goldenService, Mode: Auto, By: string(ByCitizen),
		Before: preferenceRecord{Service: goldenService, Inbox: true, Digest: true}, After: preferenceRecord{Service: goldenService, Inbox: true, Digest: true}})
	facts = Facts{Known: true, Mode: Auto, Inbox: true, HasPreference: true, InboxPreference: true, Due: 72 * time.Hour, Channels: []ChannelFacts{
		{Name: Email, Switch: Full, Preference: Full, Address: true, Validated: true, Digest: 8 * time.Hour}}}
	decision = Decide(facts)
	gathering := newDecisionRecord(goldenService, at, &facts, &decision)
	gathering.Digest = goldenDigest
	advanced := newDecisionRecord(goldenService, at, &facts, &decision)
	advanced.Premium = true
	add("decision.premium", person, nil, store.Record{Key: decisionKey(goldenID)}, advanced)
	add("decision.digest", person, nil, store.Record{Key: decisionKey(goldenID)}, gathering)
	add("digest", person, nil, store.Record{Key: person.digestKey(goldenService, true)}, &digestRecord{Service: goldenService, Digest: goldenDigest})
	of := &gathered{Messages: []MessageID{goldenID}, Longest: time.Hour}
	add("work.digest", person, nil, store.Record{Key: waitingKey(goldenDigest), Lane: backlogLane(goldenService), Due: goldenTime},
		&workRecord{Service: goldenService, Expires: at + 1, Digest: of, Entries: []workEntry{{ID: "ffffffffffffffffffffffffff", Channel: Email, Next: at}},
			Done: []outcomeItem{{ID: "hhhhhhhhhhhhhhhhhhhhhhhhhh", Channel: Email, Result: OutcomeDelivered, At: at, Attempts: 1, Without: &of.Messages}}})
	add("outcome.digest", person, nil, store.Record{Key: outcomeKey(goldenDigest)}, &outcomeRecord{Service: goldenService, Items: []outcomeItem{
		{ID: "hhhhhhhhhhhhhhhhhhhhhhhhhh", Channel: Email, Result: OutcomeDelivered, At: at, Attempts: 1, Without: &of.Messages}}})
	add("parked.digest", person, nil, store.Record{Key: prefixParked + "ffffffffffffffffffffffffff", Lane: laneParked, Due: goldenTime},
		&parkedRecord{Service: goldenService, Message: goldenDigest, At: at, Lifetime: 1, Digest: of,
			Entry: workEntry{ID: "ffffffffffffffffffffffffff", Channel: Email, Next: at}})
	whole := serviceRecord{
		ID: goldenService, Name: "Tassa rifiuti", Organization: string(goldenOrg), OrgName: "Comune di Esempio", State: Live, Category: Special,
		Basis: PublicTask, Secure: true, MaxPayment: 500_00, OtherPayees: true, Trial: []string{string(goldenPerson)}, Prefixes: []string{"192.0.2.0/24"},
		Texts: []string{"descrizione", "privacy", "web", "e-mail", "tel", "PEC", "aiuto", "altro", "valutazione"},
		Keys:  [][]byte{keyHash(goldenKey)}, At: at, LoweredAt: at - 1, QuietBasis: "d.lgs. 1/2018, art. 17", SendRate: 0.5, DeliveryRate: 10,
	}
	premium := whole
	premium.Premium = true
	add("service.premium", svc, nil, store.Record{Key: keyService}, &premium)
	add("draft.premium", svc, nil, store.Record{Key: keyDraft}, &draftRecord{Data: premium, Version: 1, Changes: 1, At: at})
	add("change.premium", svc, nil, store.Record{Key: changeKey(7)}, &changeRecord{
		ID: bytes.Repeat([]byte{7}, 16), At: at, What: ServiceEdited, By: ByAuthority, Version: 1, Data: &premium})
	add("service.assessment", svc, nil, store.Record{Key: keyService}, &whole)
	scoped := serviceRecord{
		ID: goldenService, Name: "Tassa rifiuti", Organization: string(goldenOrg), Texts: []string{"descrizione", "", "", "", "", "", "", "", "", "ufficio", "indirizzo",
			"condizioni", "apple", "android", "invito", "token"}, At: at, Reach: Local, Scopes: []Scope{WriteMessages, ReadAdvanced}}
	add("service.scopes", svc, nil, store.Record{Key: keyService}, &scoped)
	add("draft.scopes", svc, nil, store.Record{Key: keyDraft}, &draftRecord{Data: scoped, Version: 1, Changes: 1, At: at})
	add("change.scopes", svc, nil, store.Record{Key: changeKey(1)}, &changeRecord{
		ID: bytes.Repeat([]byte{8}, 16), At: at, What: ServiceEdited, By: ByAuthority, Version: 1, Data: &scoped})
	stopped := scoped
	stopped.State, stopped.Held = Stopped, true
	add("service.held", svc, nil, store.Record{Key: keyService}, &stopped)
	add("draft.submitted", svc, nil, store.Record{Key: keyDraft, Lane: laneReview, Due: goldenTime}, &draftRecord{Data: stopped, Stage: Submitted, Version: 2, Changes: 3,
		At: at, SubmittedAt: at, Group: "tributi", Offered: "80078750587", Edited: 2, Released: 1})
	add("change.of", svc, nil, store.Record{Key: changeKey(4)}, &changeRecord{
		ID: bytes.Repeat([]byte{9}, 16), At: at, What: ServiceStopped, By: ByOperator, Version: 2, Of: 2, Data: &stopped})
	add("draft", svc, nil, store.Record{Key: keyDraft}, &draftRecord{
		Data: whole, Stage: Refused, Publish: true, Reason: "privacy-missing", Version: 3, Changes: 7, At: at, SubmittedAt: at - 1, ApprovedAt: at - 2})
	add("change", svc, nil, store.Record{Key: changeKey(7)}, &changeRecord{
		ID: bytes.Repeat([]byte{7}, 16), At: at, What: ServiceRejected, By: ByOperator, Who: "ufficio servizi", Stage: Refused, Publication: Published,
		Version: 3, Reason: "privacy-missing", Data: &whole})
	org := c.of(c.organization(goldenOrg))
	add("draft.agreement", svc, nil, store.Record{Key: keyDraft}, &draftRecord{Data: whole, Stage: Approved, Version: 1, Changes: 3, At: at, ApprovedAt: at, Agreement: 3, Barred: 1})
	add("organization.agreement", org, nil, store.Record{Key: keyOrganization}, &organizationRecord{Code: string(goldenOrg), Name: "Comune di Esempio",
		DraftedAt: at - 3, SignedAt: at - 2, WithdrawnAt: at - 1, At: at, Aggregators: []string{"80078750587"}, Turns: 2})
	add("logo", svc, nil, store.Record{Key: keyLogo}, &logoRecord{PNG: []byte("\x89PNG\r\n\x1a\n"), At: at})
	add("manage-key", org, nil, store.Record{Key: org.manageKeyKey("80078750587", "gestionale")}, &manageKeyRecord{
		ID: "gestionale", Role: Editor, Group: "tributi", Prefixes: []string{"192.0.2.0/24"}, Via: "80078750587", Keys: [][]byte{keyHash(goldenKey)}, At: at})
	add("api-key.manage", c.of(c.apiKey(keyHash(goldenKey))), nil, store.Record{Key: keyAPIKey}, &apiKeyRecord{
		Organization: string(goldenOrg), Record: org.manageKeyKey("80078750587", "gestionale")})
	add("member", org, nil, store.Record{Key: org.memberKey("utente-7")}, &memberRecord{
		ID: "utente-7", Role: Editor, Delegate: true, From: at - 1, Until: at + 1, At: at})
	add("clean-up.ended", org, nil, store.Record{Key: taskEnded, Lane: cleanUpLane(org.owner), Due: goldenTime},
		&cleanUpRecord{Step: 2, From: string(goldenOrg)})
	add("derived", svc, nil, store.Record{Key: keyDerived}, &derivedRecord{Slots: []derivedSlot{{}, {Generation: 3, Key: 1, Hash: keyHash(goldenKey)}}})
	add("use", c.of(c.apiKey(keyHash(goldenKey))), nil, store.Record{Key: keyUse}, &keyUseRecord{At: at})
	add("prepared", c.of(c.organization(goldenOrg)), nil, store.Record{Key: preparedKey(goldenService)}, &preparedRecord{Service: goldenService})
	const configuration = "01HZY3V7K8QZ4M5N6P7R8S9T0X"
	add("message.remote", person, person.personal, store.Record{Key: messageKey(goldenID)}, &messageRecord{
		Service: goldenService, At: at, Subject: "Avviso TARI: prima rata", Markdown: goldenText, Attached: &attachedRecord{Remote: &remoteRecord{
			ID: "pratica/7", Organization: string(goldenOrg), Configuration: configuration, Precondition: Once, Sender: "Ufficio tributi",
			Received: at - 1, Summary: "Un avviso con valore legale", Attachments: true, Text: true}}})
	add("state.opening", person, person.personal, store.Record{Key: stateKey(goldenID)}, &stateRecord{ReadAt: at, Opening: &openingRecord{
		ShownAt: at - 1, Text: bytes.Repeat([]byte{5}, 32), AcceptedAt: at, Level: L2, Provider: "cie"}})
	system := systemRecord{URL: "https://esempio.it/io", Header: "X-Key", Key: "segreto", Type: "API_KEY", Certificate: "cert", PrivateKey: "key", Roots: "roots"}
	add("remote", org, nil, store.Record{Key: remoteConfigurationKey(configuration)}, &remoteConfigurationRecord{
		ID: configuration, Name: "Protocollo", Text: "Gli atti del protocollo", Precondition: Always, Production: &system, Test: &system,
		TestUsers: []string{string(goldenPerson)}, Signed: true, Unsigned: []string{string(goldenPerson)}, At: at})
	kept := documentRecord{ID: configuration, Name: "Certificato.pdf", Type: "application/pdf", Size: 1 << 20, Sum: keyHash("its content"), Key: bytes.Repeat([]byte{3}, 32)}
	add("message.documents", person, person.personal, store.Record{Key: messageKey(goldenID)}, &messageRecord{
		Service: goldenService, At: at, Subject: "Il certificato richiesto", Markdown: goldenText, Attached: &attachedRecord{Documents: []documentRecord{kept}}})
	add("document", person, person.personal, store.Record{Key: documentKey(configuration)}, &ownedRecord{Message: goldenID})
	return cases
}
