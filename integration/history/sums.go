package history

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// Add is a flush as far as one key is concerned; its answer is an
// acknowledgement, any output.
type Add struct {
	Key   string
	Delta int64
}

// Reads implements Input.
func (Add) Reads() bool { return false }

// ReadSum reads a key; its output is the int64 that was answered.
type ReadSum struct{ Key string }

// Reads implements Input.
func (ReadSum) Reads() bool { return true }

// Sums is what a state of int64 values is to its readers: one counter a key.
// What is added takes effect once, between the sending of its flush and the
// acknowledgement, and every read sees what took effect before it.
var Sums = porcupine.Model{
	Partition: func(ops []porcupine.Operation) [][]porcupine.Operation {
		return partition(ops, func(in any) string {
			switch x := in.(type) {
			case Add:
				return x.Key
			case ReadSum:
				return x.Key
			}
			return ""
		})
	},
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		sum := state.(int64)
		if a, ok := input.(Add); ok {
			return true, sum + a.Delta
		}
		return output.(int64) == sum, sum
	},
	DescribeOperation: func(input, output any) string {
		if a, ok := input.(Add); ok {
			return fmt.Sprintf("%s += %d", a.Key, a.Delta)
		}
		return fmt.Sprintf("%s is %v", input.(ReadSum).Key, output)
	},
}

// partition cuts a history into those of single things, which is exact: an
// order of the whole exists if and only if one of each part does.
func partition(ops []porcupine.Operation, of func(input any) string) [][]porcupine.Operation {
	at := map[string]int{}
	var out [][]porcupine.Operation
	for _, op := range ops {
		k := of(op.Input)
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], op)
	}
	return out
}
