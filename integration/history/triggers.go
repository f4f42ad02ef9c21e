package history

import (
	"fmt"
	"slices"

	"github.com/anishathalye/porcupine"
)

// Trigger begins a checkpoint under a request id, which a client may use again.
type Trigger struct{ Request string }

// CountTriggers reads how many checkpoints were ever begun.
type CountTriggers struct{}

// Reads implements Input.
func (Trigger) Reads() bool       { return false }
func (CountTriggers) Reads() bool { return true }

// Triggered is the output of a Trigger that succeeded.
type Triggered struct{ ID uint64 }

// Pending is the refusal of a Trigger that names the checkpoint under way.
type Pending struct{ ID uint64 }

// Counted is the output of CountTriggers.
type Counted struct{ Triggered uint64 }

// begun is how many checkpoints were begun, and for which requests.
type begun struct {
	count    uint64
	requests requestSet
}

// requestSet is a set of requests by their number in the history.
type requestSet [16]uint64

func (s requestSet) has(n int) bool { return s[n/64]&(1<<(n%64)) != 0 }

func (s requestSet) with(n int) requestSet {
	s[n/64] |= 1 << (n % 64)
	return s
}

// known is a Trigger with its number, and the id that some answer named, 0 if
// none did.
type known struct {
	Trigger
	number int
	id     uint64
}

// Triggers is a job whose checkpoints are all begun by hand (invariant 3): ids
// rise and are used once, a request id begins one checkpoint however often it
// is used, and only the newest can be pending. The search is short if some
// answer names the id of every request, so ask again in the end for those
// without.
var Triggers = porcupine.Model{
	Partition: func(ops []porcupine.Operation) [][]porcupine.Operation { return [][]porcupine.Operation{number(ops)} },
	Init:      func() any { return begun{} },
	Step: func(state, input, output any) (bool, any) {
		s := state.(begun)
		in, ok := input.(known)
		if !ok {
			// A job that is not found is a stale read: it was submitted before.
			out, ok := output.(Counted)
			return ok && out.Triggered == s.count, s
		}
		again := s.requests.has(in.number)
		next := s
		if !again {
			next = begun{s.count + 1, s.requests.with(in.number)}
		}
		fits := again || in.id == 0 || in.id == next.count
		switch out := output.(type) {
		case Triggered:
			return out.ID == in.id && fits, next
		case Pending:
			return !again && out.ID == s.count, s
		case Reason:
			return out == "JOB_STATE" && !again, s
		}
		// One that was refused this time stands behind the one that began the
		// checkpoint, where it changes nothing.
		return fits, next
	},
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%T%v -> %T%v", input, input, output, output)
	},
}

// number gives each request its number and the id that the answers name.
func number(ops []porcupine.Operation) []porcupine.Operation {
	byRequest := map[string]*known{}
	for _, op := range ops {
		in, ok := op.Input.(Trigger)
		if !ok {
			continue
		}
		k := byRequest[in.Request]
		if k == nil {
			k = &known{Trigger: in, number: len(byRequest)}
			byRequest[in.Request] = k
		}
		if out, ok := op.Output.(Triggered); ok {
			k.id = out.ID
		}
	}
	out := slices.Clone(ops)
	for i, op := range out {
		if in, ok := op.Input.(Trigger); ok {
			out[i].Input = *byRequest[in.Request]
		}
	}
	return out
}
