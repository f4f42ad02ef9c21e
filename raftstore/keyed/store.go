package keyed

// Store is the keyed state of all subtasks of one replica. See the package
// comment for who may call what at the same time.
type Store struct {
	spaces map[uint64]*space
	epoch  uint64 // last epoch handed out; see space.epoch
	flush  flush  // scratch memory of Apply
}

// New returns an empty Store.
func New() *Store { return &Store{spaces: make(map[uint64]*space)} }

// nextEpoch returns an epoch that no table carries.
func (s *Store) nextEpoch() uint64 {
	s.epoch++
	return s.epoch
}

// Create makes the empty space of a subtask. Errors: ErrSpaceExists,
// ErrMalformed for a configuration that cannot be.
func (s *Store) Create(id uint64, cfg SpaceConfig) error {
	if s.Has(id) {
		return wrapf(ErrSpaceExists, "%d", id)
	}
	cfg, err := cfg.normalize()
	if err != nil {
		return err
	}
	s.spaces[id] = &space{cfg: cfg, live: make([]stateData, len(cfg.States)), epoch: s.nextEpoch()}
	return nil
}

// Drop removes a space with its versions. An unknown id is no error.
func (s *Store) Drop(id uint64) { delete(s.spaces, id) }

// Has reports whether a space exists.
func (s *Store) Has(id uint64) bool {
	_, ok := s.spaces[id]
	return ok
}

// Bytes returns keys + values of the live entries of a state in bytes, and
// the number of those entries. Errors: ErrUnknownSpace, ErrUnknownState.
func (s *Store) Bytes(id uint64, stateID uint32) (bytes, entries int64, err error) {
	sp, err := s.space(id)
	if err != nil {
		return 0, 0, err
	}
	i, err := sp.cfg.stateIndex(stateID)
	if err != nil {
		return 0, 0, err
	}
	return sp.live[i].bytes, sp.live[i].entries, nil
}

func (s *Store) space(id uint64) (*space, error) {
	sp, ok := s.spaces[id]
	if !ok {
		return nil, wrapf(ErrUnknownSpace, "%d", id)
	}
	return sp, nil
}
