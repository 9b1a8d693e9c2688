package main

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	_ "github.com/mattn/go-sqlite3" // the driver
	"maragu.dev/goqite"

	"github.com/appio-go/appio/internal/workload"
)

// goqiteSchema is the table that goqite's documentation has its users make, with its trigger and its index.
const goqiteSchema = `
CREATE TABLE goqite (
	id TEXT PRIMARY KEY DEFAULT ('m_' || lower(hex(randomblob(16)))),
	created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
	updated TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
	queue TEXT NOT NULL, body BLOB NOT NULL,
	timeout TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ')),
	received INTEGER NOT NULL DEFAULT 0, priority INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TRIGGER goqite_updated_timestamp AFTER UPDATE ON goqite BEGIN
	UPDATE goqite SET updated = strftime('%Y-%m-%dT%H:%M:%fZ') WHERE id = old.id;
END;
CREATE INDEX goqite_queue_priority_created_idx ON goqite (queue, priority DESC, created);
`

const sqliteSchema = `
CREATE TABLE service (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE citizen (id INTEGER PRIMARY KEY, profile BLOB NOT NULL);
CREATE TABLE preference (citizen INTEGER, service INTEGER, body BLOB NOT NULL, PRIMARY KEY (citizen, service)) WITHOUT ROWID;
CREATE TABLE message (id INTEGER PRIMARY KEY, citizen INTEGER NOT NULL, service INTEGER NOT NULL, status INTEGER NOT NULL,
	content BLOB NOT NULL, decision BLOB NOT NULL);
CREATE INDEX inbox ON message (citizen, id);
CREATE TABLE refusal (id INTEGER PRIMARY KEY, citizen INTEGER NOT NULL, service INTEGER NOT NULL, decision BLOB NOT NULL);
CREATE TABLE outcome (message INTEGER PRIMARY KEY, channels INTEGER NOT NULL, body BLOB NOT NULL);
`

// lite is a goqite queue in the SQLite file that has everything else. SQLite has one writer: one goroutine commits what waits to
// be accepted together with what can be delivered meanwhile, many messages in one transaction.
type lite struct {
	db    *sql.DB
	q     *goqite.Queue
	queue queue
	done  atomic.Int64 // outcomes that are durable
	stop  context.CancelFunc
	wg    sync.WaitGroup
	errs  chan error
}

func newLite(ctx context.Context, dir string) (contender, error) {
	// WAL as goqite's documentation has it, but FULL: a commit is durable when it returns. The WAL may grow to 160 MB before it is
	// written back, the cache has a quarter of a gigabyte, and the driver keeps goqite's statements prepared.
	db, err := sql.Open("sqlite3", "file:"+filepath.Join(dir, "goqite.db")+
		"?_journal_mode=WAL&_synchronous=FULL&_txlock=immediate&_busy_timeout=5000&_cache_size=-262144&_stmt_cache_size=32")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, "PRAGMA wal_autocheckpoint=40000; PRAGMA mmap_size=4294967296;"+sqliteSchema+goqiteSchema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &lite{
		db: db, q: goqite.New(goqite.NewOpts{DB: db, Name: "deliver"}), queue: make(queue, acceptBatch), errs: make(chan error, 1),
	}, nil
}

func (l *lite) preload(ctx context.Context, citizens int) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for n := range workload.Services {
		if _, err := tx.ExecContext(ctx, "INSERT INTO service VALUES (?, ?)", n, serviceRecord()); err != nil {
			return err
		}
	}
	citizen, err := tx.PrepareContext(ctx, "INSERT INTO citizen VALUES (?, ?)")
	if err != nil {
		return err
	}
	preference, err := tx.PrepareContext(ctx, "INSERT INTO preference VALUES (?, ?, ?)")
	if err != nil {
		return err
	}
	for n := range citizens {
		if _, err := citizen.ExecContext(ctx, n, profileRecord(n)); err != nil {
			return err
		}
		for i := range workload.Preferences {
			if _, err := preference.ExecContext(ctx, n, workload.PreferenceFor(n, i), preferenceRecord(n)); err != nil {
				return err
			}
		}
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	_, err = l.db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE); ANALYZE;")
	return err
}

// statements are those of ours; goqite has its own.
type statements struct{ read, message, refusal, content, outcome *sql.Stmt }

// in are the statements in a transaction.
func (s statements) in(ctx context.Context, tx *sql.Tx) statements {
	return statements{
		tx.StmtContext(ctx, s.read), tx.StmtContext(ctx, s.message), tx.StmtContext(ctx, s.refusal),
		tx.StmtContext(ctx, s.content), tx.StmtContext(ctx, s.outcome),
	}
}

