package appio

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/appio-go/appio/fiscalcode"
	"github.com/appio-go/appio/internal/failpoint"
	"github.com/appio-go/appio/store"
)

// A DataChoice is what a citizen asks for about their data.
type DataChoice string

const (
	DownloadData DataChoice = "DOWNLOAD" // a copy: see Engine.ServeDownload
	DeleteData   DataChoice = "DELETE"   // an erasure, after Options.DeletionGrace
)

// A RequestStatus is where a request of a citizen about their data stands.
type RequestStatus string

const (
	RequestPending RequestStatus = "PENDING" // a deletion can be aborted
	RequestWIP     RequestStatus = "WIP"     // work in progress
	RequestClosed  RequestStatus = "CLOSED"  // done
	RequestFailed  RequestStatus = "FAILED"  // of a download: see Reason
	RequestAborted RequestStatus = "ABORTED" // of a deletion, by the citizen
)

// A DataRequest is the last request of a kind that a citizen made.
type DataRequest struct {
	Choice    DataChoice
	Status    RequestStatus
	Version   int // one more with each change, of earlier requests, too
	AskedAt   time.Time
	ChangedAt time.Time // when Status became what it is
	Due       time.Time // when a pending deletion begins by itself; zero: it is none
	Reason    string    // of a failure; of at most 200 bytes
}

// A deletion waits for a download that is open, so that the citizen gets it, for so long at a time, and so often.
const (
	deletionWaits     = 12 * time.Hour
	deletionWaitsMost = 14
)

// downloadTime is after how long a download that somebody took is given to another: they may be no more.
const downloadTime = time.Hour

// restoreGrace is how long the deletions of a restored backup wait at least: that they were aborted after it was made may be lost.
const restoreGrace = 24 * time.Hour

// requestKey is where the last request of a kind is.
func requestKey(c DataChoice) (store.Key, error) {
	switch c {
	case DownloadData:
		return keyDownload, nil
	case DeleteData:
		return keyDeletion, nil
	}
	return "", invalid("DataChoice", "DOWNLOAD or DELETE")
}

func (r *requestRecord) open() bool { return r.Status == RequestPending || r.Status == RequestWIP }

func (r *requestRecord) request(c DataChoice) DataRequest {
	return DataRequest{c, r.Status, r.Version, fromMicro(r.Asked), fromMicro(r.Changed), fromMicro(r.Due), r.Reason}
}

// become changes a request's status.
func (r *requestRecord) become(s RequestStatus, at int64) {
	r.Status, r.Version, r.Changed, r.Due = s, r.Version+1, at, 0
}

// putRequest writes a request. What is pending is in the lane of those who work on it, and so is a download that somebody has taken.
func (d *draft) putRequest(key store.Key, r *requestRecord) error {
	rec := store.Record{Key: key}
	switch {
	case key == keyDeletion && r.Status == RequestPending:
		rec.Lane, rec.Due = cleanUpLane(d.owner), fromMicro(r.Due)
	case key == keyDownload && r.Status == RequestPending:
		rec.Lane, rec.Due = laneDownload, fromMicro(r.Asked)
	case key == keyDownload && r.Status == RequestWIP:
		rec.Lane, rec.Due = laneDownload, fromMicro(r.Changed).Add(downloadTime)
	}
	return d.putSealed(rec, r)
}

// RequestData asks for a download or for deletion. There is one open request of each kind: while it is pending or being worked on,
// another is ErrConflict. It asks for a login at L2. Of a person of whom nothing is kept it is ErrNotFound, and so is a download of one
// without a profile: [Citizen.Export] has the little there is.
//
// A pending deletion changes nothing else: until it begins the citizen gets messages, and can do what anybody can, and
// [Citizen.AbortDeletion] takes it back. It begins after Options.DeletionGrace by itself, in Run or Flush, as [Citizen.Erase] does, which
// needs no grace; it waits for a download that is open, up to seven days more. Enrolment is then ErrErasing until it is done.
func (c *Citizen) RequestData(ctx context.Context, choice DataChoice) (DataRequest, error) {
	key, err := requestKey(choice)
	if err != nil {
		return DataRequest{}, err
	}
	if c.id.Level < L2 {
		return DataRequest{}, fmt.Errorf("%w: a request asks for a login at level 2", ErrForbidden)
	}
	return c.changeRequest(ctx, choice, key, profileKeys, true, func(tx *draft, r *requestRecord, now int64) error {
		if tx.get(keyTombstone) != nil {
			return ErrErasing
		}
		if r.open() {
			return fmt.Errorf("%w: such a request is open already", ErrConflict)
		}
		if tx.rev == 0 || choice == DownloadData && tx.get(keyProfile) == nil {
			return ErrNotFound
		}
		*r = requestRecord{Version: r.Version, Asked: now, Level: c.id.Level, Provider: c.id.Provider, Text: c.id.Text}
		r.become(RequestPending, now)
		if choice == DeleteData {
			r.Due = toMicro(fromMicro(now).Add(max(c.e.opts.DeletionGrace, 0)))
		}
		return nil
	})
}

