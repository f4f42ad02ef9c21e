package raftstore

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// CommandType is the envelope type of an internalv1.Command.
const CommandType uint32 = 1

// fsm is the state machine of a node: the coordinator's machine and the keyed
// state of the memory backend, fed by one log. It implements
// [StateMachine] and [Versioned].
type fsm struct {
	// mu is held exclusively while entries are applied and shared by readers.
	mu      sync.RWMutex
	machine *coordinator.Machine
	keyed   *keyedState
	metrics *coordinator.Metrics
	// commands counts what was applied since the node started. Not state.
	commands uint64
	// restored is the index of the last command in the snapshot that this node
	// last loaded. Not state.
	lastIndex, restored uint64
	// version is the machine's cluster version, for readers without the lock.
	version atomic.Uint32

	// sizes, where it is set, counts the bytes of coordinator records by kind.
	sizes map[string]uint64

	hub    hub
	hashes hashLog
}

func newFSM() *fsm {
	k := &keyedState{store: keyed.New()}
	f := &fsm{keyed: k, machine: coordinator.NewMachine(k), metrics: coordinator.NewMetrics()}
	f.machine.SetMetrics(f.metrics)
	f.version.Store(f.machine.ClusterVersion())
	return f
}

// ClusterVersion implements [Versioned].
func (f *fsm) ClusterVersion() uint32 { return f.version.Load() }

// ApplyBatch implements [StateMachine].
func (f *fsm) ApplyBatch(entries []Entry) ([]any, error) {
	cmds := make([]*internalv1.Command, len(entries))
	for i, e := range entries {
		if e.Type != CommandType {
			return nil, fmt.Errorf("entry %d has the unknown type %d: this node is older than the one that proposed it; upgrade it", e.Index, e.Type)
		}
		cmds[i] = &internalv1.Command{}
		if err := proto.Unmarshal(e.Payload, cmds[i]); err != nil {
			return nil, fmt.Errorf("entry %d cannot be decoded: %w", e.Index, err)
		}
	}
	results, touched, err := f.apply(entries, cmds)
	f.hub.publish(touched)
	return results, err
}

func (f *fsm) apply(entries []Entry, cmds []*internalv1.Command) ([]any, []string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	results := make([]any, len(cmds))
	for i, c := range cmds {
		r, err := f.machine.Apply(entries[i].Index, c)
		if err = errors.Join(err, f.keyed.broken); err != nil {
			return nil, nil, fmt.Errorf("entry %d: %w", entries[i].Index, err)
		}
		results[i] = r
		f.commands++
		f.lastIndex = entries[i].Index
		if c.GetMarkHash() != nil {
			f.hashes.take(entries[i].Index, f.capture())
		}
	}
	f.version.Store(f.machine.ClusterVersion())
	return results, f.machine.TakeTouched(), nil
}

// capture takes an immutable view. The caller holds mu exclusively.
func (f *fsm) capture() *fsmView {
	return &fsmView{index: f.lastIndex, records: f.machine.Records(), keyed: f.keyed.store.Capture()}
}

// Snapshot implements [StateMachine].
func (f *fsm) Snapshot() (View, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.capture(), nil
}

// read runs fn on the state of this node, with nothing applied meanwhile.
func (f *fsm) read(fn func(m *coordinator.Machine, k *keyed.Store)) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	fn(f.machine, f.keyed.store)
}
