package values

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/internal/statevalue"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// List is a decoded list.
type List []any

// Map is a decoded map, in the order of its encoded keys.
type Map []MapEntry

// MapEntry is one entry of a Map.
type MapEntry struct{ Key, Value any }

// MarshalJSON makes an object, whose names are the keys as text.
func (m Map) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, e := range m {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(keyText(e.Key))
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(e.Value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func keyText(key any) string {
	if s, ok := key.(string); ok {
		return s
	}
	return Text(key)
}

// String prints the list for a table cell.
func (l List) String() string {
	parts := make([]string, len(l))
	for i, v := range l {
		parts[i] = element(v)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// String prints the map for a table cell.
func (m Map) String() string {
	parts := make([]string, len(m))
	for i, e := range m {
		parts[i] = element(e.Key) + ": " + element(e.Value)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// element is text in a list or map, quoted so that it ends where it ends.
func element(v any) string {
	if s, ok := v.(string); ok {
		return fmt.Sprintf("%q", s)
	}
	return Text(v)
}

// Updated is when a value of a state with a TTL was last updated; of a list or map it
// is one time for each element or entry, in their order.
type Updated []time.Time

// MarshalJSON makes a text, or with several an array.
func (u Updated) MarshalJSON() ([]byte, error) {
	if len(u) == 1 {
		return json.Marshal(u[0])
	}
	return json.Marshal([]time.Time(u))
}

// DecodeState gives what a stored value means by its state's descriptor: as Decode, or
// a List or Map of such; and the times where the state has a TTL. Bytes that do not fit
// are an error.
func DecodeState(d *holdfastv1.StateDescriptor, raw []byte) (any, Updated, error) {
	timed := d.GetTtl().GetTtlMs() > 0
	switch d.GetKind() {
	case holdfastv1.StateKind_STATE_KIND_LIST:
		return decodeList(d.GetType(), raw, timed)
	case holdfastv1.StateKind_STATE_KIND_MAP:
		return decodeMap(d, raw, timed)
	}
	if !timed {
		v, err := Decode(d.GetType(), raw)
		return v, nil, err
	}
	at, rest, err := statevalue.Time(raw)
	if err != nil {
		return nil, nil, misfit(d.GetType()+" with a time", raw)
	}
	v, err := Decode(d.GetType(), rest)
	return v, Updated{moment(at)}, err
}

func decodeList(typ string, raw []byte, timed bool) (any, Updated, error) {
	list, updated := List{}, Updated(nil)
	for rest := raw; len(rest) > 0; {
		e, next, err := statevalue.NextElement(rest, timed)
		if err != nil {
			return nil, nil, misfit("list", raw)
		}
		v, err := Decode(typ, e.Value)
		if err != nil {
			return nil, nil, fmt.Errorf("element %d: %w", len(list), err)
		}
		list, rest = append(list, v), next
		if timed {
			updated = append(updated, moment(e.TimeMs))
		}
	}
	return list, updated, nil
}

func decodeMap(d *holdfastv1.StateDescriptor, raw []byte, timed bool) (any, Updated, error) {
	m, updated := Map{}, Updated(nil)
	for rest := raw; len(rest) > 0; {
		e, next, err := statevalue.NextEntry(rest, timed)
		if err != nil {
			return nil, nil, misfit("map", raw)
		}
		key, keyErr := Decode(d.GetMapKeyType(), e.Key)
		value, err := Decode(d.GetType(), e.Value)
		if err := errors.Join(keyErr, err); err != nil {
			return nil, nil, fmt.Errorf("entry %d: %w", len(m), err)
		}
		m, rest = append(m, MapEntry{key, value}), next
		if timed {
			updated = append(updated, moment(e.TimeMs))
		}
	}
	return slices.Clip(m), updated, nil
}

func moment(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
