package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/appio-go/appio"
)

// backups is what bench saw of backups that were made while it sent.
type backups struct {
	Backups          int     `json:"backups"`  // that ended before sending did
	BackupS          float64 `json:"backup_s"` // of one
	BackupBytes      int64   `json:"backup_bytes"`
	SendP99Backup    int64   `json:"send_p99_backup_us"`    // of a Send or SendBatch that began and ended during a backup
	SendP99Otherwise int64   `json:"send_p99_no_backup_us"` // of one that was at no moment during a backup

	underWay atomic.Int64 // odd: a backup is under way; counts their beginnings and ends
	mu       sync.Mutex
	during   []time.Duration
	between  []time.Duration
}

// watch is told of each send, for workload.Load.Watch.
func (b *backups) watch() (ended func(took time.Duration)) {
	before := b.underWay.Load()
	return func(took time.Duration) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch {
		case b.underWay.Load() != before:
		case before%2 == 1:
			b.during = append(b.during, took)
		default:
			b.between = append(b.between, took)
		}
	}
}

// run makes backups, with pauses as long as they took, until ctx ends.
func (b *backups) run(ctx context.Context, eng *appio.Engine, dir string) error {
	pause := time.Second
	for {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		f, err := os.Create(filepath.Join(dir, "bench.backup"))
		if err != nil {
			return err
		}
		start := time.Now()
		b.underWay.Add(1)
		err = eng.Backup(ctx, f)
		b.underWay.Add(1)
		pause = time.Since(start)
		info, err2 := f.Stat()
		err = errors.Join(err, err2, f.Close(), os.Remove(f.Name()))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		b.BackupS = (b.BackupS*float64(b.Backups) + pause.Seconds()) / float64(b.Backups+1)
		b.BackupBytes = info.Size()
		b.Backups++
	}
}

func p99(ds []time.Duration) int64 {
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return ds[len(ds)*99/100].Microseconds()
}
