package workingcopy

import (
	"errors"
	"fmt"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// ErrMalformed means that an answer does not fit its question, which is a bug
// of the host or of this client.
var ErrMalformed = errors.New("malformed answer")

// Request is one Get: keys, and the entries that wait for them.
type Request struct {
	store    *Store
	sections []*holdfastv1.KeySection
	entries  [][]*Entry
	// filled counts, for each section, the keys that were answered.
	filled []int
	done   bool
}

// NextRequest takes up to maxKeys keys and maxBytes bytes of them from the list
// of what is missing; nil if nothing is, or nothing can be asked for yet (Waiting).
func (s *Store) NextRequest(maxKeys, maxBytes int) *Request {
	if len(s.wants) == 0 {
		return nil
	}
	r := &Request{store: s}
	index := map[sectionKey]int{}
	rest, taken, size := s.wants[:0], 0, 0
	full := false
	for _, e := range s.wants {
		// Four bytes are the most that a length takes beside its key.
		cost := e.keySize() + 4
		full = full || taken == maxKeys || taken > 0 && size+cost > maxBytes
		if full || s.inFlight(e) {
			rest = append(rest, e)
			continue
		}
		r.add(index, e)
		taken++
		size += cost
	}
	clear(s.wants[len(rest):])
	s.wants = rest
	if taken == 0 {
		return nil
	}
	r.filled = make([]int, len(r.sections))
	return r
}

func (r *Request) add(index map[sectionKey]int, e *Entry) {
	k := sectionKey{e.table.id, e.group}
	i, ok := index[k]
	if !ok {
		i = len(r.sections)
		index[k] = i
		sec := &holdfastv1.KeySection{StateId: k.id}
		if r.store.coPartitioned {
			sec.KeyGroup = new(k.group)
		}
		r.sections = append(r.sections, sec)
		r.entries = append(r.entries, nil)
	}
	sec := r.sections[i]
	key := e.keyBytes()
	sec.KeyLengths = append(sec.KeyLengths, uint32(len(key)))
	sec.Keys = append(sec.Keys, key...)
	r.entries[i] = append(r.entries[i], e)
}

// Sections is what to send.
func (r *Request) Sections() []*holdfastv1.KeySection { return r.sections }

// Done tells that every key was answered.
func (r *Request) Done() bool { return r.done }

// Restart forgets how far the answer had come, because the question is asked
// again (rule 7.2). What was filled stays.
func (r *Request) Restart() { clear(r.filled) }

// Fill puts one Values into the entries that wait for it (rule 5.2).
//
// # Errors
//
// ErrMalformed; the entries answered before it are filled all the same.
func (r *Request) Fill(v *holdfastv1.Values) error {
	for _, sec := range v.GetSections() {
		if err := r.fillSection(sec); err != nil {
			return err
		}
	}
	if !v.GetLast() {
		return nil
	}
	for i, n := range r.filled {
		if n != len(r.entries[i]) {
			return fmt.Errorf("%w: the last Values ends section %d after %d of %d keys",
				ErrMalformed, i, n, len(r.entries[i]))
		}
	}
	r.done = true
	return nil
}

func (r *Request) fillSection(sec *holdfastv1.ValueSection) error {
	i := int(sec.GetSection())
	if i >= len(r.sections) || sec.GetStateId() != r.sections[i].GetStateId() {
		return fmt.Errorf("%w: Values has section %d of state %d, which was not asked for",
			ErrMalformed, i, sec.GetStateId())
	}
	waiting := r.entries[i][r.filled[i]:]
	found, lengths, values := sec.GetFound(), sec.GetValueLengths(), sec.GetValues()
	if len(found) > len(waiting) || len(lengths) != len(found) {
		return fmt.Errorf("%w: Values section %d has %d keys and %d lengths where %d keys are open",
			ErrMalformed, i, len(found), len(lengths), len(waiting))
	}
	for k := range found {
		n := int(lengths[k])
		if n > len(values) {
			return fmt.Errorf("%w: Values section %d is shorter than its lengths", ErrMalformed, i)
		}
		if err := waiting[k].load(values[:n], found[k] != 0); err != nil {
			return fmt.Errorf("section %d: %w", i, err)
		}
		values = values[n:]
	}
	if len(values) > 0 {
		return fmt.Errorf("%w: Values section %d is longer than its lengths", ErrMalformed, i)
	}
	r.filled[i] += len(found)
	return nil
}

// load gives a waiting entry its value. One that has got a value meanwhile
// keeps it (rule 5.3).
func (e *Entry) load(value []byte, found bool) error {
	if !e.loading {
		return nil
	}
	if e.detail != nil {
		return e.fill(value, found)
	}
	e.loading = false
	if found {
		before := cap(e.value)
		e.value = append(e.value[:0], value...)
		e.found = true
		e.table.store.bytes += cap(e.value) - before
	}
	return nil
}
