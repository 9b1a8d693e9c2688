package appio

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/appio-go/appio/store"
)

// Keys of a citizen's records. Those marked E are sealed under the engine key and outlive an erasure, which destroys the
// person's data key and so the others at once.
const (
	keyTombstone store.Key = "!" // E: an erasure is under way
	keyDataKey   store.Key = "K" // E: the person's data key; destroyed by erasure
	keyProfile   store.Key = "P"
	keyListed    store.Key = "L" // E: lists of others name the person; goes with the first change of an erasure

	prefixPreference    = "c/" // + pseudonym of the service
	prefixActivation    = "s/" // + pseudonym of the service; E
	prefixDecision      = "d/" // + message id; E
	prefixHistory       = "h/" // + number of the event; E
	prefixRepeat        = "i/" // + pseudonym of service and idempotency key, or of a document that was sent; E
	prefixMessage       = "m/" // + message id: what was written; + "+": whether it was read, archived
	prefixOutcome       = "o/" // + message id; E
	prefixWork          = "q/"
	prefixWaiting       = "q/w/" // + message id: open work that nobody holds; E
	prefixLeased        = "q/l/" // + message id: open work under a lease; E
	prefixParked        = "x/"   // + delivery id; E
	prefixBill          = "b/"   // + pseudonym of the RPT id
	prefixReceipt       = "y/"   // + when it was paid, and the same pseudonym
	prefixEffect        = "e/"   // + the same pseudonym: the notice is to be told of the citizen; E
	prefixDigest        = "g/"   // + pseudonym of the service, and of secrecy: the digest that its messages are gathered in; E
	prefixDocument      = "f/"   // + id of a document: which message has it
	prefixReminder      = "r/"
	prefixRemindMessage = "r/m/" // + message id: when it is reminded of; E
	prefixRemindBill    = "r/b/" // + the pseudonym of a bill, likewise; E
	prefixFeed          = "w/"   // + number of a consent event: the subscriptions feed is to be told of it; E
	prefixTally         = "n/"   // + kind and what it is of: a mark for statistics; E
	prefixRequest       = "u/"   // + what the citizen asked for; E
	prefixCleanUp       = "z/"   // + task; E
	prefixQuarantine    = "?/"   // + lane, due and key of a record that could not be read

	stateSuffix = "+"
)

// Keys of a citizen's requests.
const (
	keyDownload store.Key = prefixRequest + "download"
	keyDeletion store.Key = prefixRequest + "delete"
)

// Keys of other owners' records.
const (
	keyService      store.Key = "S"
	keyOrganization store.Key = "O"
	keyAPIKey       store.Key = "A"
	keyNews         store.Key = "N"  // of a notice: what the gateway's side said last
	keySpread       store.Key = "T"  // of a notice: its debtors are to be told
	prefixDebtor              = "c/" // of a notice; + name of a citizen who has it
	keyDerived      store.Key = "G"  // of a service: which of its keys are derived
	keyUse          store.Key = "U"  // of an API key: when it was used last
	keyLogo         store.Key = "I"  // of a service, or of an organization
	keyDraft        store.Key = "D"  // of a service: its next version
	prefixChange              = "L/" // of a service; + number: what happened to it
	prefixMember              = "u/" // of an organization; + pseudonym of a member
	prefixManageKey           = "k/" // of an organization; + pseudonym of a key by which it is managed
	prefixPrepared            = "s/" // of an organization; + id of a service that it may have prepared: a hint
	keyTaken        store.Key = "C"  // of an address: who has proved it
	prefixRemote              = "x/" // of an organization; + id of a remote-content configuration
	keyFormat       store.Key = "format"
	keyRoot         store.Key = "root"
	keyRestored     store.Key = "restored" // the store is a restored backup that no engine has used yet
	keyPaused       store.Key = "paused"
)

// keyClosed is of statistics: up to when days are counted for good.
const keyClosed store.Key = "C"

// keyDocumentUse is of a service's figures: what it has put of documents today.
const keyDocumentUse store.Key = "D"

// Keys of records of a part of a day's feed: see feed.go.
const (
	prefixFeedPerson  = "i/" // + pseudonym of a person: what was said of them
	prefixFeedAll     = "p/" // + pseudonym of a person: what was said of all services, for who reads
	prefixFeedService = "s/" // + pseudonyms of a service and of a person: what was said of the service
)

// isConsent reports whether a citizen's consent depends on the record; isMessage, whether it is a message.
func isConsent(k store.Key) bool {
	return k == keyTombstone || k == keyDataKey || k == keyProfile || strings.HasPrefix(string(k), prefixPreference) ||
		strings.HasPrefix(string(k), prefixActivation)
}

