package history

import (
	"math"
	"testing"

	"github.com/anishathalye/porcupine"
)

// op is an operation between two moments; to 0 is one without an answer.
func op(from, to int64, input Input, output any) porcupine.Operation {
	if to == 0 {
		to = math.MaxInt64
	}
	return porcupine.Operation{Input: input, Output: output, Call: from, Return: to}
}

// The models tell good histories from bad ones: a check that accepts everything
// would prove nothing.
func TestModels_TellGoodFromBad(t *testing.T) {
	add, read := Add{"k", 5}, ReadSum{"k"}
	run, again := Submit{"s1"}, Submit{"s2"}
	begin, count := Trigger{"r1"}, CountTriggers{}
	for name, c := range map[string]struct {
		model porcupine.Model
		ops   []porcupine.Operation
		good  bool
	}{
		"read what was acknowledged":     {Sums, []porcupine.Operation{op(1, 2, add, true), op(3, 4, read, int64(5))}, true},
		"a stale read":                   {Sums, []porcupine.Operation{op(1, 2, add, true), op(3, 4, read, int64(0))}, false},
		"a read beside a write":          {Sums, []porcupine.Operation{op(1, 4, add, true), op(2, 3, read, int64(0))}, true},
		"a read that goes back":          {Sums, []porcupine.Operation{op(1, 9, add, true), op(2, 3, read, int64(5)), op(4, 5, read, int64(0))}, false},
		"counted twice":                  {Sums, []porcupine.Operation{op(1, 2, add, true), op(3, 4, read, int64(10))}, false},
		"unknown, and applied late":      {Sums, []porcupine.Operation{op(1, 0, add, nil), op(3, 4, read, int64(0)), op(5, 6, read, int64(5))}, true},
		"unknown, and applied twice":     {Sums, []porcupine.Operation{op(1, 0, add, nil), op(3, 4, read, int64(10))}, false},
		"joins what goes on":             {Jobs, []porcupine.Operation{op(1, 2, run, Submitted{"a"}), op(3, 4, again, Submitted{"a"})}, true},
		"two jobs of one name":           {Jobs, []porcupine.Operation{op(1, 2, run, Submitted{"a"}), op(3, 4, again, Submitted{"b"})}, false},
		"an ended job comes back":        {Jobs, []porcupine.Operation{op(1, 2, run, Submitted{"a"}), op(3, 4, Cancel{"c"}, Canceled{}), op(5, 6, Describe{}, Described{"a", "s1", false})}, false},
		"canceled twice by one request":  {Jobs, []porcupine.Operation{op(1, 2, run, Submitted{"a"}), op(3, 4, Cancel{"c"}, Canceled{}), op(5, 6, Cancel{"c"}, Canceled{})}, true},
		"canceled twice by two requests": {Jobs, []porcupine.Operation{op(1, 2, run, Submitted{"a"}), op(3, 4, Cancel{"c"}, Canceled{}), op(5, 6, Cancel{"d"}, Canceled{})}, false},
		"an unknown submission":          {Jobs, []porcupine.Operation{op(1, 0, run, nil), op(3, 4, List{}, Listed{}), op(5, 6, List{}, Listed{1, "a"}), op(7, 8, Describe{}, Described{"a", "s1", false})}, true},
		"one id for a request":           {Triggers, []porcupine.Operation{op(1, 2, begin, Triggered{1}), op(3, 4, begin, Triggered{1}), op(5, 6, count, Counted{1})}, true},
		"a request that begins two":      {Triggers, []porcupine.Operation{op(1, 2, begin, Triggered{1}), op(3, 4, begin, Triggered{2})}, false},
		"an id that is used twice":       {Triggers, []porcupine.Operation{op(1, 2, begin, Triggered{1}), op(3, 4, Trigger{"r2"}, Triggered{1})}, false},
		"an older one is pending":        {Triggers, []porcupine.Operation{op(1, 2, begin, Triggered{1}), op(3, 4, Trigger{"r2"}, Triggered{2}), op(5, 6, Trigger{"r3"}, Pending{1})}, false},
		"an unknown trigger":             {Triggers, []porcupine.Operation{op(1, 0, begin, nil), op(3, 4, count, Counted{0}), op(5, 6, Trigger{"r2"}, Pending{1})}, true},
		"a job that is not found":        {Triggers, []porcupine.Operation{op(1, 2, begin, Triggered{1}), op(3, 4, count, Reason("JOB_NOT_FOUND"))}, false},
	} {
		if got := porcupine.CheckOperations(c.model, c.ops); got != c.good {
			t.Errorf("%s: linearizable %v, want %v", name, got, c.good)
		}
	}
}
