package keyed

// Store is the keyed state of all subtasks of one replica. See the package
// comment for who may call what at the same time.
type Store struct {
	spaces map[uint64]*space
	epoch  uint64 // last epoch handed out; see space.epoch
	flush  flush  // Apply's scratch memory
}

// New returns an empty Store.
func New() *Store { return &Store{spaces: make(map[uint64]*space)} }

type space struct{}
type flush struct{}
