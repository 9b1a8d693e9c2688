package boltstore

import (
	"os"

	bolt "go.etcd.io/bbolt"
)

// Hooked returns options with a function that is called at each step at which a process may die. If it returns an error, the
// step fails with it.
func (o Options) Hooked(hook func(step string) error) *Options {
	o.hook = hook
	return &o
}

// Looked returns options with a function that is called between the moment that a read is of and its looking into the file.
func (o Options) Looked(f func()) *Options {
	o.looked = f
	return &o
}

// Unsynced returns options of a store that does not wait for the disk, which a test sees nothing of that does not cut the power.
func (o Options) Unsynced() *Options {
	o.noSync = true
	return &o
}

// Rest does all that the keeper has to do, also what follows from that. Nobody writes to the file then until the next change.
func (s *Store) Rest() error {
	for {
		before, err := s.lastTx()
		if err != nil {
			return err
		}
		if err := s.upkeep(); err != nil {
			return err
		}
		if after, err := s.lastTx(); err != nil || after == before {
			return err
		}
	}
}

func (s *Store) lastTx() (id int, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		id = tx.ID()
		return nil
	})
	return id, err
}

// Image returns what the file at path, which is the store's, would have in it after a crash. The keeper stops in the midst of its
// work for that: with it at work, the pages would be of different times.
func (s *Store) Image(path string) ([]byte, error) {
	s.keeper.rivals.Add(1)
	s.keeper.idle <- struct{}{}
	defer func() {
		s.keeper.rivals.Add(-1)
		<-s.keeper.idle
	}()
	return os.ReadFile(path)
}

// OpenReads is how many transactions read the file at the moment.
func (s *Store) OpenReads() int { return s.open.Load().db.Stats().OpenTxN }
