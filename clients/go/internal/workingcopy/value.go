package workingcopy

import (
	"fmt"
	"slices"

	"github.com/holdfast-io/holdfast/internal/statevalue"
)

// begin returns the change that takes the next operation. Where a seal holds the one
// that is there, it moves aside.
func (e *Entry) begin() *change {
	s, d := e.table.store, e.detail
	switch {
	case e.gen == 0:
		e.enlist()
	case e.gen <= s.sealedGen:
		sealed := d.pending
		e.old = &sealedValue{cost: e.cost, change: &sealed}
		d.pending, e.cost = change{}, 0
		e.enlist()
	}
	return &d.pending
}

// Apply applies an operation to the entry of a value or a list. It may wait for its
// Get. The operand is copied.
func (e *Entry) Apply(op statevalue.Op, operand []byte) error {
	d, r := e.detail, e.table.rules
	if d.known && op == statevalue.OpDelete && !e.found {
		return nil
	}
	if op != statevalue.OpPut && op != statevalue.OpDelete && op != r.Op {
		return fmt.Errorf("the state does not have the operation %d", op)
	}
	if _, err := r.State.CheckOperand(op, operand); err != nil {
		return err
	}
	c := e.begin()
	if d.known {
		if e.over() {
			// On a host it may still be there when the operation comes.
			c.add(r.State, statevalue.OpDelete, nil)
		}
		if err := e.combine(op, operand); err != nil {
			return err
		}
	}
	c.add(r.State, op, operand)
	e.settle()
	return nil
}

// over tells whether the one value of a known entry is over.
func (e *Entry) over() bool {
	t := e.table.rules.State
	if t.Kind != statevalue.Value || t.TTLMs == 0 || !e.found {
		return false
	}
	at, _, err := statevalue.Time(e.value)
	return err == nil && e.table.ttl().Expired(at)
}

// combine applies an operation to a known value.
func (e *Entry) combine(op statevalue.Op, operand []byte) (err error) {
	t := e.table
	ttl := t.ttl()
	if op == statevalue.OpAppend && e.found && !statevalue.HeadExpired(e.value, ttl) {
		e.value, err = statevalue.StampList(e.value, operand, ttl)
		return err
	}
	s := t.store
	s.scratch, e.found, err = t.rules.State.Combine(s.scratch[:0], op, e.value, e.found, operand, ttl.NowMs)
	if err != nil {
		return err
	}
	e.value = append(e.value[:0], s.scratch...)
	if !e.found {
		e.value = e.value[:0]
	}
	return nil
}

// Read is the value of a known entry of a table with a TTL or blind operations,
// without its time. It is valid until the entry's next change. What is over is
// removed by it; what is not may be refreshed.
func (e *Entry) Read() (value []byte, found bool, err error) {
	if !e.found {
		return nil, false, nil
	}
	r := e.table.rules
	if r.State.TTLMs == 0 {
		return e.value, true, nil
	}
	if e.over() {
		value = slices.Clone(e.value[statevalue.TimeBytes:])
		return value, r.ReturnExpired, e.Apply(statevalue.OpDelete, nil)
	}
	at, value, err := statevalue.Time(e.value)
	if err == nil && r.RefreshOnRead && at != e.table.store.Now() {
		err = e.Apply(statevalue.OpPut, value)
		value = e.value[statevalue.TimeBytes:]
	}
	return value, true, err
}

// Elements calls f with each element of a known list, in place. f must not change
// the entry. A list that is over as a whole is removed, one that is read may be
// refreshed.
func (e *Entry) Elements(f func(element []byte) error) error {
	if !e.found {
		return nil
	}
	r, ttl := e.table.rules, e.table.ttl()
	var live []byte
	over := 0
	for list := e.value; len(list) > 0; {
		el, rest, err := statevalue.NextElement(list, ttl.Ms > 0)
		if err != nil {
			return err
		}
		list = rest
		expired := ttl.Expired(el.TimeMs)
		if expired {
			over++
		}
		if !expired || r.ReturnExpired {
			if err := f(el.Value); err != nil {
				return err
			}
			live = statevalue.AppendElement(live, el.Value)
		}
	}
	switch {
	case len(live) == 0 && over > 0:
		return e.Apply(statevalue.OpDelete, nil)
	case r.RefreshOnRead && ttl.Ms > 0 && over == 0:
		return e.Apply(statevalue.OpPut, live)
	}
	return nil
}

// StoredBytes is the size of a known value with its times; of one that is not known
// that of what is put to it.
func (e *Entry) StoredBytes() int {
	switch d := e.detail; {
	case !d.known:
		return d.pending.size()
	case e.table.rules.State.Kind == statevalue.Map:
		return d.size
	}
	return len(e.value)
}

// fill gives an entry the value that the host has, and what happened to it since.
func (e *Entry) fill(value []byte, found bool) error {
	d := e.detail
	e.loading, d.known = false, true
	if found {
		if err := e.table.rules.State.CheckStored(value); err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
	}
	changes := []*change{&d.pending}
	if e.old != nil {
		changes = []*change{e.old.change, &d.pending}
	}
	var err error
	if e.table.rules.State.Kind == statevalue.Map {
		err = e.fillMap(value, changes)
	} else {
		e.value, e.found = append(e.value[:0], value...), found
		for _, c := range changes {
			if c.op != 0 && err == nil {
				err = e.combine(c.op, c.operand)
			}
		}
	}
	e.settle()
	return err
}
