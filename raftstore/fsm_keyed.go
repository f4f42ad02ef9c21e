package raftstore

import (
	"errors"
	"fmt"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// keyedState lets the coordinator's machine steer the keyed state. What the
// machine may never ask for (a version of an unknown subtask, say) is a broken
// invariant: it is remembered and halts the node.
type keyedState struct {
	store    *keyed.Store
	broken   error
	sections []keyed.Section
}

var _ coordinator.KeyedState = (*keyedState)(nil)

func (k *keyedState) must(err error) {
	if err != nil && k.broken == nil {
		k.broken = err
	}
}

// Create implements [coordinator.KeyedState].
func (k *keyedState) Create(subtask uint64, sp coordinator.Space) {
	k.must(k.store.Create(subtask, SpaceConfig(sp)))
}

// SpaceConfig describes the keyed state of a subtask to whoever holds it: the log's
// own, or a state backend.
func SpaceConfig(sp coordinator.Space) keyed.SpaceConfig {
	cfg := keyed.SpaceConfig{Start: sp.KeyGroupStart, End: sp.KeyGroupEnd, NumGroups: sp.KeyGroups, CoPartitioned: sp.ByPartition}
	for _, s := range sp.States {
		cfg.States = append(cfg.States, KeyedState(s.ID, s.Descriptor, int64(s.MaxBytes)))
	}
	return cfg
}

// KeyedState is the keyed state's view of a descriptor. maxBytes bounds its keys and
// values, 0 is no bound.
func KeyedState(id uint32, d *holdfastv1.StateDescriptor, maxBytes int64) keyed.StateConfig {
	c := keyed.StateConfig{
		ID: id, Type: keyedType(d.GetType()), MaxBytes: maxBytes,
		TTLMs:         int64(min(d.GetTtl().GetTtlMs(), keyed.MaxTTLMs)),
		ReturnExpired: d.GetTtl().GetVisibility() == holdfastv1.TtlVisibility_TTL_VISIBILITY_RETURN_EXPIRED_IF_NOT_CLEANED_UP,
	}
	switch d.GetKind() {
	case holdfastv1.StateKind_STATE_KIND_LIST:
		c.Kind = keyed.KindList
	case holdfastv1.StateKind_STATE_KIND_MAP:
		c.Kind = keyed.KindMap
	}
	return c
}

func keyedType(t string) keyed.Type {
	switch t {
	case "int64":
		return keyed.TypeInt64
	case "float64":
		return keyed.TypeFloat64
	}
	return keyed.TypeOther
}

// Drop implements [coordinator.KeyedState].
func (k *keyedState) Drop(subtask uint64) { k.store.Drop(subtask) }

// Freeze implements [coordinator.KeyedState].
func (k *keyedState) Freeze(subtask, version uint64) { k.must(k.store.Freeze(subtask, version)) }

// DropVersion implements [coordinator.KeyedState].
func (k *keyedState) DropVersion(subtask, version uint64) {
	err := k.store.DropVersion(subtask, version)
	if !errors.Is(err, keyed.ErrUnknownVersion) && !errors.Is(err, keyed.ErrUnknownSpace) {
		k.must(err)
	}
}

// Restore implements [coordinator.KeyedState].
func (k *keyedState) Restore(subtask, version uint64) bool {
	err := k.store.Restore(subtask, version)
	if errors.Is(err, keyed.ErrUnknownVersion) {
		return false
	}
	k.must(err)
	return true
}

// Bytes implements [coordinator.KeyedState].
func (k *keyedState) Bytes(subtask uint64) uint64 { return uint64(k.store.TotalBytes(subtask)) }

// Apply implements [coordinator.KeyedState].
func (k *keyedState) Apply(subtask uint64, sections []*holdfastv1.FlushSection, timeMs int64) *holdfastv1.Error {
	return FlushRefusal(k.store.Apply(subtask, k.columns(sections), timeMs))
}

// Load implements [coordinator.KeyedState].
func (k *keyedState) Load(subtask uint64, sections []*holdfastv1.FlushSection) *holdfastv1.Error {
	return FlushRefusal(k.store.Load(subtask, k.columns(sections)))
}

// columns is valid until its next call.
func (k *keyedState) columns(sections []*holdfastv1.FlushSection) []keyed.Section {
	k.sections = k.sections[:0]
	for _, s := range sections {
		k.sections = append(k.sections, KeyedSection(s))
	}
	return k.sections
}

// KeyedSection is the keyed state's view of a section of a frame. It shares the
// frame's memory.
func KeyedSection(s *holdfastv1.FlushSection) keyed.Section {
	out := keyed.Section{
		StateID: s.StateId, KeyGroup: keyed.ByHash, Ops: s.Ops,
		KeyLengths: s.KeyLengths, Keys: s.Keys, ValueLengths: s.ValueLengths, Values: s.Values,
	}
	if s.KeyGroup != nil {
		out.KeyGroup = int64(*s.KeyGroup)
	}
	return out
}

// FlushRefusal is the table from the keyed state's errors to the reasons that
// clients see.
func FlushRefusal(err error) *holdfastv1.Error {
	var large *keyed.StateTooLargeError
	var value *keyed.ValueTooLargeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &large):
		return coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE,
			fmt.Sprintf("it would hold %d bytes, its limit is %d; raise state.memory.max-size, or keep less", large.Bytes, large.Limit),
			"state_id", fmt.Sprint(large.StateID), "bytes", fmt.Sprint(large.Bytes), "limit", fmt.Sprint(large.Limit))
	case errors.As(err, &value):
		return coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_VALUE_TOO_LARGE,
			fmt.Sprintf("the value of a key of %d bytes would have %d bytes, at most %d are allowed; keep less in one list or map, or use a longer key", value.KeyBytes, value.Bytes, value.Limit),
			"state_id", fmt.Sprint(value.StateID), "key_bytes", fmt.Sprint(value.KeyBytes), "bytes", fmt.Sprint(value.Bytes), "limit", fmt.Sprint(value.Limit))
	case errors.Is(err, keyed.ErrTableFull):
		return coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_TOO_LARGE, err.Error())
	case errors.Is(err, keyed.ErrKeyTooLarge), errors.Is(err, keyed.ErrValueTooLarge):
		return coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_VALUE_TOO_LARGE, err.Error())
	case errors.Is(err, keyed.ErrTypeMismatch):
		return coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_STATE_INCOMPATIBLE, err.Error())
	}
	return coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_PROTOCOL_VIOLATION, err.Error())
}
