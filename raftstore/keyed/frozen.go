package keyed

// Frozen is an immutable state of a space. It may be read by any number of
// goroutines with no lock, for as long as it is held, whatever happens to the
// Store meanwhile.
type Frozen struct {
	cfg    SpaceConfig
	states []stateData
}

// Frozen returns a frozen version of a space for reading with no lock; the
// call itself is a read of the Store. Errors: ErrUnknownSpace,
// ErrUnknownVersion (also for 0: the live state is not immutable).
func (s *Store) Frozen(id, version uint64) (*Frozen, error) {
	sp, err := s.space(id)
	if err != nil {
		return nil, err
	}
	i, ok := sp.find(version)
	if !ok {
		return nil, wrapf(ErrUnknownVersion, "%d", version)
	}
	return &Frozen{cfg: sp.cfg, states: sp.versions[i].states}, nil
}

// Get is Store.Get on this state.
func (f *Frozen) Get(stateID uint32, keyGroup int64, keyLengths []uint32, keys []byte, dst *Values) error {
	return getColumns(&f.cfg, f.states, stateID, keyGroup, keyLengths, keys, dst)
}

// Scan is Store.Scan on this state.
func (f *Frozen) Scan(stateID uint32, after Cursor, limit, maxBytes int) (page Page, next Cursor, done bool, err error) {
	return scanPage(&f.cfg, f.states, stateID, after, limit, maxBytes)
}

// Bytes is Store.Bytes on this state.
func (f *Frozen) Bytes(stateID uint32) (bytes, entries int64, err error) {
	i, err := f.cfg.stateIndex(stateID)
	if err != nil {
		return 0, 0, err
	}
	return f.states[i].bytes, f.states[i].entries, nil
}
