package workingcopy

import (
	"maps"
	"slices"

	"github.com/holdfast-io/holdfast/internal/statevalue"
)

// fillMap makes the content of a map of what the host has and what happened since.
func (e *Entry) fillMap(value []byte, changes []*change) error {
	d, timed := e.detail, e.table.rules.State.TTLMs > 0
	d.cells, d.size = map[string]cell{}, 0
	for len(value) > 0 {
		en, rest, err := statevalue.NextEntry(value, timed)
		if err != nil {
			return err
		}
		e.setCell(string(en.Key), slices.Clone(en.Value), en.TimeMs)
		value = rest
	}
	now := e.table.ttl().NowMs
	for _, c := range changes {
		if c.op == statevalue.OpPut {
			d.cells, d.size = map[string]cell{}, 0
		}
		for key, value := range c.cells {
			if value == nil {
				e.dropCell(key)
			} else {
				e.setCell(key, value, now)
			}
		}
	}
	return nil
}

// cellSize is what an entry takes in the encoding of the map.
func (e *Entry) cellSize(key string, value []byte) int {
	n := len(key) + len(value) + cellBytes
	if e.table.rules.State.TTLMs > 0 {
		n += statevalue.TimeBytes
	}
	return n
}

func (e *Entry) setCell(key string, value []byte, timeMs int64) {
	e.dropCell(key)
	e.detail.cells[key] = cell{value: value, timeMs: timeMs}
	e.detail.size += e.cellSize(key, value)
}

func (e *Entry) dropCell(key string) {
	if c, ok := e.detail.cells[key]; ok {
		e.detail.size -= e.cellSize(key, c.value)
		delete(e.detail.cells, key)
	}
}

// MapKnows tells whether MapGet can answer: the map is known, or what happened to the
// key in this process says it.
func (e *Entry) MapKnows(key string) bool {
	_, _, ok := e.mapChange(key)
	return e.detail.known || ok
}

// mapChange looks for a key in what happened to a map that is not known. With a TTL
// it says nothing: changes have no time of their own.
func (e *Entry) mapChange(key string) (value []byte, found, ok bool) {
	if e.table.rules.State.TTLMs > 0 {
		return nil, false, false
	}
	changes := []*change{&e.detail.pending}
	if e.old != nil {
		changes = append(changes, e.old.change)
	}
	for _, c := range changes {
		if value, ok := c.cells[key]; ok {
			return value, value != nil, true
		}
		if c.op == statevalue.OpPut {
			return nil, false, true
		}
	}
	return nil, false, false
}

// MapGet is the value of a key of a map where MapKnows it. It must not be changed.
// What is over is removed, what is read may be refreshed.
func (e *Entry) MapGet(key string) (value []byte, found bool) {
	if !e.detail.known {
		value, found, _ = e.mapChange(key)
		return value, found
	}
	c, ok := e.detail.cells[key]
	if !ok {
		return nil, false
	}
	r, ttl := e.table.rules, e.table.ttl()
	if ttl.Expired(c.timeMs) {
		e.MapRemove(key)
		return c.value, r.ReturnExpired
	}
	if r.RefreshOnRead && ttl.Ms > 0 && c.timeMs != ttl.NowMs {
		e.MapPut(key, c.value)
	}
	return c.value, true
}

// MapPut sets the value of a key of a map. The bytes are copied.
func (e *Entry) MapPut(key string, value []byte) {
	value = append([]byte{}, value...)
	e.begin().put(key, value)
	if e.detail.known {
		e.setCell(key, value, e.table.ttl().NowMs)
	}
	e.settle()
}

// MapBytesWith is the size of the map after MapPut; of one that is not known that of
// what is put to it.
func (e *Entry) MapBytesWith(key string, value []byte) int {
	n := e.StoredBytes() + e.cellSize(key, value)
	if old, ok := e.detail.cells[key]; e.detail.known && ok {
		n -= e.cellSize(key, old.value)
	}
	return n
}

// MapRemove removes a key of a map.
func (e *Entry) MapRemove(key string) {
	if _, ok := e.detail.cells[key]; e.detail.known && !ok {
		return
	}
	e.begin().put(key, nil)
	if e.detail.known {
		e.dropCell(key)
	}
	e.settle()
}

// MapClear removes the whole map.
func (e *Entry) MapClear() {
	if e.detail.known && len(e.detail.cells) == 0 {
		return
	}
	e.begin().clear()
	if e.detail.known {
		e.detail.cells, e.detail.size = map[string]cell{}, 0
	}
	e.settle()
}

// MapKeys are the keys of a known map that MapGet finds, in the order of their bytes.
func (e *Entry) MapKeys() []string {
	r, ttl := e.table.rules, e.table.ttl()
	keys := slices.Sorted(maps.Keys(e.detail.cells))
	if ttl.Ms == 0 || r.ReturnExpired {
		return keys
	}
	return slices.DeleteFunc(keys, func(key string) bool { return ttl.Expired(e.detail.cells[key].timeMs) })
}
