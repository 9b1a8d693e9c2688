package boltstore

// Hooked returns options with a function that is called at each step at which a process may die. If it returns an error, the
// step fails with it.
func (o Options) Hooked(hook func(step string) error) *Options {
	o.hook = hook
	return &o
}

// Unsynced returns options of a store that does not wait for the disk, which a test sees nothing of that does not cut the power.
func (o Options) Unsynced() *Options {
	o.noSync = true
	return &o
}

// Rest does all that the keeper has to do.
func (s *Store) Rest() error { return s.upkeep() }

// OpenReads is how many transactions read the file at the moment.
func (s *Store) OpenReads() int { return s.open.Load().db.Stats().OpenTxN }
