package bench

import (
	"context"
	"encoding/binary"
	"fmt"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/backend/filesystem"
	"github.com/holdfast-io/holdfast/stateserver/backend/rocksdb"
)

// factories are the backends that a measurement opens in this process.
var factories = map[string]backend.Factory{filesystem.Name: filesystem.New, rocksdb.Name: rocksdb.New}

// stateID is the number of the one state of a measurement, groups its key groups.
const stateID, groups = 1, 128

// hostState is the working state of a subtask as its host has it, in this process.
type hostState struct {
	backend.State
	sec  keyed.Section
	vals keyed.Values
}

func openState(ctx context.Context, b backend.Backend, name string) (*hostState, error) {
	st, err := b.Open(ctx, backend.Spec{Name: name, Space: keyed.SpaceConfig{
		End: groups, NumGroups: groups, States: []keyed.StateConfig{{ID: stateID, Type: keyed.TypeInt64}},
	}})
	return &hostState{State: st}, err
}

func (s *hostState) read(batch []uint32) error {
	s.sec.KeyLengths, s.sec.Keys = columns(s.sec.KeyLengths, s.sec.Keys, batch)
	s.vals.Reset()
	return s.Get(stateID, keyed.ByHash, s.sec.KeyLengths, s.sec.Keys, &s.vals, 0)
}

// count reads a batch, adds 1 to each value, and writes it.
func (s *hostState) count(batch []uint32) error {
	if err := s.read(batch); err != nil {
		return err
	}
	sec := &s.sec
	sec.StateID, sec.KeyGroup = stateID, keyed.ByHash
	sec.Ops, sec.ValueLengths, sec.Values = sec.Ops[:0], sec.ValueLengths[:0], sec.Values[:0]
	for i := range batch {
		sec.Ops, sec.ValueLengths = append(sec.Ops, keyed.Op(holdfastv1.FlushOp_FLUSH_OP_PUT)), append(sec.ValueLengths, valueBytes)
		sec.Values = binary.LittleEndian.AppendUint64(sec.Values, s.value(i)+1)
	}
	return s.Apply([]keyed.Section{*sec}, 0)
}

// value is the i-th value of the batch that was read, where all before it have one
// too or none has.
func (s *hostState) value(i int) uint64 {
	if s.vals.Found[i] == 0 {
		return 0
	}
	return binary.LittleEndian.Uint64(s.vals.Values[i*valueBytes:])
}

// check compares every key with what it must have.
func (s *hostState) check(o *load) error {
	for from := 0; from < len(o.want); from += batchKeys {
		batch := make([]uint32, 0, batchKeys)
		for k := from; k < min(from+batchKeys, len(o.want)); k++ {
			batch = append(batch, uint32(k))
		}
		if err := s.read(batch); err != nil {
			return err
		}
		if len(s.vals.Values) != len(batch)*valueBytes {
			return fmt.Errorf("the counts are wrong: %d keys from %d have %d bytes of values", len(batch), from, len(s.vals.Values))
		}
		for i, k := range batch {
			if err := o.check(k, s.value(i)); err != nil {
				return err
			}
		}
	}
	return nil
}
