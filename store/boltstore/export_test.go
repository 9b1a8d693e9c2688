package boltstore

// Hooked returns options with a function that is called at each step at which a process may die. If it returns an error, the
// step fails with it.
func (o Options) Hooked(hook func(step string) error) *Options {
	o.hook = hook
	return &o
}

// Rest does all that the keeper has to do.
func (s *Store) Rest() error { return s.upkeep() }
