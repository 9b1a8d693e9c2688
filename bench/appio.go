package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/appio-go/appio/internal/workload"
)

// engine puts appio itself through the work, as appio bench does: records sealed, everything switched on. It then closes and
// opens the file again, counts, and sends some more with one sender: that is the second result.
func engine(ctx context.Context, t task) (many, one result, err error) {
	dir, s, single := t.Dir, t.size, t.Single
	many.size = s
	if t.From != "" {
		if err := copyFiles(dir, t.From); err != nil {
			return many, one, err
		}
	}
	r, err := workload.Open(workload.Options{Dir: dir, Citizens: s.Citizens})
	if err != nil {
		return many, one, err
	}
	defer r.Close()
	if t.From == "" {
		if err := r.Preload(ctx); err != nil {
			return many, one, err
		}
	}
	length, before := r.FileBytes(), used()
	sent, err := r.Send(ctx, workload.Load{Messages: s.Messages, Senders: s.Senders, Batch: 1})
	if err != nil {
		return many, one, err
	}
	many.use(before)
	many.fill(sent)
	if err := r.Reopen(); err != nil {
		return many, one, err
	}
	many.FilePer = float64(r.FileBytes()-length) / float64(s.Messages)
	if err := many.verify(ctx, r); err != nil || single == 0 {
		return many, one, err
	}

	one.size = size{Citizens: s.Citizens, Messages: single, Senders: 1}
	earlier, err := syncTimes(dir)
	if err != nil {
		return many, one, err
	}
	before = used()
	if sent, err = r.Send(ctx, workload.Load{Messages: single, Senders: 1, Batch: 1}); err != nil {
		return many, one, err
	}
	one.use(before)
	later, err := syncTimes(dir)
	if err != nil {
		return many, one, err
	}
	one.fill(sent)
	syncs := slices.Sorted(slices.Values(append(earlier, later...)))
	p50 := syncs[len(syncs)/2]
	one.SyncP50 = p50.Microseconds()
	one.SendP50PerSync = float64(sent.Percentile(50)) / float64(p50)
	if err := r.Reopen(); err != nil {
		return many, one, err
	}
	return many, one, one.verify(ctx, r)
}

// preload is the child that makes the file that those of appio copy, round by round.
func preload(ctx context.Context, t task, _ func(any) error) error {
	r, err := workload.Open(workload.Options{Dir: t.Dir, Citizens: t.Citizens})
	if err != nil {
		return err
	}
	return errors.Join(r.Preload(ctx), r.Close())
}

// copyFiles copies the files of a folder and makes them durable, so that nothing of them is left to write when the clock starts.
func copyFiles(to, from string) error {
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(to, "*"))
	for _, name := range names {
		f, e := os.OpenFile(name, os.O_RDWR, 0)
		if e == nil {
			e = errors.Join(f.Sync(), f.Close())
		}
		err = errors.Join(err, e)
	}
	return err
}

func (r *result) fill(sent workload.Sent) {
	r.DeliveriesPerS = float64(r.Messages) / sent.Took.Seconds()
	r.AcceptedPerS = float64(sent.Accepted) / sent.Took.Seconds()
	r.SendP50 = sent.Percentile(50).Microseconds()
	r.SendP99 = sent.Percentile(99).Microseconds()
	r.SendMax = sent.Percentile(100).Microseconds()
	r.Refused = sent.Refused
	r.Outcomes = sent.Outcomes
}

func (r *result) verify(ctx context.Context, run *workload.Run) (err error) {
	_, r.Verified, err = run.Verify(ctx)
	if err == nil && !r.Verified {
		err = errLoss
	}
	return err
}

// syncTimes is how long it takes to overwrite 4 KiB and make them durable, some hundred times, where dir is: the least that a
// durable answer costs there.
func syncTimes(dir string) ([]time.Duration, error) {
	const pages, times = 64, 400
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	page := record(4096)
	for n := range pages {
		if _, err := f.WriteAt(page, int64(n)*4096); err != nil {
			return nil, err
		}
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	took := make([]time.Duration, times)
	for n := range took {
		page[0] = byte(n)
		at := time.Now()
		if _, err := f.WriteAt(page, int64(n%pages)*4096); err != nil {
			return nil, err
		}
		if err := datasync(f.Fd()); err != nil {
			return nil, err
		}
		took[n] = time.Since(at)
	}
	return took, nil
}
