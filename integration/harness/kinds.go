package harness

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/internal/statevalue"
)

// What an operator with OperatorConfig.Kinds does with the record at an offset of its
// key, beside counting it in OperatorState, which is a reducing state then:
const (
	// KindList gets the offset at its end, and is cleared before that every 64th offset.
	KindList = "offsets"
	// KindMap keeps the newest offset by offset % 4; entry 1 goes every 32nd offset.
	KindMap = "seen"
	// KindTTLMap counts by offset % 3 with a TTL of KindTTL and is read for it.
	KindTTLMap = "thirds"
	// KindLargest is the largest offset % 50, with a TTL of KindTTL.
	KindLargest = "largest"
	// KindMean is the accumulator of the average of offsets, as JSON.
	KindMean = "mean"
)

// KindTTL is so long that nothing is over during a test.
const KindTTL = 6 * time.Hour

// KindStates are the states that KindsOf computes.
var KindStates = []string{KindList, KindMap, KindTTLMap, KindLargest, KindMean}

// kindsOfKey is what the records of one key leave.
type kindsOfKey struct {
	offsets      []int64
	seen, thirds map[int64]int64
	largest      int64
	mean         struct {
		Sum   float64 `json:"sum"`
		Count int64   `json:"count"`
	}
}

// KindsOf computes, by state and key, what the records of the generated source up to
// positions leave, as text.
func KindsOf(seed uint64, to map[uint32]int64, keys int) map[string]map[string]string {
	all := map[string]*kindsOfKey{}
	for p, end := range to {
		for o := range end {
			key := RecordKey(seed, p, o, keys)
			k := all[key]
			if k == nil {
				k = &kindsOfKey{seen: map[int64]int64{}, thirds: map[int64]int64{}, largest: o % 50}
				all[key] = k
			}
			k.add(o)
		}
	}
	out := map[string]map[string]string{}
	put := func(state, key, text string) {
		if out[state] == nil {
			out[state] = map[string]string{}
		}
		out[state][key] = text
	}
	for key, k := range all {
		if len(k.offsets) > 0 {
			put(KindList, key, fmt.Sprint(k.offsets))
		}
		if len(k.seen) > 0 {
			put(KindMap, key, fmt.Sprint(k.seen))
		}
		put(KindTTLMap, key, fmt.Sprint(k.thirds))
		put(KindLargest, key, fmt.Sprint(k.largest))
		mean, _ := json.Marshal(k.mean) // numbers always are JSON
		put(KindMean, key, string(mean))
	}
	return out
}

func (k *kindsOfKey) add(o int64) {
	if o%64 == 0 {
		k.offsets = nil
	}
	k.offsets = append(k.offsets, o)
	k.seen[o%4] = o
	if o%32 == 0 {
		delete(k.seen, 1)
	}
	k.thirds[o%3]++
	k.largest = max(k.largest, o%50)
	k.mean.Sum, k.mean.Count = k.mean.Sum+float64(o), k.mean.Count+1
}

// KindText shows a stored value of one of KindStates as KindsOf does.
func KindText(state string, stored []byte) (string, error) {
	number := func(b []byte) int64 {
		if len(b) != 8 {
			return -1
		}
		return int64(binary.LittleEndian.Uint64(b))
	}
	timed := state == KindTTLMap || state == KindLargest
	switch state {
	case KindList:
		var list []int64
		for len(stored) > 0 {
			e, rest, err := statevalue.NextElement(stored, timed)
			if err != nil {
				return "", err
			}
			list, stored = append(list, number(e.Value)), rest
		}
		return fmt.Sprint(list), nil
	case KindMap, KindTTLMap:
		m := map[int64]int64{}
		for len(stored) > 0 {
			e, rest, err := statevalue.NextEntry(stored, timed)
			if err != nil {
				return "", err
			}
			m[number(e.Key)], stored = number(e.Value), rest
		}
		return fmt.Sprint(m), nil
	case KindLargest:
		_, rest, err := statevalue.Time(stored)
		return fmt.Sprint(number(rest)), err
	}
	return string(stored), nil
}

// CheckKinds compares the states of every kind, live or of a checkpoint, with the
// records up to positions.
func (f *Feed) CheckKinds(c *Cluster, job string, checkpoint uint64, to map[uint32]int64) error {
	want := KindsOf(f.Seed, to, f.Keys)
	var wrong []string
	for _, state := range KindStates {
		got := map[string]string{}
		for key, stored := range c.State(StateRef{Job: job, Operator: OperatorUID, State: state, Checkpoint: checkpoint}) {
			text, err := KindText(state, stored)
			if err != nil {
				return fmt.Errorf("state %s, key %q: %w", state, key, err)
			}
			got[key] = text
		}
		if maps.Equal(got, want[state]) {
			continue
		}
		for _, key := range slices.Sorted(maps.Keys(want[state])) {
			if got[key] != want[state][key] {
				wrong = append(wrong, fmt.Sprintf("state %s, key %q: %s, want %s", state, key, got[key], want[state][key]))
				break
			}
		}
		if len(got) != len(want[state]) {
			wrong = append(wrong, fmt.Sprintf("state %s has %d keys, want %d", state, len(got), len(want[state])))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("checkpoint %d at %v:\n%s", checkpoint, to, strings.Join(wrong, "\n"))
	}
	return nil
}
