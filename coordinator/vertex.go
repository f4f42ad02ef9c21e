package coordinator

import (
	"fmt"
	"slices"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// buildVertices groups the operators of a normalized specification into chains
// and makes their subtasks, without ids.
func buildVertices(s *holdfastv1.JobSpec) []vertexState {
	var vs []vertexState
	of := map[string]vertexState{}
	nextState := uint32(1)
	for _, o := range s.Operators {
		v := (vertexState)(nil)
		if o.Source != nil {
			v = &internalv1.Vertex{OperatorUid: o.Uid, Parallelism: o.Parallelism, KeyGroups: o.MaxParallelism}
			vs = append(vs, v)
		} else {
			v = of[o.Inputs[0].OperatorUid]
		}
		of[o.Uid] = v
		v.Chain = append(v.Chain, o.Uid)
		for _, in := range o.Inputs {
			v.CoPartitioned = v.CoPartitioned || in.Partitioning == holdfastv1.Partitioning_PARTITIONING_CO_PARTITIONED
			if in.Partitioning != holdfastv1.Partitioning_PARTITIONING_FORWARD {
				v.KeyGroups = o.MaxParallelism
			}
		}
		for _, d := range o.States {
			v.StateIds = append(v.StateIds, &holdfastv1.StateId{OperatorUid: o.Uid, StateName: d.Name, Id: nextState})
			nextState++
		}
	}
	for _, v := range vs {
		for i := range v.Parallelism {
			v.Subtasks = append(v.Subtasks, &internalv1.Subtask{Index: i, Status: holdfastv1.SubtaskStatus_SUBTASK_STATUS_WAITING})
		}
		setKeyGroups(v)
	}
	return vs
}

// setKeyGroups gives each subtask its range of key groups (Flink's
// KeyGroupRangeAssignment). Where key groups are source partitions there are
// as many as partitions, so that the subtasks share them evenly.
func setKeyGroups(v vertexState) {
	if v.CoPartitioned && v.SplitsRecorded {
		v.KeyGroups = 1
		for _, s := range v.Splits {
			v.KeyGroups = max(v.KeyGroups, s.Partition+1)
		}
	}
	p, g := uint64(v.Parallelism), uint64(v.KeyGroups)
	for i, st := range v.Subtasks {
		st.KeyGroupStart = uint32((uint64(i)*g + p - 1) / p)
		st.KeyGroupEnd = uint32((uint64(i+1)*g + p - 1) / p)
	}
}

// checkSplits refuses an answer to discovery that the job cannot run on.
func checkSplits(j jobState, v vertexState, splits []*holdfastv1.Split) *holdfastv1.Error {
	if len(splits) == 0 {
		return Failure(holdfastv1.ErrorReason_ERROR_REASON_SOURCE_NOT_FOUND, fmt.Sprintf("the source %q has no splits", v.OperatorUid))
	}
	type id struct {
		topic     string
		partition uint32
	}
	seen := map[id]bool{}
	groups := 0
	for _, s := range splits {
		groups = max(groups, int(s.Partition)+1)
		k := id{s.Topic, s.Partition}
		switch {
		case seen[k]:
			return invalid("splits", fmt.Sprintf("source %q names the split %s/%d twice", v.OperatorUid, s.Topic, s.Partition))
		case checkpointsEnabled(j) && s.StartOffset == nil:
			return invalid("splits", fmt.Sprintf("source %q: split %s/%d has no start offset, and with checkpoints every one needs it", v.OperatorUid, s.Topic, s.Partition))
		case s.GetStartOffset() < 0:
			return invalid("splits", fmt.Sprintf("source %q: split %s/%d has the start offset %d; it must be the number of a record", v.OperatorUid, s.Topic, s.Partition, s.GetStartOffset()))
		case v.CoPartitioned && s.Partition >= MaxParallelism:
			return invalid("splits", fmt.Sprintf("source %q: partition %d is above the %d key groups that there can be", v.OperatorUid, s.Partition, MaxParallelism))
		}
		seen[k] = true
	}
	if v.CoPartitioned && groups*len(v.StateIds) > MaxTables {
		return invalid("splits", fmt.Sprintf("source %q: %d partitions times %d states are more than the %d tables that are allowed", v.OperatorUid, groups, len(v.StateIds), MaxTables))
	}
	return nil
}

// spaceOf describes the keyed state of a subtask.
func spaceOf(j jobState, v vertexState, st subtaskState) Space {
	sp := Space{KeyGroupStart: st.KeyGroupStart, KeyGroupEnd: st.KeyGroupEnd, KeyGroups: v.KeyGroups, ByPartition: v.CoPartitioned}
	for _, id := range v.StateIds {
		if d := descriptor(j, id); d != nil {
			sp.States = append(sp.States, SpaceState{ID: id.Id, Descriptor: d, MaxBytes: j.Spec.StateBackend.MemoryMaxSize})
		}
	}
	return sp
}

func descriptor(j jobState, id *holdfastv1.StateId) *holdfastv1.StateDescriptor {
	for _, o := range j.Spec.Operators {
		if o.Uid != id.OperatorUid {
			continue
		}
		for _, d := range o.States {
			if d.Name == id.StateName {
				return d
			}
		}
	}
	return nil
}

// splitsOf returns the splits of one subtask. Keyed by partition, they follow
// the key groups; else they are dealt out in order.
func splitsOf(v vertexState, st subtaskState) []*holdfastv1.Split {
	if v.Parallelism == 1 {
		return v.Splits
	}
	var out []*holdfastv1.Split
	for i, s := range v.Splits {
		mine := uint32(i)%v.Parallelism == st.Index
		if v.CoPartitioned {
			mine = s.Partition >= st.KeyGroupStart && s.Partition < st.KeyGroupEnd
		}
		if mine {
			out = append(out, s)
		}
	}
	return out
}

// startSplits returns the splits of a subtask with the offsets from which a new
// attempt reads: the position in the restored checkpoint, else the stored
// start; or the first offset after a gap that a person accepted.
func startSplits(j jobState, v vertexState, st subtaskState) []*holdfastv1.Split {
	restored := restoredPositions(j, v, st)
	out := make([]*holdfastv1.Split, 0, len(v.Splits))
	for _, s := range splitsOf(v, st) {
		n := &holdfastv1.Split{Topic: s.Topic, Partition: s.Partition, StartOffset: s.StartOffset}
		same := func(p *holdfastv1.Position) bool { return p.Topic == s.Topic && p.Partition == s.Partition }
		if i := slices.IndexFunc(restored, same); i >= 0 {
			n.StartOffset = &restored[i].NextOffset
		}
		if n.StartOffset != nil {
			for _, g := range j.AcceptedGaps {
				if same(g) && g.NextOffset > *n.StartOffset {
					n.StartOffset = &g.NextOffset
				}
			}
		}
		out = append(out, n)
	}
	return out
}

// restoredPositions collects the positions of a vertex in the newest completed
// checkpoint, or in what the job was submitted with.
func restoredPositions(j jobState, v vertexState, st subtaskState) []*holdfastv1.Position {
	if fromRestore(j, st) {
		for _, r := range j.Restore.Positions {
			if r.OperatorUid == v.OperatorUid {
				return r.Positions
			}
		}
		return nil
	}
	c := completedCheckpoint(j)
	if c == nil || !checkpointsEnabled(j) {
		return nil
	}
	var out []*holdfastv1.Position
	for _, a := range c.Acks {
		if a.OperatorUid == v.OperatorUid {
			out = append(out, a.Positions...)
		}
	}
	return out
}
