package workingcopy

import (
	"maps"
	"slices"

	"github.com/holdfast-io/holdfast/internal/statevalue"
)

// change is what happened to a key, as operations of a flush. Coalesced it is one
// operation, or for a map at most two.
type change struct {
	// op is 0 where nothing happened. Of a map it is OpPut where what was before is
	// gone, else OpMapPut.
	op statevalue.Op
	// operand is that of op, but for maps.
	operand []byte
	// cells are what was put into a map; nil where the key was removed.
	cells map[string][]byte
	// bytes are those of cells.
	bytes int
}

// cellBytes is what an entry of a map takes beside its key and value: two lengths.
const cellBytes = 8

// removedBytes bounds the keys of one MAP_DELETE.
const removedBytes = 32 << 10

func (c *change) size() int { return len(c.operand) + c.bytes }

// add adds an operation on a value or a list: PUT, DELETE or Rules.Op. Operations of
// one frame are applied at one time, so a TTL does not keep them apart.
func (c *change) add(s statevalue.State, op statevalue.Op, operand []byte) {
	switch {
	case s.Kind == statevalue.List && op == statevalue.OpPut && len(operand) == 0:
		c.op, c.operand = statevalue.OpDelete, nil
	case c.op == 0 || op == statevalue.OpPut || op == statevalue.OpDelete:
		c.op, c.operand = op, append(c.operand[:0], operand...)
	case op == statevalue.OpAppend && (c.op == op || c.op == statevalue.OpPut):
		c.operand = append(c.operand, operand...)
	default:
		s.TTLMs = 0
		c.op, c.operand, _ = s.Fold(nil, c.op, c.operand, op, operand)
	}
}

// put adds an entry of a map; a nil value removes it.
func (c *change) put(key string, value []byte) {
	if c.op == 0 {
		c.op = statevalue.OpMapPut
	}
	if c.cells == nil {
		c.cells = map[string][]byte{}
	}
	if old, ok := c.cells[key]; ok {
		c.bytes -= len(key) + len(old) + cellBytes
	}
	c.cells[key] = value
	c.bytes += len(key) + len(value) + cellBytes
}

// clear removes the whole map.
func (c *change) clear() { *c = change{op: statevalue.OpPut} }

// follow is the change of both, c first.
func (c *change) follow(s statevalue.State, next *change) {
	switch {
	case next.op == 0:
	case s.Kind != statevalue.Map:
		c.add(s, next.op, next.operand)
	case next.op == statevalue.OpPut:
		*c = *next
	default:
		for key, value := range next.cells {
			c.put(key, value)
		}
	}
}

// next encodes the next operation of the change for a frame.
func (c *change) next(kind statevalue.Kind) (op statevalue.Op, operand []byte) {
	if kind != statevalue.Map {
		return c.op, c.operand
	}
	keys := slices.Sorted(maps.Keys(c.cells))
	for _, key := range keys {
		if c.op == statevalue.OpMapPut && c.cells[key] == nil && len(operand) < removedBytes {
			operand = statevalue.AppendKey(operand, []byte(key))
		}
	}
	if len(operand) > 0 {
		return statevalue.OpMapDelete, operand
	}
	for _, key := range keys {
		if value := c.cells[key]; value != nil {
			operand = statevalue.AppendEntry(operand, []byte(key), value)
		}
	}
	if len(operand) == 0 {
		return statevalue.OpDelete, nil // what was there is gone, and nothing came
	}
	return c.op, operand
}

// taken takes away what next returned, and tells whether nothing is left.
func (c *change) taken(op statevalue.Op, operand []byte) bool {
	if op != statevalue.OpMapDelete {
		*c = change{}
		return true
	}
	for len(operand) > 0 {
		key, rest, err := statevalue.NextKey(operand)
		if err != nil {
			break
		}
		c.bytes -= len(key) + cellBytes
		delete(c.cells, string(key))
		operand = rest
	}
	if len(c.cells) == 0 {
		*c = change{}
	}
	return c.op == 0
}
