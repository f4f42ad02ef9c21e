package keyed

import "slices"

// Defaults and bounds of a SpaceConfig. The bounds keep the memory that a
// garbage snapshot or command can ask for within reason.
const (
	DefaultMaxKeyBytes   = 4 << 10   // bytes
	DefaultMaxValueBytes = 128 << 10 // bytes
	MaxNumGroups         = 1 << 15   // Flink's largest maximum parallelism

	maxKeyBytes    = 64 << 10
	maxValueBytes  = 16 << 20
	maxStates      = 1 << 12
	maxDirectories = 1 << 20 // states x key groups of one space
)

// StateConfig describes one named state of a space.
type StateConfig struct {
	ID   uint32
	Kind Kind
	// Type is that of the value, of the elements of a list, or of the values of a
	// map.
	Type Type
	// TTLMs is how long an entry lives after its last update, in ms; 0: for ever.
	TTLMs int64
	// ReturnExpired: Get returns what is over as long as it is there
	// (ReturnExpiredIfNotCleanedUp).
	ReturnExpired bool
	// MaxBytes bounds keys + values of this state within this subtask, in
	// bytes; 0 is no bound. It does not count frozen versions.
	MaxBytes int64
}

// SpaceConfig describes the keyed state of one subtask.
type SpaceConfig struct {
	// Start and End are the key groups [Start, End) of the subtask.
	Start, End uint32
	// NumGroups is the job's number of key groups (max parallelism).
	NumGroups uint32
	// CoPartitioned: the caller names the key group (the Kafka partition) in
	// every Section, Get and Scan. Otherwise KeyGroup decides and the caller
	// passes ByHash.
	CoPartitioned bool
	// MaxKeyBytes and MaxValueBytes bound one key and one value; 0 is the
	// default.
	MaxKeyBytes, MaxValueBytes uint32
	// States in any order, ids unique.
	States []StateConfig
}

// normalize returns a copy with defaults filled in and states sorted by id.
func (c SpaceConfig) normalize() (SpaceConfig, error) {
	if c.MaxKeyBytes == 0 {
		c.MaxKeyBytes = DefaultMaxKeyBytes
	}
	if c.MaxValueBytes == 0 {
		c.MaxValueBytes = DefaultMaxValueBytes
	}
	c.States = slices.Clone(c.States)
	slices.SortFunc(c.States, func(a, b StateConfig) int {
		if a.ID < b.ID {
			return -1
		}
		if a.ID > b.ID {
			return 1
		}
		return 0
	})
	return c, c.check()
}

// check validates a normalized configuration.
func (c *SpaceConfig) check() error {
	switch {
	case c.NumGroups == 0 || c.NumGroups > MaxNumGroups:
		return wrapf(ErrMalformed, "%d key groups, want 1 to %d", c.NumGroups, MaxNumGroups)
	case c.Start > c.End || c.End > c.NumGroups:
		return wrapf(ErrMalformed, "key groups [%d, %d) of %d", c.Start, c.End, c.NumGroups)
	case c.MaxKeyBytes > maxKeyBytes:
		return wrapf(ErrMalformed, "key limit %d bytes, at most %d", c.MaxKeyBytes, maxKeyBytes)
	case c.MaxValueBytes > maxValueBytes:
		return wrapf(ErrMalformed, "value limit %d bytes, at most %d", c.MaxValueBytes, maxValueBytes)
	case len(c.States) > maxStates || len(c.States)*int(c.End-c.Start) > maxDirectories:
		return wrapf(ErrMalformed, "%d states of %d key groups", len(c.States), c.End-c.Start)
	}
	for i, s := range c.States {
		if i > 0 && c.States[i-1].ID == s.ID {
			return wrapf(ErrMalformed, "state %d declared twice", s.ID)
		}
		if s.Type > TypeFloat64 {
			return wrapf(ErrMalformed, "state %d has unknown type %d", s.ID, s.Type)
		}
		if s.Kind > KindMap {
			return wrapf(ErrMalformed, "state %d has unknown kind %d", s.ID, s.Kind)
		}
		if s.TTLMs < 0 || s.TTLMs > MaxTTLMs {
			return wrapf(ErrMalformed, "state %d has a TTL of %d ms, at most %d", s.ID, s.TTLMs, int64(MaxTTLMs))
		}
		if s.MaxBytes < 0 {
			return wrapf(ErrMalformed, "state %d has limit %d", s.ID, s.MaxBytes)
		}
	}
	return nil
}

// stateIndex returns the position of a state in States.
func (c *SpaceConfig) stateIndex(id uint32) (int, error) {
	for i := range c.States {
		if c.States[i].ID == id {
			return i, nil
		}
	}
	return 0, wrapf(ErrUnknownState, "%d", id)
}
