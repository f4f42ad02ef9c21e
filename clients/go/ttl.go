package holdfast

import (
	"fmt"
	"time"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// StateTTLConfig says how long the values of a state live: Flink's StateTtlConfig, on
// processing time. Elements of a list and entries of a map live each for itself. The
// time is that of the node that has the state.
type StateTTLConfig struct {
	set        bool
	ttl        time.Duration
	updateType UpdateType
	visibility StateVisibility
}

// UpdateType says what makes a value live on.
type UpdateType int

// The update types.
const (
	// OnCreateAndWrite is the default: creating and writing.
	OnCreateAndWrite UpdateType = iota
	// OnReadAndWrite: reading, too. A value that is read is flushed like one that is
	// written.
	OnReadAndWrite
)

// StateVisibility says whether a value is seen that is over and still there.
type StateVisibility int

// The visibilities.
const (
	// NeverReturnExpired is the default.
	NeverReturnExpired StateVisibility = iota
	// ReturnExpiredIfNotCleanedUp returns it as long as it is there.
	ReturnExpiredIfNotCleanedUp
)

// NewStateTTLConfig makes values live for ttl after they were created or written last.
// It is counted in milliseconds.
func NewStateTTLConfig(ttl time.Duration) StateTTLConfig {
	return StateTTLConfig{set: true, ttl: ttl}
}

// SetUpdateType returns the configuration with another update type.
func (c StateTTLConfig) SetUpdateType(t UpdateType) StateTTLConfig {
	c.updateType = t
	return c
}

// SetStateVisibility returns the configuration with another visibility.
func (c StateTTLConfig) SetStateVisibility(v StateVisibility) StateTTLConfig {
	c.visibility = v
	return c
}

func (c StateTTLConfig) check() error {
	if c.set && c.ttl < time.Millisecond {
		return fmt.Errorf("a TTL must be at least a millisecond, and is %v", c.ttl)
	}
	return nil
}

func (c StateTTLConfig) proto() *holdfastv1.StateTtl {
	if !c.set {
		return nil
	}
	return &holdfastv1.StateTtl{
		TtlMs:      uint64(c.ttl.Milliseconds()),
		UpdateType: holdfastv1.TtlUpdateType(c.updateType) + holdfastv1.TtlUpdateType_TTL_UPDATE_TYPE_ON_CREATE_AND_WRITE,
		Visibility: holdfastv1.TtlVisibility(c.visibility) + holdfastv1.TtlVisibility_TTL_VISIBILITY_NEVER_RETURN_EXPIRED,
	}
}
