package holdfast

import (
	"fmt"
	"iter"

	"github.com/holdfast-io/holdfast/clients/go/internal/workingcopy"
	"github.com/holdfast-io/holdfast/internal/statevalue"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// MapStateDescriptor declares a state with a map for each key of the stream. V is as in
// ValueStateDescriptor. All entries of a key together are bounded by the limit of a
// value (128 KiB).
type MapStateDescriptor[K Key, V any] struct {
	// Name is unique in the operator. State is found again by it.
	Name string
	// TypeVersion counts the changes of V, by the program's own count.
	TypeVersion uint32
	// TTL is how long an entry lives; the zero StateTTLConfig: for ever.
	TTL StateTTLConfig
}

// MapState is the map of the key of the record in hand. It may be used only while a
// record is processed, by the function that got it. A program that only puts and
// removes never reads: the changes go to the node without the map being fetched.
type MapState[K Key, V any] struct {
	op        *operatorContext
	index     int
	encodeKey func(dst []byte, key K) []byte
	keys      codec[K]
	values    codec[V]
	scratch   []byte
	value     []byte
}

// GetMapState declares a state and returns access to it. It is called in Open, and in
// each Open with the same descriptors.
func GetMapState[K Key, V any](ctx RuntimeContext, d MapStateDescriptor[K, V]) (*MapState[K, V], error) {
	op := ctx.operator()
	keys, err := newCodec[K]()
	if err != nil {
		return nil, fmt.Errorf("state %q: keys: %w", d.Name, err)
	}
	values, err := newCodec[V]()
	if err != nil {
		return nil, fmt.Errorf("state %q: %w", d.Name, err)
	}
	s := &MapState[K, V]{op: op, encodeKey: keyEncoder[K](), keys: keys, values: values}
	s.index, err = op.declare(stateDeclaration{
		name: d.Name, kind: holdfastv1.StateKind_STATE_KIND_MAP, typ: values.name, keyType: keys.name,
		version: d.TypeVersion, ttl: d.TTL, op: statevalue.OpMapPut,
	})
	if err != nil {
		return nil, fmt.Errorf("state %q: %w", d.Name, err)
	}
	return s, nil
}

// Get is the value of a key of the map; found is false where it has none.
func (s *MapState[K, V]) Get(key K) (value V, found bool, err error) {
	b, found, err := s.look(key)
	if err != nil || !found {
		return value, false, err
	}
	value, err = s.values.decode(b)
	return value, true, s.wrap("get", err)
}

// Contains tells whether the map has a key.
func (s *MapState[K, V]) Contains(key K) (bool, error) {
	_, found, err := s.look(key)
	return found, err
}

// look finds a value without fetching the map where that is not needed.
func (s *MapState[K, V]) look(key K) (value []byte, found bool, err error) {
	e, err := s.op.entry(s.index)
	if err != nil {
		return nil, false, err
	}
	s.scratch = s.encodeKey(s.scratch[:0], key)
	k := string(s.scratch)
	if !e.MapKnows(k) {
		if e, err = s.op.known(s.index); err != nil {
			return nil, false, err
		}
	}
	value, found = e.MapGet(k)
	return value, found, nil
}

// Put sets the value of a key of the map.
func (s *MapState[K, V]) Put(key K, value V) error {
	e, err := s.op.entry(s.index)
	if err != nil {
		return err
	}
	s.scratch = s.encodeKey(s.scratch[:0], key)
	if s.value, err = s.values.encode(s.value[:0], value); err == nil {
		err = s.op.rt.CheckValueBytes(e.MapBytesWith(string(s.scratch), s.value))
	}
	if err != nil {
		return s.wrap("put", err)
	}
	e.MapPut(string(s.scratch), s.value)
	return nil
}

// PutAll sets the values of keys: maps.All of a map, or any sequence.
func (s *MapState[K, V]) PutAll(entries iter.Seq2[K, V]) error {
	for key, value := range entries {
		if err := s.Put(key, value); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes a key of the map.
func (s *MapState[K, V]) Remove(key K) error {
	e, err := s.op.entry(s.index)
	if err != nil {
		return err
	}
	s.scratch = s.encodeKey(s.scratch[:0], key)
	e.MapRemove(string(s.scratch))
	return nil
}

// Clear removes the map of the current key.
func (s *MapState[K, V]) Clear() error {
	e, err := s.op.entry(s.index)
	if err != nil {
		return err
	}
	e.MapClear()
	return nil
}

// IsEmpty tells whether the map has no entry.
func (s *MapState[K, V]) IsEmpty() (bool, error) {
	e, err := s.op.known(s.index)
	if err != nil {
		return false, err
	}
	return len(e.MapKeys()) == 0, nil
}

// mapEntry is an entry for iterations: the map may be changed meanwhile.
type mapEntry[K Key, V any] struct {
	key   K
	value V
}

// Entries are the keys and values of the map as they are now, in the order of the
// encoded keys.
func (s *MapState[K, V]) Entries() (iter.Seq2[K, V], error) {
	e, err := s.op.known(s.index)
	if err != nil {
		return nil, err
	}
	all, err := s.entries(e)
	if err != nil {
		return nil, s.wrap("entries", err)
	}
	return func(yield func(K, V) bool) {
		for _, en := range all {
			if !yield(en.key, en.value) {
				return
			}
		}
	}, nil
}

// Keys are the keys of the map as they are now.
func (s *MapState[K, V]) Keys() (iter.Seq[K], error) {
	all, err := s.Entries()
	if err != nil {
		return nil, err
	}
	return func(yield func(K) bool) {
		all(func(key K, _ V) bool { return yield(key) })
	}, nil
}

// Values are the values of the map as they are now.
func (s *MapState[K, V]) Values() (iter.Seq[V], error) {
	all, err := s.Entries()
	if err != nil {
		return nil, err
	}
	return func(yield func(V) bool) {
		all(func(_ K, value V) bool { return yield(value) })
	}, nil
}

func (s *MapState[K, V]) entries(e *workingcopy.Entry) ([]mapEntry[K, V], error) {
	var all []mapEntry[K, V]
	for _, k := range e.MapKeys() {
		b, found := e.MapGet(k)
		if !found {
			continue // it was over a moment ago
		}
		key, err := s.keys.decode([]byte(k))
		if err != nil {
			return nil, fmt.Errorf("a key: %w", err)
		}
		value, err := s.values.decode(b)
		if err != nil {
			return nil, err
		}
		all = append(all, mapEntry[K, V]{key, value})
	}
	return all, nil
}

func (s *MapState[K, V]) wrap(what string, err error) error {
	return s.op.stateError(s.index, what, err)
}
