package appio

import (
	"log/slog"
	"slices"
	"time"

	"github.com/appio-go/appio/blob"
	"github.com/appio-go/appio/store"
	"github.com/appio-go/appio/store/boltstore"
)

// Options configures an [Engine]. A nil *Options is a zero one: messages reach the inbox and nothing else.
type Options struct {
	// Channels lists how citizens can be reached beside the inbox. Names must be unique.
	Channels []Route

	// Payments follows payment notices: what is sent, scanned and paid from then on. Nil: messages may have notices, and
	// [Engine.Settle], [Citizen.Pay] and [Citizen.ScanNotice] are ErrUnsupported.
	Payments PaymentGateway

	// Reminders reminds citizens who want it of what they have not read or paid, and of deadlines. Nil: nobody is reminded.
	Reminders *ReminderSchedule

	// DigestHour is the hour at which digests go out, in Italian time: see Preference.Digest. From 1 to 23; 0: 8.
	DigestHour int

	// PaymentTimeout bounds one call of Payments; 0: 10 s. There are 256 calls at a time; more wait within their own time.
	PaymentTimeout time.Duration

	// Observer is told of each operation, for traces and metrics. Nil: nobody is.
	Observer Observer

	// Logger gets what no caller can be told. Nil: slog.DiscardHandler. Codes, addresses and texts are never logged.
	Logger *slog.Logger

	// Now is the clock. Nil: time.Now.
	Now func() time.Time

	// Keys gives the engine keys that seal records and make pseudonyms. Nil: Open makes one in the file's name + ".key",
	// with a new file only (an old file without its key is store.ErrKey); New answers ErrInvalid. See FileKeys, RandomKeys.
	Keys Keyring

	// File is how Open opens its file: a limit of size, slower backups, less memory. Nil: as boltstore.Open does without Options. With
	// ReadOnly, and with New, it is ErrInvalid.
	File *boltstore.Options

	// Documents keeps what messages carry: see [Document]. Nil: Open makes a directory, the file's name + ".documents", when there is
	// something to keep; with New there are none, unless it gets a fileblob.New.
	Documents blob.Store

	// MaxDocument is the most bytes of a document; 0: 10 MiB.
	MaxDocument int64

	// DocumentQuota is the most bytes of documents that one service may put on a UTC day, by all engines on the store: see [Sender.PutDocument].
	// A document counts as 4 KiB at least, one that is still being put as MaxDocument. MaxDocument or more; 0: no limit.
	DocumentQuota int64

	// Plain leaves records unsealed, with checksums: for tests and comparisons. A store is plain or sealed for good.
	Plain bool

	// Backoff is the delay after an attempt of a delivery that failed, from 1. Nil: by chance up to 2 s, 4 s, 8 s and so on, an hour at most.
	Backoff func(attempt int) time.Duration

	// DeletionGrace is how long a deletion that a citizen asks for can be taken back: see [Citizen.RequestData]. 0: 6 days; negative: it
	// begins at once.
	DeletionGrace time.Duration

	// FeedDays is for how many days after its end a day of the subscriptions feed is kept, at most 90: see [Sender.SubscriptionsFeed].
	// 0: there is no feed, and nothing is kept for it; days of an earlier engine that had one are deleted at their time.
	FeedDays int

	// Statistics counts what becomes of each service's messages: see [Engine.Statistics]. It takes a few percent of CPU time, and of the file,
	// for each message. What was sent without it is not counted.
	Statistics bool

	// MaxAttempts is how often a delivery is tried before it is parked. 0: 10, which with the usual Backoff takes some 9 minutes, 17 at most,
	// whatever TimeToLive is: a provider may be out of order for longer, and Route.Breaker sees that only where much is sent.
	MaxAttempts int

	// Lease is how long work is claimed; 0: 30 s. DeliverTimeout bounds one Deliver; 0: 20 s. Margin is kept between them; 0: 2 s.
	// DeliverTimeout and Margin together are at most nine tenths of Lease: the rest is for waiting until a worker is free.
	// MaxSkew is how far clocks of processes on one store may differ; 0: 2 s.
	Lease, DeliverTimeout, Margin, MaxSkew time.Duration

	// RevokeWait bounds how long a revocation waits for deliveries under way. 0: five seconds.
	RevokeWait time.Duration

	// Drain bounds how long Run waits for deliveries under way after its context ended. 0: twenty seconds.
	Drain time.Duration

	// ContactRate is how often a second one service may ask CanContact; ten times as many at once. 0: 20.
	ContactRate float64

	// FeedRate is how often a second one service may begin to read the subscriptions feed; 0: 5. ManageRate is how often one
	// [ManageKey] may be shown, 0: 20; DebtRate how often one citizen may have the gateway asked what is to be paid, 0: 5; and AddressRate
	// how often one may ask whether an address is taken that is not in their profile, 0: 1/60. ActivationRate is how often one service may say
	// by its key whether it serves somebody, 0: 50; and CitizenRate how often one citizen's app may change something, see [Citizen.MayChange],
	// 0: 5. Ten times as many at once, and ten at the least. What is above is a [LimitedError]. Each engine counts for itself.
	FeedRate, ManageRate, DebtRate, AddressRate, ActivationRate, CitizenRate float64

	// MaxServices is how many services an organization may prepare or take over, with those that it deleted, whose history stays, or handed to
	// another: see [Authority.PutDraft]. 0: 2,000.
	MaxServices int

	// SendRate is how many messages a second a service may send that has no SendRate of its own, and DeliveryRate how many of its
	// deliveries a second go out, likewise; 0: no limit. As many as in a second at once. Each engine counts for itself. What is above
	// SendRate is refused with a [LimitedError]; what is above DeliveryRate waits.
	SendRate, DeliveryRate float64
}