// AbortDeletion takes back a deletion that is pending: all is as it was. Without a request it is ErrNotFound; one that has begun, or is
// over, is ErrConflict. Any login may: what it takes back cannot be undone.
func (c *Citizen) AbortDeletion(ctx context.Context) (DataRequest, error) {
	return c.changeRequest(ctx, DeleteData, keyDeletion, nil, false, func(_ *draft, r *requestRecord, now int64) error {
		switch r.Status {
		case "":
			return ErrNotFound
		case RequestPending:
			r.become(RequestAborted, now)
			return nil
		}
		return fmt.Errorf("%w: the request is not pending", ErrConflict)
	})
}

// changeRequest changes the request under a key; change gets an empty one if there is none. With anew one that cannot be read is put aside, and
// is none.
func (c *Citizen) changeRequest(ctx context.Context, choice DataChoice, key store.Key, keys []store.Key, anew bool, change func(tx *draft, r *requestRecord, now int64) error) (DataRequest, error) {
	owner, err := c.begin(ctx)
	if err != nil {
		return DataRequest{}, err
	}
	var r requestRecord
	err = c.e.do(ctx, &op{owner: owner, urgent: true, keys: append([]store.Key{key}, keys...), apply: func(tx *draft) error {
		r = requestRecord{}
		switch _, err := tx.read(key, &r); {
		case errors.Is(err, store.ErrCorrupt) && anew: // it must not keep the person from what is theirs
			tx.quarantine(tx.get(key))
			r = requestRecord{}
		case err != nil:
			return err
		}
		if err := change(tx, &r, toMicro(c.e.now())); err != nil {
			return err
		}
		return tx.putRequest(key, &r)
	}})
	if err != nil {
		return DataRequest{}, err
	}
	return r.request(choice), nil
}

// DataRequest is the last request of a kind; ErrNotFound: there was none. That of a deletion outlives it, as CLOSED.
func (c *Citizen) DataRequest(ctx context.Context, choice DataChoice) (DataRequest, error) {
	key, err := requestKey(choice)
	if err != nil {
		return DataRequest{}, err
	}
	owner, err := c.begin(ctx)
	if err != nil {
		return DataRequest{}, err
	}
	d, err := c.e.view(ctx, owner, store.Range{}, "", key, keyTombstone)
	if err != nil {
		return DataRequest{}, err
	}
	var r requestRecord
	found, err := d.read(key, &r)
	switch {
	case err != nil:
		return DataRequest{}, err
	case !found:
		return DataRequest{}, ErrNotFound
	case key == keyDownload && d.get(keyTombstone) != nil:
		return DataRequest{}, ErrErasing
	}
	return r.request(choice), nil
}

// ServeDownload takes the oldest download that citizens have asked for, and calls serve with the citizen, as they were logged in when
// they asked: who serves writes [Citizen.Export] to where only they get it, and tells them. The request is WIP meanwhile, then
// CLOSED, or, after an error, FAILED with it as the reason, without what looks like a code or an address. Where ctx ended, or nobody came
// back within an hour, it is taken again: a download may be served twice. It reports whether there was one; a host calls it now and then
// until there is none.
func (e *Engine) ServeDownload(ctx context.Context, serve func(ctx context.Context, c *Citizen) error) (found bool, err error) {
	if err := e.ready(ctx); err != nil {
		return false, err
	}
	q := store.DueQuery{Lanes: []store.Lane{laneDownload}, Until: e.now(), Limit: 16}
	for {
		recs, err := e.store.Due(ctx, q)
		if err != nil {
			return false, err
		}
		for _, rec := range recs {
			c, version, err := e.takeDownload(ctx, rec)
			if err != nil {
				return false, err
			}
			if c != nil {
				return true, e.serveDownload(ctx, rec.Owner, c, version, serve)
			}
		}
		if len(recs) < q.Limit {
			return false, nil
		}
		last := recs[len(recs)-1]
		q.After = store.Position{Due: last.Due, Owner: last.Owner, Key: last.Key}
	}
}

// takeDownload makes a due download WIP; nil: it is another's, or of a person who is erased.
func (e *Engine) takeDownload(ctx context.Context, rec store.Record) (c *Citizen, version int, err error) {
	err = e.do(ctx, &op{owner: rec.Owner, keys: append([]store.Key{rec.Key}, profileKeys...), apply: func(tx *draft) error {
		c = nil
		if rec.Key != keyDownload || !tx.has(rec) {
			return nil
		}
		now := tx.get(rec.Key)
		var r requestRecord
		if err := tx.open(now, &r); errors.Is(err, store.ErrCorrupt) {
			tx.quarantine(now)
			return nil
		} else if err != nil {
			return err
		}
		if tx.get(keyTombstone) != nil {
			return nil // it goes with the rest
		}
		p, err := tx.readProfile()
		if err != nil || p == nil {
			r.become(RequestFailed, toMicro(e.now()))
			r.Reason = "the profile could not be read"
			return tx.putRequest(keyDownload, &r)
		}
		r.become(RequestWIP, toMicro(e.now()))
		c, version = e.Citizen(Identity{fiscalcode.Person(p.Code), r.Level, r.Provider, r.Text}), r.Version
		return tx.putRequest(keyDownload, &r)
	}})
	return c, version, err
}

