package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// riverQueue accepts as outbox does, and inserts a River job for each accepted message into the same transaction. Workers read
// what the channels are to show in batches too; a completed job is the record of its outcome.
type riverQueue struct {
	*server
	client *river.Client[pgx.Tx]
	queue  queue
	loads  chan load
	called atomic.Int64 // calls of channels
	errs   chan error
	stop   context.CancelFunc
	wg     sync.WaitGroup
}

type deliverArgs struct {
	Message  int64 `json:"message"`
	Channels int   `json:"channels"`
}

func (deliverArgs) Kind() string { return "deliver" }

func newRiver(ctx context.Context, dir string) (contender, error) {
	s, err := startPostgres(ctx, dir, acceptors+16)
	if err != nil {
		return nil, err
	}
	r := &riverQueue{server: s, queue: make(queue, acceptBatch), loads: make(chan load, riverWorkers), errs: make(chan error, 1)}
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(ctx context.Context, job *river.Job[deliverArgs]) error {
		l := load{job.Args.Message, make(chan []byte, 1)}
		r.loads <- l
		content := <-l.content
		for range job.Args.Channels {
			if !channel(content) {
				return errors.New("river: not the content that was stored")
			}
			r.called.Add(1)
		}
		return nil
	}))
	if err := r.open(ctx, workers); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return r, nil
}

const riverWorkers = 2000

// A load asks for the content of a message; nil is the answer if there is none.
type load struct {
	message int64
	content chan []byte
}

// load reads for the workers, in one statement for all that wait, until ctx ends.
func (r *riverQueue) load(ctx context.Context) {
	for {
		var waiting []load
		select {
		case l := <-r.loads:
			waiting = append(waiting, l)
		case <-ctx.Done():
			return
		}
		for len(r.loads) > 0 && len(waiting) < acceptBatch {
			waiting = append(waiting, <-r.loads)
		}
		ids := make([]int64, len(waiting))
		for i, l := range waiting {
			ids[i] = l.message
		}
		contents := make(map[int64][]byte, len(ids))
		rows, err := r.pool.Query(ctx, "SELECT id, content FROM message WHERE id = ANY($1)", ids)
		if err == nil {
			var id int64
			var content []byte
			_, err = pgx.ForEachRow(rows, []any{&id, &content}, func() error {
				contents[id] = content
				return nil
			})
		}
		for _, l := range waiting {
			l.content <- contents[l.message]
		}
		if err != nil && ctx.Err() == nil {
			r.errs <- err
			return
		}
	}
}

// open makes River's tables and its client. The figures are those that River's own benchmark chooses for throughput.
func (r *riverQueue) open(ctx context.Context, workers *river.Workers) error {
	driver := riverpgxv5.New(r.pool)
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	m, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: logger})
	if err != nil {
		return err
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}
	r.client, err = river.NewClient(driver, &river.Config{
		FetchCooldown:     2 * time.Millisecond,
		FetchPollInterval: 20 * time.Millisecond,
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: riverWorkers}},
		Workers:           workers,
		Logger:            logger,
	})
	return err
}

func (r *riverQueue) start(ctx context.Context) error {
	if err := r.client.Start(ctx); err != nil {
		return err
	}
	ctx, r.stop = context.WithCancel(ctx)
	r.wg.Go(func() { r.load(ctx) })
	for range acceptors {
		r.wg.Go(func() {
			for {
				rs := r.queue.take(ctx, acceptBatch)
				if len(rs) == 0 {
					return
				}
				if err := acceptBoth(ctx, r.pool, rs, func(tx pgx.Tx, _ *pgx.Batch, as []accepted) error {
					jobs := make([]river.InsertManyParams, len(as))
					for i, a := range as {
						jobs[i].Args = deliverArgs{a.id, a.channels}
					}
					_, err := r.client.InsertManyFastTx(ctx, tx, jobs)
					return err
				}); err != nil {
					fail(rs, err)
				}
			}
		})
	}
	return nil
}

func (r *riverQueue) accept(ctx context.Context, q request) answer { return r.queue.ask(ctx, q) }

// finish stops the client when all was worked: it returns when its completer has written what is complete.
func (r *riverQueue) finish(ctx context.Context, outcomes int) error {
	defer r.wg.Wait()
	defer r.stop()
	if err := await(ctx, &r.called, outcomes, r.errs); err != nil {
		return err
	}
	return r.client.Stop(ctx)
}

func (r *riverQueue) count(ctx context.Context) (counts, error) {
	c, err := r.countMessages(ctx)
	if err != nil {
		return c, err
	}
	err = r.pool.QueryRow(ctx, `
		SELECT coalesce(sum((args->>'channels')::int) FILTER (WHERE state = 'completed'), 0), coalesce(sum((args->>'channels')::int) FILTER (WHERE state <> 'completed'), 0)
		FROM river_job`).Scan(&c.Outcomes, &c.Left)
	return c, err
}

type noArgs struct {
	N int `json:"n"`
}

func (noArgs) Kind() string { return "nothing" }

// riverNoop is how fast River works jobs that do nothing and are there already: what its own benchmark measures.
func riverNoop(ctx context.Context, dir string, s size) (res result, err error) {
	s.Citizens, s.Senders = 0, 0
	res.size = s
	pg, err := startPostgres(ctx, dir, 16)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, pg.close()) }()
	r := &riverQueue{server: pg}
	workers := river.NewWorkers()
	river.AddWorker(workers, river.WorkFunc(func(context.Context, *river.Job[noArgs]) error {
		r.called.Add(1)
		return nil
	}))
	if err := r.open(ctx, workers); err != nil {
		return res, err
	}
	for from := 0; from < s.Messages; from += 5000 {
		jobs := make([]river.InsertManyParams, min(5000, s.Messages-from))
		for i := range jobs {
			jobs[i].Args = noArgs{from + i}
		}
		if _, err := r.client.InsertManyFast(ctx, jobs); err != nil {
			return res, err
		}
	}
	if _, err := r.pool.Exec(ctx, "VACUUM ANALYZE"); err != nil {
		return res, err
	}
	logged, err := pg.logged(ctx)
	if err != nil {
		return res, err
	}
	before := used()
	start := time.Now()
	if err := r.client.Start(ctx); err != nil {
		return res, err
	}
	if err := await(ctx, &r.called, s.Messages, nil); err != nil {
		return res, err
	}
	if err := r.client.Stop(ctx); err != nil {
		return res, err
	}
	res.DeliveriesPerS = float64(s.Messages) / time.Since(start).Seconds()
	res.use(before)
	res.AcceptedPerS = res.DeliveriesPerS
	end, err := pg.logged(ctx)
	if err != nil {
		return res, err
	}
	res.WrittenPer = float64(end-logged) / float64(s.Messages)
	var stored counts
	err = r.pool.QueryRow(ctx, "SELECT count(*) FILTER (WHERE state = 'completed'), count(*) FILTER (WHERE state <> 'completed') FROM river_job").Scan(&stored.Outcomes, &stored.Left)
	if err != nil {
		return res, err
	}
	res.Outcomes = stored.Outcomes
	return res, res.compare(counts{Outcomes: s.Messages}, stored)
}
