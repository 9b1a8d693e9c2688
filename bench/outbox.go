package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	outboxBatch   = 500 // deliveries in one transaction
	outboxWorkers = 2
)

// outbox is a transactional outbox as one writes it by hand for PostgreSQL: a row for each message to deliver, in the
// transaction that accepts it; workers lock a batch of rows, each another, call the channels, record the outcomes and delete
// the rows, in one transaction.
type outbox struct {
	*server
	queue queue
	wake  chan struct{} // there may be rows
	done  atomic.Int64  // outcomes that are durable
	stop  context.CancelFunc
	wg    sync.WaitGroup
	errs  chan error
}

func newOutbox(ctx context.Context, dir string) (contender, error) {
	s, err := startPostgres(ctx, dir, acceptors+outboxWorkers+1)
	if err != nil {
		return nil, err
	}
	return &outbox{
		server: s, queue: make(queue, acceptBatch), wake: make(chan struct{}, 1), errs: make(chan error, acceptors+outboxWorkers),
	}, nil
}

func (o *outbox) preload(ctx context.Context, citizens int) error {
	_, err := o.pool.Exec(ctx, `
		CREATE TABLE outbox (message bigint PRIMARY KEY, channels smallint NOT NULL) WITH (fillfactor = 70);
		CREATE TABLE outcome (message bigint PRIMARY KEY, channels smallint NOT NULL, body bytea NOT NULL);`)
	if err != nil {
		return err
	}
	return o.server.preload(ctx, citizens)
}

func (o *outbox) start(ctx context.Context) error {
	ctx, o.stop = context.WithCancel(ctx)
	for range acceptors {
		o.wg.Go(func() {
			for {
				rs := o.queue.take(ctx, acceptBatch)
				if len(rs) == 0 {
					return
				}
				if err := acceptBoth(ctx, o.pool, rs, o.enqueue); err != nil {
					fail(rs, err)
				}
				select {
				case o.wake <- struct{}{}:
				default:
				}
			}
		})
	}
	for range outboxWorkers {
		o.wg.Go(func() {
			if err := o.work(ctx); err != nil && ctx.Err() == nil {
				o.errs <- err
			}
		})
	}
	return nil
}

func (o *outbox) accept(ctx context.Context, r request) answer { return o.queue.ask(ctx, r) }

func (o *outbox) enqueue(_ pgx.Tx, b *pgx.Batch, as []accepted) error {
	ids, channels := make([]int64, len(as)), make([]int16, len(as))
	for i, a := range as {
		ids[i], channels[i] = a.id, int16(a.channels)
	}
	b.Queue("INSERT INTO outbox SELECT * FROM unnest($1::bigint[], $2::smallint[])", ids, channels)
	return nil
}

// work delivers until ctx ends.
func (o *outbox) work(ctx context.Context) error {
	t := time.NewTicker(50 * time.Millisecond)
	defer t.Stop()
	for {
		n, err := o.batch(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		select {
		case <-o.wake:
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// batch delivers the oldest rows that nobody else has.
func (o *outbox) batch(ctx context.Context) (n int, err error) {
	tx, err := o.pool.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	due, err := tx.Query(ctx, `
		WITH due AS MATERIALIZED (SELECT message, channels FROM outbox ORDER BY message LIMIT $1 FOR UPDATE SKIP LOCKED)
		SELECT due.message, due.channels, m.content FROM due JOIN message m ON m.id = due.message`, outboxBatch)
	if err != nil {
		return 0, err
	}
	var ids []int64
	var channels []int16
	var bodies [][]byte
	var id int64
	var count int16
	var content []byte
	_, err = pgx.ForEachRow(due, []any{&id, &count, &content}, func() error {
		for range count {
			if !channel(content) {
				return errors.New("outbox: not the content that was stored")
			}
		}
		ids, channels, bodies = append(ids, id), append(channels, count), append(bodies, outcome(int(count)))
		n += int(count)
		return nil
	})
	if err != nil || n == 0 {
		return 0, err
	}
	b := &pgx.Batch{}
	b.Queue("INSERT INTO outcome SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::bytea[])", ids, channels, bodies)
	b.Queue("DELETE FROM outbox WHERE message = ANY($1)", ids)
	b.Queue("COMMIT")
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return 0, err
	}
	o.done.Add(int64(n))
	return n, nil
}

func (o *outbox) finish(ctx context.Context, outcomes int) error {
	defer o.wg.Wait()
	defer o.stop()
	return await(ctx, &o.done, outcomes, o.errs)
}

// await returns when done has reached n, or with what went wrong.
func await(ctx context.Context, done *atomic.Int64, n int, errs <-chan error) error {
	t := time.NewTicker(time.Millisecond)
	defer t.Stop()
	for done.Load() < int64(n) {
		select {
		case <-t.C:
		case err := <-errs:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// countMessages counts messages that are whole, by citizen, and refusals.
func (s *server) countMessages(ctx context.Context) (c counts, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT (SELECT count(*) FROM message WHERE length(content) = $1 AND length(decision) = $2 AND status = 1 AND citizen IN (SELECT id FROM citizen)),
			(SELECT count(*) FROM refusal WHERE length(decision) = $2)`,
		contentBytes, decisionBytes).Scan(&c.Accepted, &c.Refused)
	return c, err
}

func (o *outbox) count(ctx context.Context) (counts, error) {
	c, err := o.countMessages(ctx)
	if err != nil {
		return c, err
	}
	err = o.pool.QueryRow(ctx, `
		SELECT (SELECT coalesce(sum(channels), 0) FROM outcome JOIN message ON message.id = outcome.message), (SELECT coalesce(sum(channels), 0) FROM outbox)`,
	).Scan(&c.Outcomes, &c.Left)
	return c, err
}