func (l *lite) prepare(ctx context.Context) (s statements, err error) {
	for _, p := range []struct {
		to *(*sql.Stmt)
		q  string
	}{
		{&s.read, `SELECT (SELECT body FROM service WHERE id = ?2), (SELECT profile FROM citizen WHERE id = ?1),
			(SELECT body FROM preference WHERE citizen = ?1 AND service = ?2)`},
		{&s.message, "INSERT INTO message VALUES (?, ?, ?, 1, ?, ?)"},
		{&s.refusal, "INSERT INTO refusal VALUES (?, ?, ?, ?)"},
		{&s.content, "SELECT content FROM message WHERE id = ?"},
		{&s.outcome, "INSERT INTO outcome VALUES (?, ?, ?)"},
	} {
		if *p.to, err = l.db.PrepareContext(ctx, p.q); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (l *lite) start(ctx context.Context) error {
	s, err := l.prepare(ctx)
	if err != nil {
		return err
	}
	ctx, l.stop = context.WithCancel(ctx)
	l.wg.Go(func() {
		waiting := 0 // messages in the queue
		for ctx.Err() == nil {
			var rs []request
			if waiting == 0 {
				if rs = l.queue.take(ctx, acceptBatch); len(rs) == 0 {
					return
				}
			} else {
				rs = l.queue.poll(acceptBatch)
			}
			n, err := l.commit(ctx, s, rs)
			if err != nil {
				fail(rs, err)
				l.errs <- err
				return
			}
			waiting += n
		}
	})
	return nil
}

// commit accepts the requests and delivers as many messages of those that were in the queue, in one transaction. It answers by
// how much the queue grew.
func (l *lite) commit(ctx context.Context, s statements, rs []request) (grown int, err error) {
	ctx = context.WithoutCancel(ctx) // a context that can end costs a goroutine for each statement
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	s = s.in(ctx, tx)
	delivered, outcomes, err := l.deliver(ctx, tx, s)
	if err != nil {
		return 0, err
	}
	answers := make([]answer, len(rs))
	for i, r := range rs {
		var service, profile, preference []byte
		if err := s.read.QueryRowContext(ctx, r.citizen, r.service).Scan(&service, &profile, &preference); err != nil {
			return 0, err
		}
		ok, channels, decision := decide(service, profile, preference)
		if !ok {
			if _, err := s.refusal.ExecContext(ctx, r.id, r.citizen, r.service, decision); err != nil {
				return 0, err
			}
			continue
		}
		c := content(workload.Message(workload.Person(r.citizen), r.n))
		if _, err := s.message.ExecContext(ctx, r.id, r.citizen, r.service, c, decision); err != nil {
			return 0, err
		}
		body := append(binary.BigEndian.AppendUint64(nil, uint64(r.id)), byte(channels))
		if err := l.q.SendTx(ctx, tx, goqite.Message{Body: body}); err != nil {
			return 0, err
		}
		answers[i].channels = channels
		grown++
	}
	if err := tx.Commit(); err != nil {
		return 0, err
	}
	for i, r := range rs {
		r.answer <- answers[i]
	}
	l.done.Add(int64(outcomes))
	return grown - delivered, nil
}

// deliver takes a batch from the queue, calls the channels and records the outcomes.
func (l *lite) deliver(ctx context.Context, tx *sql.Tx, s statements) (messages, outcomes int, err error) {
	for messages < acceptBatch {
		m, err := l.q.ReceiveTx(ctx, tx)
		if err != nil {
			return 0, 0, err
		}
		if m == nil {
			break
		}
		id, channels := int64(binary.BigEndian.Uint64(m.Body)), int(m.Body[8])
		var c []byte
		if err := s.content.QueryRowContext(ctx, id).Scan(&c); err != nil {
			return 0, 0, err
		}
		for range channels {
			if !channel(c) {
				return 0, 0, errors.New("goqite: not the content that was stored")
			}
		}
		if _, err := s.outcome.ExecContext(ctx, id, channels, outcome(channels)); err != nil {
			return 0, 0, err
		}
		if err := l.q.DeleteTx(ctx, tx, m.ID); err != nil {
			return 0, 0, err
		}
		messages++
		outcomes += channels
	}
	return messages, outcomes, nil
}

func (l *lite) accept(ctx context.Context, r request) answer { return l.queue.ask(ctx, r) }

func (l *lite) finish(ctx context.Context, outcomes int) error {
	defer l.wg.Wait()
	defer l.stop()
	return await(ctx, &l.done, outcomes, l.errs)
}

func (l *lite) count(ctx context.Context) (c counts, err error) {
	err = l.db.QueryRowContext(ctx, `
		SELECT (SELECT count(*) FROM message WHERE length(content) = ?1 AND length(decision) = ?2 AND status = 1 AND citizen IN (SELECT id FROM citizen)),
			(SELECT count(*) FROM refusal WHERE length(decision) = ?2),
			(SELECT coalesce(sum(channels), 0) FROM outcome JOIN message ON message.id = outcome.message),
			(SELECT count(*) FROM goqite)`, contentBytes, decisionBytes).Scan(&c.Accepted, &c.Refused, &c.Outcomes, &c.Left)
	return c, err
}

func (l *lite) close() error {
	if err := l.db.Close(); err != nil {
		return fmt.Errorf("goqite: %w", err)
	}
	return nil
}