// serveDownload serves what was taken, and says what became of it.
func (e *Engine) serveDownload(ctx context.Context, owner store.Owner, c *Citizen, version int, serve func(context.Context, *Citizen) error) error {
	failed := errors.New("who served it did not come back")
	defer func() { // also after a panic
		if failed == nil {
			return
		}
		if ctx.Err() == nil {
			_ = e.endDownload(ctx, owner, version, RequestFailed, cause(failed.Error(), &attempt{code: string(c.id.Code)}))
			return
		}
		back, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.opts.RevokeWait)
		defer cancel()
		_ = e.endDownload(back, owner, version, RequestPending, "") // otherwise it is taken again in an hour
	}()
	err := serve(ctx, c)
	_ = failpoint.Hit("download/served")
	if failed = err; err != nil {
		return err
	}
	return e.endDownload(ctx, owner, version, RequestClosed, "")
}

// endDownload counts if nobody else has taken it meanwhile.
func (e *Engine) endDownload(ctx context.Context, owner store.Owner, version int, s RequestStatus, reason string) error {
	return e.do(ctx, &op{owner: owner, keys: []store.Key{keyDownload}, apply: func(tx *draft) error {
		var r requestRecord
		if found, err := tx.read(keyDownload, &r); err != nil || !found || r.Status != RequestWIP || r.Version != version {
			return err
		}
		r.become(s, toMicro(e.now()))
		r.Reason = reason
		return tx.putRequest(keyDownload, &r)
	}})
}

// deletionOp begins the erasure that a citizen asked for: its first change, with the change of the request.
func (e *Engine) deletionOp(rec store.Record) *op {
	o := e.consentOp(rec.Owner, consentChange{erase: true}, nil, nil)
	o.urgent = false
	o.apply = func(tx *draft) error {
		if !tx.has(rec) {
			return nil // it was aborted
		}
		now := tx.get(keyDeletion)
		var r requestRecord
		if err := tx.open(now, &r); errors.Is(err, store.ErrCorrupt) {
			tx.quarantine(now)
			return nil
		} else if err != nil {
			return err
		}
		var download requestRecord
		if _, err := tx.read(keyDownload, &download); err != nil && !errors.Is(err, store.ErrCorrupt) {
			return err
		}
		if download.open() && r.Waited < deletionWaitsMost {
			r.Waited++
			r.Due = toMicro(micro(e.now()).Add(deletionWaits))
			return tx.putRequest(keyDeletion, &r)
		}
		if _, _, err := e.applyConsent(tx, &consentChange{by: ByCitizen, id: Identity{Level: r.Level, Provider: r.Provider, Text: r.Text}, erase: true}); err != nil {
			return err
		}
		for _, task := range []store.Key{taskVoid, taskErase} { // due as the request was, so that the Flush that begins goes on with them
			if tx.get(task) == nil {
				continue
			}
			if err := tx.putCleanUp(task, cleanUpRecord{}, toMicro(rec.Due)); err != nil {
				return err
			}
		}
		return nil
	}
	return o
}

// beginDeletion says in the request, if there is one, that the erasure has begun.
func (d *draft) beginDeletion(at int64) error {
	var r requestRecord
	found, err := d.read(keyDeletion, &r)
	switch {
	case errors.Is(err, store.ErrCorrupt): // it must not keep the person from being erased
		d.quarantine(d.get(keyDeletion))
		return nil
	case err != nil || !found || r.Status != RequestPending:
		return err
	}
	r.become(RequestWIP, at)
	return d.putRequest(keyDeletion, &r)
}

// endDeletion says that it is done.
func (d *draft) endDeletion(at int64) error {
	var r requestRecord
	found, err := d.read(keyDeletion, &r)
	switch {
	case errors.Is(err, store.ErrCorrupt):
		d.quarantine(d.get(keyDeletion))
		return nil
	case err != nil || !found || r.Status != RequestWIP:
		return err
	}
	r.become(RequestClosed, at)
	return d.putRequest(keyDeletion, &r)
}

// delayDeletions has the deletions of a restored backup wait, so that what was aborted after it was made can be aborted again.
func (e *Engine) delayDeletions(ctx context.Context) error {
	until := micro(e.now()).Add(restoreGrace)
	return e.eachDue(ctx, laneCleanUp, cleanUpLanes, until, func(rec store.Record) *op {
		if rec.Key != keyDeletion {
			return nil
		}
		return &op{owner: rec.Owner, keys: []store.Key{keyDeletion}, apply: func(tx *draft) error {
			var r requestRecord
			if found, err := tx.read(keyDeletion, &r); errors.Is(err, store.ErrCorrupt) {
				return nil // its turn will show it
			} else if err != nil || !found || r.Status != RequestPending {
				return err
			}
			r.Due = max(r.Due, toMicro(until)+1)
			return tx.putRequest(keyDeletion, &r)
		}}
	})
}
