package holdfast

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/holdfast-io/holdfast/internal/statevalue"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// BroadcastStateDescriptor declares a map that every subtask has alike. V is as in
// ValueStateDescriptor.
type BroadcastStateDescriptor[K Key, V any] struct {
	// Name is unique in the operator, among its keyed states too. State is found again
	// by it.
	Name string
	// TypeVersion counts the changes of V, by the program's own count.
	TypeVersion uint32
}

// BroadcastState is a map of the subtask. The program keeps it the same in all
// subtasks, by changing it with what all of them see; nothing checks that. A subtask
// that is restored gets the map that one subtask had. For the rest it is as
// OperatorListState.
type BroadcastState[K Key, V any] struct {
	op        *operatorContext
	name      string
	encodeKey func(dst []byte, key K) []byte
	keys      codec[K]
	values    codec[V]
	entries   map[string][]byte
	scratch   []byte
}

// GetBroadcastState declares a state and returns access to it. It is called in Open,
// and in each Open with the same descriptors. It is Flink's
// OperatorStateStore.getBroadcastState.
func GetBroadcastState[K Key, V any](ctx RuntimeContext, d BroadcastStateDescriptor[K, V]) (*BroadcastState[K, V], error) {
	op := ctx.operator()
	keys, err := newCodec[K]()
	if err != nil {
		return nil, fmt.Errorf("operator state %q: keys: %w", d.Name, err)
	}
	values, err := newCodec[V]()
	if err != nil {
		return nil, fmt.Errorf("operator state %q: %w", d.Name, err)
	}
	s := &BroadcastState[K, V]{op: op, name: d.Name, encodeKey: keyEncoder[K](), keys: keys, values: values, entries: map[string][]byte{}}
	rest, err := op.declareOperatorState(&holdfastv1.OperatorStateDescriptor{
		Name: d.Name, Mode: holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_BROADCAST,
		Type: values.name, MapKeyType: keys.name, TypeVersion: d.TypeVersion,
	}, s.content)
	for err == nil && len(rest) > 0 {
		var e statevalue.Entry
		if e, rest, err = statevalue.NextEntry(rest, false); err == nil {
			s.entries[string(e.Key)] = e.Value
		}
	}
	if err != nil {
		return nil, s.wrap("declare", err)
	}
	return s, nil
}

// Get is the value of a key; found is false where it has none.
func (s *BroadcastState[K, V]) Get(key K) (value V, found bool, err error) {
	b, found, err := s.look(key)
	if err != nil || !found {
		return value, false, err
	}
	value, err = s.values.decode(b)
	return value, true, s.wrap("get", err)
}

// Contains tells whether there is a value of a key.
func (s *BroadcastState[K, V]) Contains(key K) (bool, error) {
	_, found, err := s.look(key)
	return found, err
}

func (s *BroadcastState[K, V]) look(key K) ([]byte, bool, error) {
	if err := s.op.usable(); err != nil {
		return nil, false, err
	}
	s.scratch = s.encodeKey(s.scratch[:0], key)
	b, found := s.entries[string(s.scratch)]
	return b, found, nil
}

// Put sets the value of a key.
func (s *BroadcastState[K, V]) Put(key K, value V) error {
	if err := s.op.usable(); err != nil {
		return err
	}
	b, err := s.values.encode([]byte{}, value)
	if err != nil {
		return s.wrap("put", err)
	}
	s.entries[string(s.encodeKey(nil, key))] = b
	return nil
}

// PutAll sets the values of keys: maps.All of a map, or any sequence.
func (s *BroadcastState[K, V]) PutAll(entries iter.Seq2[K, V]) error {
	for key, value := range entries {
		if err := s.Put(key, value); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes a key.
func (s *BroadcastState[K, V]) Remove(key K) error {
	if err := s.op.usable(); err != nil {
		return err
	}
	delete(s.entries, string(s.encodeKey(nil, key)))
	return nil
}

// Clear removes all keys.
func (s *BroadcastState[K, V]) Clear() error {
	if err := s.op.usable(); err != nil {
		return err
	}
	clear(s.entries)
	return nil
}

// Entries are the keys and values as they are now, in the order of the encoded keys.
func (s *BroadcastState[K, V]) Entries() (iter.Seq2[K, V], error) {
	if err := s.op.usable(); err != nil {
		return nil, err
	}
	var all []mapEntry[K, V]
	for _, k := range slices.Sorted(maps.Keys(s.entries)) {
		key, err := s.keys.decode([]byte(k))
		if err != nil {
			return nil, s.wrap("entries", fmt.Errorf("a key: %w", err))
		}
		value, err := s.values.decode(s.entries[k])
		if err != nil {
			return nil, s.wrap("entries", err)
		}
		all = append(all, mapEntry[K, V]{key, value})
	}
	return func(yield func(K, V) bool) {
		for _, e := range all {
			if !yield(e.key, e.value) {
				return
			}
		}
	}, nil
}

// content encodes the map of this moment.
func (s *BroadcastState[K, V]) content() (out []byte) {
	for _, k := range slices.Sorted(maps.Keys(s.entries)) {
		out = statevalue.AppendEntry(out, []byte(k), s.entries[k])
	}
	return out
}

func (s *BroadcastState[K, V]) wrap(what string, err error) error {
	return wrapOperatorState(s.name, what, err)
}