func (o *Options) complete() error {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&o.Lease, 30*time.Second)
	set(&o.DeliverTimeout, 20*time.Second)
	set(&o.Margin, 2*time.Second)
	set(&o.MaxSkew, 2*time.Second)
	set(&o.RevokeWait, 5*time.Second)
	set(&o.Drain, 20*time.Second)
	set(&o.PaymentTimeout, 10*time.Second)
	set(&o.DeletionGrace, 6*24*time.Hour)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Backoff == nil {
		o.Backoff = defaultBackoff
	}
	if o.MaxAttempts == 0 {
		o.MaxAttempts = 10
	}
	if o.DigestHour == 0 {
		o.DigestHour = 8
	}
	for _, r := range []struct {
		name  string
		rate  *float64
		usual float64
	}{
		{"ContactRate", &o.ContactRate, 20}, {"FeedRate", &o.FeedRate, 5}, {"ManageRate", &o.ManageRate, 20}, {"DebtRate", &o.DebtRate, 5},
		{"AddressRate", &o.AddressRate, 1. / 60}, {"ActivationRate", &o.ActivationRate, 50}, {"CitizenRate", &o.CitizenRate, 5},
	} {
		if *r.rate == 0 {
			*r.rate = r.usual
		}
		if !(*r.rate > 0 && *r.rate <= 1e9) {
			return invalid("Options."+r.name, "0 to 1e9")
		}
	}
	if o.MaxServices == 0 {
		o.MaxServices = 2000
	}
	if o.MaxDocument == 0 {
		o.MaxDocument = documentSize
	}
	o.Channels = slices.Clone(o.Channels)
	switch {
	case o.MaxDocument < 0 || o.MaxDocument > mostDocument:
		return invalid("Options.MaxDocument", "0 to 1 GiB")
	case o.DocumentQuota != 0 && o.DocumentQuota < max(o.MaxDocument, leastDocument):
		return invalid("Options.DocumentQuota", "0, or MaxDocument or more")
	case min(o.Lease, o.DeliverTimeout, o.Margin, o.MaxSkew, o.RevokeWait, o.Drain, o.PaymentTimeout) < 0:
		return invalid("Options", "durations of 0 or more")
	case o.DeliverTimeout > o.longest():
		return invalid("Options.DeliverTimeout", "at most nine tenths of Lease, less Margin")
	case o.DigestHour < 0 || o.DigestHour > 23:
		return invalid("Options.DigestHour", "1 to 23")
	case o.FeedDays < 0 || o.FeedDays > maxFeedDays:
		return invalid("Options.FeedDays", "0 to 90")
	case o.MaxAttempts < 0:
		return invalid("Options.MaxAttempts", "0 or more")
	case o.MaxServices < 0 || o.MaxServices > store.MaxRange:
		return invalid("Options.MaxServices", "0 to 10000")
	case !validRate(o.SendRate):
		return invalid("Options.SendRate", "0 to 1e9")
	case !validRate(o.DeliveryRate):
		return invalid("Options.DeliveryRate", "0 to 1e9")
	}
	var err error
	if o.Reminders, err = o.Reminders.complete(); err != nil {
		return err
	}
	return validRoutes(o.Channels, o)
}

// longest is how long a delivery may take: a lease holds it, with the margin, and some time to wait for a worker.
func (o *Options) longest() time.Duration { return o.Lease - o.Lease/10 - o.Margin }
