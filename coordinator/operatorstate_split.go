package coordinator

import (
	"fmt"

	"github.com/holdfast-io/holdfast/internal/statevalue"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// DistributeOperatorStates says what each of parallelism new subtasks begins with,
// given what the old ones had, in the order of their indexes (nil: nothing). It is
// Flink's RoundRobinOperatorStateRepartitioner:
//
//   - SPLIT_DISTRIBUTE: the elements of all, old subtask by old subtask, in slices whose
//     sizes differ by one at most. Who gets one more goes round from state to state. At
//     the same parallelism every subtask keeps its own.
//   - UNION: the elements of all, for each.
//   - BROADCAST: new subtask i gets the map of old subtask i modulo the old parallelism.
//
// It depends on its arguments alone. An error means that a content is damaged.
func DistributeOperatorStates(declared []DeclaredOperatorState, old []*holdfastv1.OperatorStates, parallelism int) ([][]*holdfastv1.OperatorState, error) {
	out := make([][]*holdfastv1.OperatorState, parallelism)
	first := 0
	for _, d := range declared {
		contents, found, err := contentsOf(d, old)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			continue // it is new
		}
		var dealt [][]byte
		switch d.Descriptor.GetMode() {
		case holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_UNION:
			dealt = toAll(contents, parallelism)
		case holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_BROADCAST:
			dealt = copies(found, parallelism)
		default:
			if dealt, first, err = split(contents, parallelism, first); err != nil {
				return nil, fmt.Errorf("%s: %w", d, err)
			}
		}
		for i, content := range dealt {
			if len(content) > 0 {
				out[i] = append(out[i], &holdfastv1.OperatorState{OperatorUid: d.OperatorUID, StateName: d.Descriptor.GetName(), Content: content})
			}
		}
	}
	return out, nil
}

// contentsOf returns what each old subtask has of a state, and that of those alone
// that have it.
func contentsOf(d DeclaredOperatorState, old []*holdfastv1.OperatorStates) (all, found [][]byte, err error) {
	all = make([][]byte, len(old))
	for i, o := range old {
		for _, s := range o.GetStates() {
			if s.GetOperatorUid() != d.OperatorUID || s.GetState().GetName() != d.Descriptor.GetName() {
				continue
			}
			if err := CheckOperatorStateContent(d.Descriptor, s.GetContent()); err != nil {
				return nil, nil, fmt.Errorf("%s, subtask %d: %w", d, i, err)
			}
			all[i] = s.GetContent()
			found = append(found, all[i])
		}
	}
	return all, found, nil
}

// split deals elements out in slices, beginning with subtask first. It returns the
// subtask at which the next state begins: the first one that got no odd element.
func split(old [][]byte, parallelism, first int) (out [][]byte, next int, err error) {
	if len(old) == parallelism {
		return old, first, nil
	}
	var elements [][]byte
	for _, list := range old {
		for len(list) > 0 {
			e, rest, err := statevalue.NextElement(list, false)
			if err != nil {
				return nil, 0, err
			}
			elements, list = append(elements, e.Raw), rest
		}
	}
	out = make([][]byte, parallelism)
	each, odd := len(elements)/parallelism, oddElements(len(elements), parallelism)
	for i := range parallelism {
		n := each
		if i < odd {
			n++
		}
		to := (first + i) % parallelism
		for _, e := range elements[:n] {
			out[to] = append(out[to], e...)
		}
		elements = elements[n:]
	}
	return out, (first + odd) % parallelism, nil
}

// toAll gives the elements of all to each.
func toAll(old [][]byte, parallelism int) [][]byte {
	var all []byte
	for _, list := range old {
		all = append(all, list...)
	}
	out := make([][]byte, parallelism)
	for i := range out {
		out[i] = all
	}
	return out
}

// copies deals one old map to each.
func copies(old [][]byte, parallelism int) [][]byte {
	out := make([][]byte, parallelism)
	for i := range out {
		out[i] = old[i%len(old)]
	}
	return out
}

// CheckOperatorStateContent tells what is wrong with the content of an operator state:
// it must be a list, or of BROADCAST a map, of values of its type.
func CheckOperatorStateContent(d *holdfastv1.OperatorStateDescriptor, content []byte) error {
	_, err := countOperatorState(d, content)
	return err
}

// OperatorStateEntries counts the elements or entries of a content that was checked.
func OperatorStateEntries(d *holdfastv1.OperatorStateDescriptor, content []byte) uint64 {
	n, _ := countOperatorState(d, content)
	return uint64(n)
}

func countOperatorState(d *holdfastv1.OperatorStateDescriptor, content []byte) (int, error) {
	size := 0
	switch d.GetType() {
	case "int64", "float64":
		size = statevalue.NumberBytes
	case "bool":
		size = 1
	}
	if d.GetMode() == holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_BROADCAST {
		return statevalue.CheckMap(content, false, size)
	}
	return statevalue.CheckList(content, false, size)
}
