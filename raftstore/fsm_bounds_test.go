package raftstore

import (
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// Checkpoints in a row leave nothing behind: neither the coordinator's records nor
// the memory of the keyed state are larger in the second half of many than in the
// first.
func TestFSM_CheckpointsLeaveNothingBehind(t *testing.T) {
	const checkpoints, keys, changes = 4 * coordinator.MaxRequests, 1000, 10
	f, l := newFSM(), &fsmLog{tb: t}
	token := l.counterJob(f)
	var records, memory, versions [2]int
	for n := range checkpoints {
		begin := beginAndReady(token, uint64(2*n+2), uint64(n+1))
		begin[0].GetBeginCheckpoint().RequestId = fmt.Sprintf("%06d", n)
		l.apply(f, append(begin[:1:1], flushOf(token, uint64(2*n+1), n*changes%keys, changes), begin[1])...)
		if n%64 != 0 {
			continue
		}
		half := n / (checkpoints / 2)
		records[half] = max(records[half], recordBytes(f))
		f.read(func(_ *coordinator.Machine, k *keyed.Store) {
			frozen, err := k.Versions(1)
			if err != nil {
				t.Fatal(err)
			}
			versions[half] = max(versions[half], len(frozen))
			memory[half] = max(memory[half], int(k.MemoryBytes()))
		})
	}
	for _, c := range []struct {
		what  string
		sizes [2]int
		slack int // in percent, for numbers that have more digits in the second half
	}{{"records take", records, 5}, {"frozen versions are", versions, 0}, {"the keyed state takes", memory, 5}} {
		t.Logf("%s %d at most in the first half, %d in the second", c.what, c.sizes[0], c.sizes[1])
		if c.sizes[1] > c.sizes[0]+c.sizes[0]*c.slack/100 {
			t.Errorf("%s %d at most in the first half of %d checkpoints and %d in the second: something is left behind",
				c.what, c.sizes[0], checkpoints, c.sizes[1])
		}
	}
}

// recordBytes is the size of the coordinator's records in a snapshot.
func recordBytes(f *fsm) (n int) {
	f.read(func(m *coordinator.Machine, _ *keyed.Store) {
		for _, r := range m.Records() {
			n += proto.Size(r)
		}
	})
	return n
}