func isMessage(k store.Key) bool { return strings.HasPrefix(string(k), prefixMessage) }

func messageKey(id MessageID) store.Key  { return prefixMessage + store.Key(id) }
func stateKey(id MessageID) store.Key    { return prefixMessage + store.Key(id) + stateSuffix }
func decisionKey(id MessageID) store.Key { return prefixDecision + store.Key(id) }
func outcomeKey(id MessageID) store.Key  { return prefixOutcome + store.Key(id) }
func waitingKey(id MessageID) store.Key  { return prefixWaiting + store.Key(id) }
func leasedKey(id MessageID) store.Key   { return prefixLeased + store.Key(id) }

// workKeys are where open work of a message stands, and what became of it. Each delivery asks for them many times.
type workKeys [3]store.Key

func keysOfWork(id MessageID) workKeys {
	all := store.Key(prefixLeased + id + prefixWaiting + id + prefixOutcome + id)
	leased, rest := all[:len(prefixLeased)+len(id)], all[len(prefixLeased)+len(id):]
	return workKeys{leased, rest[:len(prefixWaiting)+len(id)], rest[len(prefixWaiting)+len(id):]}
}

func (k workKeys) leased() store.Key  { return k[0] }
func (k workKeys) waiting() store.Key { return k[1] }
func (k workKeys) outcome() store.Key { return k[2] }

// digestKey is of a service's digests; what asks for secure channels is gathered for itself.
func (c *ownerCodec) digestKey(id ServiceID, secure bool) store.Key {
	k := prefixDigest + store.Key(c.serviceAlias(id))
	if secure {
		k += stateSuffix
	}
	return k
}

func historyKey(n uint64) store.Key { return store.Key(fmt.Sprintf("%s%016x", prefixHistory, n)) }

func (c *ownerCodec) preferenceKey(id ServiceID) store.Key {
	return prefixPreference + store.Key(c.serviceAlias(id))
}

func (c *ownerCodec) activationKey(id ServiceID) store.Key {
	return prefixActivation + store.Key(c.serviceAlias(id))
}

// serviceAlias is the pseudonym of a service among the owner's records.
func (c *ownerCodec) serviceAlias(id ServiceID) string {
	if c.aliased != id || c.alias == "" {
		c.aliased, c.alias = id, c.short(c.owner, "service", string(id))
	}
	return c.alias
}

func (c *ownerCodec) repeatKey(id ServiceID, key string) store.Key {
	return prefixRepeat + store.Key(c.short(c.owner, "key", string(id)+"\x00"+key))
}

// sentKey is of a document that was sent. Like an idempotency key it outlives an erasure, which removes the document, and goes when nobody
// can send the document any more.
func (c *ownerCodec) sentKey(id DocumentID) store.Key {
	return prefixRepeat + store.Key(c.short(c.owner, "document", string(id)))
}

// quarantineKey keeps where a record stood beside its bytes, which are not changed.
func quarantineKey(r *store.Record) store.Key {
	var at [10]byte
	binary.BigEndian.PutUint16(at[:], uint16(r.Lane))
	binary.BigEndian.PutUint64(at[2:], uint64(r.Due.UnixMicro()))
	return prefixQuarantine + store.Key(at[:]) + r.Key
}

// all is the range of the keys with a prefix.
func all(prefix string, limit int) store.Range {
	return store.Range{From: store.Key(prefix), To: store.Key(prefixEnd(prefix)), Limit: limit}
}

// prefixEnd is the first string after all those with the prefix.
func prefixEnd(prefix string) string {
	b := []byte(prefix)
	b[len(b)-1]++
	return string(b)
}

func messageIDOf(k store.Key) MessageID {
	return MessageID(k[strings.LastIndexByte(string(k), '/')+1:])
}

func (c *ownerCodec) memberKey(id string) store.Key {
	return prefixMember + store.Key(c.short(c.owner, "member", id))
}

func changeKey(n uint64) store.Key { return store.Key(fmt.Sprintf("%s%016x", prefixChange, n)) }

func preparedKey(id ServiceID) store.Key { return prefixPrepared + store.Key(id) }

func (c *ownerCodec) manageKeyKey(via, id string) store.Key {
	return prefixManageKey + store.Key(c.short(c.owner, "manage key", via+"\x00"+id))
}

func remoteConfigurationKey(id ConfigurationID) store.Key { return prefixRemote + store.Key(id) }
