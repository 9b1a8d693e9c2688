package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/appio-go/appio/internal/workload"
)

// errNoPostgres says what to install.
var errNoPostgres = errors.New("no PostgreSQL found: install Debian's package with 'apt-get install postgresql'")

// postgresSettings are what the server is started with. Everything is durable: fsync, full_page_writes and synchronous_commit
// are on, as they are by default. The rest is what PostgreSQL's manual advises for a machine that has room and many writes.
var postgresSettings = []string{
	"listen_addresses=", // a unix socket only
	"fsync=on", "full_page_writes=on", "synchronous_commit=on",
	"shared_buffers=2GB", "max_wal_size=16GB", "min_wal_size=1GB", "wal_buffers=64MB", "wal_compression=lz4",
	"checkpoint_timeout=15min", "checkpoint_completion_target=0.9",
	"random_page_cost=1.1", "effective_cache_size=8GB", "maintenance_work_mem=512MB", "jit=off",
	"autovacuum_naptime=10s", "autovacuum_vacuum_cost_delay=2ms", // queues make dead rows all the time
	"max_connections=100",
}

// A server is a PostgreSQL of our own, in a temporary folder, as a child process.
type server struct {
	cmd  *exec.Cmd
	dir  string
	pool *pgxpool.Pool
}

// debianPostgres is where Debian's packages have the server, by version.
var debianPostgres = "/usr/lib/postgresql/*/bin/postgres"

// postgresBin is the folder of the newest PostgreSQL here.
func postgresBin() (string, error) {
	found, _ := filepath.Glob(debianPostgres)
	if len(found) == 0 {
		path, err := exec.LookPath("postgres")
		if err != nil {
			return "", errNoPostgres
		}
		return filepath.Dir(path), nil
	}
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	return filepath.Dir(found[0]), nil
}

// version is the 15 of /usr/lib/postgresql/15/bin/postgres.
func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// startPostgres makes a database below dir and connects to it. close ends the server and deletes everything.
func startPostgres(ctx context.Context, dir string, conns int) (s *server, err error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	s = &server{}
	if s.dir, err = os.MkdirTemp(dir, "pg-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
			s = nil
		}
	}()
	attr, err := unprivileged(s.dir)
	if err != nil {
		return s, err
	}
	data := filepath.Join(s.dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", data, "-U", "bench", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	initdb.SysProcAttr, initdb.Dir = attr, s.dir
	if out, err := initdb.CombinedOutput(); err != nil {
		return s, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	args := []string{"-D", data, "-k", s.dir}
	for _, v := range postgresSettings {
		args = append(args, "-c", v)
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return s, err
	}
	defer log.Close()
	s.cmd = exec.Command(filepath.Join(bin, "postgres"), args...)
	s.cmd.SysProcAttr, s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = attr, s.dir, log, log
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return s, err
	}
	config, err := pgxpool.ParseConfig(fmt.Sprintf("host=%s user=bench dbname=postgres pool_max_conns=%d", s.dir, conns))
	if err != nil {
		return s, err
	}
	if s.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return s, err
	}
	for begin := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if err = s.pool.Ping(ctx); err == nil || ctx.Err() != nil {
			return s, err
		}
		if time.Since(begin) > 30*time.Second {
			said, _ := os.ReadFile(log.Name())
			return s, fmt.Errorf("postgres does not answer: %w\n%s", err, said)
		}
	}
}

func (s *server) close() error {
	if s.pool != nil {
		s.pool.Close()
	}
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGQUIT) // at once: nothing is kept
		_ = s.cmd.Wait()
	}
	return os.RemoveAll(s.dir)
}

// logged is how many bytes the server's write-ahead log has had.
func (s *server) logged(ctx context.Context) (n int64, err error) {
	err = s.pool.QueryRow(ctx, "SELECT (pg_current_wal_lsn() - '0/0')::bigint").Scan(&n)
	return n, err
}

// schema is what both contenders on PostgreSQL keep. The index on a message's citizen is the inbox; ids rise with time, so that
// new rows come last in the other indices.
const schema = `
CREATE TABLE service (id int PRIMARY KEY, body bytea NOT NULL);
CREATE TABLE citizen (id int PRIMARY KEY, profile bytea NOT NULL);
CREATE TABLE preference (citizen int, service int, body bytea NOT NULL, PRIMARY KEY (citizen, service));
CREATE TABLE message (id bigint PRIMARY KEY, citizen int NOT NULL, service int NOT NULL, status smallint NOT NULL,
	content bytea NOT NULL, decision bytea NOT NULL);
CREATE INDEX inbox ON message (citizen, id);
CREATE TABLE refusal (id bigint PRIMARY KEY, citizen int NOT NULL, service int NOT NULL, decision bytea NOT NULL);
ALTER TABLE message ALTER content SET STORAGE PLAIN;
`

// preload fills the database with services and citizens, and leaves it as a server that has run for a while: analysed, and with
// nothing to write back.
func (s *server) preload(ctx context.Context, citizens int) error {
	if _, err := s.pool.Exec(ctx, schema); err != nil {
		return err
	}
	if err := s.copy(ctx, "service", []string{"id", "body"}, workload.Services, func(n int) [][]any {
		return [][]any{{int32(n), serviceRecord()}}
	}); err != nil {
		return err
	}
	if err := s.copy(ctx, "citizen", []string{"id", "profile"}, citizens, func(n int) [][]any {
		return [][]any{{int32(n), profileRecord(n)}}
	}); err != nil {
		return err
	}
	if err := s.copy(ctx, "preference", []string{"citizen", "service", "body"}, citizens, func(n int) [][]any {
		var rows [][]any
		for i := range workload.Preferences {
			rows = append(rows, []any{int32(n), int32(workload.PreferenceFor(n, i)), preferenceRecord(n)})
		}
		return rows
	}); err != nil {
		return err
	}
	for _, q := range []string{"VACUUM ANALYZE", "CHECKPOINT"} {
		if _, err := s.pool.Exec(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// copy copies the rows that f makes for 0 to n-1.
func (s *server) copy(ctx context.Context, table string, columns []string, n int, f func(int) [][]any) error {
	_, err := s.pool.CopyFrom(ctx, []string{table}, columns, &rows{n: n, make: f})
	return err
}

// rows is a source for COPY.
type rows struct {
	next, n int
	made    [][]any
	make    func(int) [][]any
}

func (r *rows) Next() bool {
	if len(r.made) > 0 {
		r.made = r.made[1:]
	}
	if len(r.made) == 0 && r.next < r.n {
		r.made = r.make(r.next)
		r.next++
	}
	return len(r.made) > 0
}
func (r *rows) Values() ([]any, error) { return r.made[0], nil }
func (r *rows) Err() error             { return nil }

// unprivileged is how a server is started as somebody who may: PostgreSQL does not run as root. It gives that user the folder.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	attr := childAttributes()
	if os.Geteuid() != 0 {
		return attr, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, os.Chown(dir, int(uid), int(gid))
}
