package stateserver

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// maxMessageBytes bounds a gRPC message in both directions.
const maxMessageBytes = 4 << 20

// opOverheadBytes is what an operation counts beside its key and value.
const opOverheadBytes = 6

// commandOverheadBytes is room for what a command holds beside a client's part.
const commandOverheadBytes = 1 << 10

// maxGetSections bounds the sections of a Get.
const maxGetSections = 1 << 12

// maxGetsOpen and maxGetBytesOpen bound the Gets of a stream that are not
// answered; one is always taken.
const maxGetsOpen, maxGetBytesOpen = 64, 16 << 20

// maxShownBytes and maxShownIDs bound what a message repeats of a client's input.
const maxShownBytes, maxShownIDs = 256, 16

// limits of the memory backend, told in Welcome.
func limits() *holdfastv1.Limits {
	return &holdfastv1.Limits{
		MessageBytes: maxMessageBytes, KeyBytes: 4 << 10, ValueBytes: 128 << 10, FlushBytes: 192 << 10,
		FlushesInFlight: 64, FlushBytesInFlight: 8 << 20, GetKeys: 1 << 16,
		OperatorStateBytes: coordinator.MaxOperatorStateInLog,
	}
}

// shape is what a host must know of a subtask to check its frames.
type shape struct {
	states      map[uint32]bool
	kinds       map[uint32]keyed.StateConfig
	byPartition bool
	start, end  uint32
	splits      map[splitID]bool
	// operatorStates are those of the chain.
	operatorStates []coordinator.DeclaredOperatorState
}

type splitID struct {
	topic     string
	partition uint32
}

func shapeOf(a *holdfastv1.Assign) shape {
	s := shape{
		states: map[uint32]bool{}, byPartition: a.CoPartitioned, start: a.KeyGroupStart, end: a.KeyGroupEnd,
		splits: map[splitID]bool{},
	}
	for _, id := range a.StateIds {
		s.states[id.Id] = true
	}
	for _, sp := range a.Splits {
		s.splits[splitID{sp.Topic, sp.Partition}] = true
	}
	return s
}

// checkFlush refuses a malformed flush before it reaches the log, and tells the
// size that counts towards the limits.
func (s shape) checkFlush(f *holdfastv1.Flush, lim *holdfastv1.Limits) (total int, e *holdfastv1.Error) {
	for i, sec := range f.Sections {
		where := fmt.Sprintf("Flush seq %d, section %d", f.Seq, i)
		if e := s.checkColumns(where, sec.StateId, sec.KeyGroup, sec.KeyLengths, sec.Keys, lim.KeyBytes); e != nil {
			return 0, e
		}
		if len(sec.Ops) != len(sec.KeyLengths) || len(sec.Ops) != len(sec.ValueLengths) {
			return 0, violation("5.1", fmt.Sprintf("%s: %d ops, %d keys and %d values; each op has one of each", where, len(sec.Ops), len(sec.KeyLengths), len(sec.ValueLengths)))
		}
		if e := checkLengths(where, "value", sec.ValueLengths, sec.Values, lim.ValueBytes); e != nil {
			return 0, e
		}
		for j, op := range sec.Ops {
			if op == 0 || holdfastv1.FlushOp_name[int32(op)] == "" {
				return 0, violation("5.6", fmt.Sprintf("%s: operation %d has the unknown op %d", where, j, op))
			}
			if op == byte(holdfastv1.FlushOp_FLUSH_OP_DELETE) && sec.ValueLengths[j] != 0 {
				return 0, violation("5.6", fmt.Sprintf("%s: operation %d is a DELETE and has a value of %d bytes", where, j, sec.ValueLengths[j]))
			}
		}
		if e := s.checkOperands(where, sec); e != nil {
			return 0, e
		}
		total += len(sec.Keys) + len(sec.Values) + opOverheadBytes*len(sec.Ops)
	}
	if n := proto.Size(f); total > int(lim.FlushBytes) || n > raftstore.MaxPayload-commandOverheadBytes {
		total = max(total, n)
		return 0, tooLarge(fmt.Sprintf("Flush seq %d has %d bytes, at most %d are allowed; send several flushes", f.Seq, total, lim.FlushBytes))
	}
	return total, nil
}

// checkOperands refuses what is no list, map or column of keys where one must be: what
// reaches the log is of the right form, and may only be of the wrong type.
func (s shape) checkOperands(where string, sec *holdfastv1.FlushSection) *holdfastv1.Error {
	cfg, ok := s.kinds[sec.StateId]
	if !ok || cfg.Kind == keyed.KindValue {
		return nil
	}
	values := sec.Values
	for j, op := range sec.Ops {
		value := values[:sec.ValueLengths[j]]
		values = values[len(value):]
		if err := cfg.CheckOperand(op, value); errors.Is(err, keyed.ErrMalformed) {
			return violation("5.9", fmt.Sprintf("%s: operation %d: %v", where, j, err))
		}
	}
	return nil
}

// with adds the kinds of the states.
func (s shape) with(cfg keyed.SpaceConfig) shape {
	s.kinds = map[uint32]keyed.StateConfig{}
	for _, c := range cfg.States {
		s.kinds[c.ID] = c
	}
	return s
}

// checkPositions refuses positions that do not name every split of the subtask
// once: a restart would read a split that is missing from its start again, and
// count twice what the state of the checkpoint holds already.
func (s shape) checkPositions(frame string, positions []*holdfastv1.Position) *holdfastv1.Error {
	seen := make(map[splitID]bool, len(positions))
	for _, p := range positions {
		id := splitID{p.Topic, p.Partition}
		switch {
		case !s.splits[id]:
			return violation("6.2", fmt.Sprintf("%s: a position of %s/%d, which is no split of the subtask", frame, cut(p.Topic, maxShownBytes), p.Partition))
		case seen[id]:
			return violation("6.2", fmt.Sprintf("%s: two positions of %s/%d", frame, p.Topic, p.Partition))
		case p.NextOffset < 0:
			return violation("6.2", fmt.Sprintf("%s: the position %d of %s/%d is no offset", frame, p.NextOffset, p.Topic, p.Partition))
		}
		seen[id] = true
	}
	if len(seen) != len(s.splits) {
		return violation("6.2", fmt.Sprintf("%s: positions of %d splits, and the subtask has %d; every one is needed", frame, len(seen), len(s.splits)))
	}
	return nil
}

func (s shape) checkGet(g *holdfastv1.Get, lim *holdfastv1.Limits) *holdfastv1.Error {
	if len(g.Sections) > maxGetSections {
		return violation("5.2", fmt.Sprintf("Get %d has %d sections, at most %d are allowed", g.RequestId, len(g.Sections), maxGetSections))
	}
	keys := 0
	for i, sec := range g.Sections {
		where := fmt.Sprintf("Get %d, section %d", g.RequestId, i)
		if e := s.checkColumns(where, sec.StateId, sec.KeyGroup, sec.KeyLengths, sec.Keys, lim.KeyBytes); e != nil {
			return e
		}
		keys += len(sec.KeyLengths)
	}
	if keys > int(lim.GetKeys) {
		return violation("5.2", fmt.Sprintf("Get %d asks for %d keys, at most %d are allowed; send several Gets", g.RequestId, keys, lim.GetKeys))
	}
	return nil
}

func (s shape) checkColumns(where string, state uint32, group *uint32, lengths []uint32, keys []byte, limit uint32) *holdfastv1.Error {
	switch {
	case !s.states[state]:
		return violation("4.2", fmt.Sprintf("%s: unknown state id %d; Assign gave %s", where, state, s.stateIDs()))
	case s.byPartition && group == nil:
		return violation("4.5", where+": key_group is missing, and the subtask is co-partitioned")
	case !s.byPartition && group != nil:
		return violation("4.5", where+": key_group is set, and the subtask is not co-partitioned")
	case group != nil && (*group < s.start || *group >= s.end):
		return violation("4.5", fmt.Sprintf("%s: key group %d is not of this subtask, which has [%d, %d)", where, *group, s.start, s.end))
	}
	return checkLengths(where, "key", lengths, keys, limit)
}

func checkLengths(where, what string, lengths []uint32, packed []byte, limit uint32) *holdfastv1.Error {
	sum := uint64(0)
	for i, n := range lengths {
		if n > limit {
			return tooLarge(fmt.Sprintf("%s: %s %d has %d bytes, at most %d are allowed; use shorter ones", where, what, i, n, limit))
		}
		sum += uint64(n)
	}
	if sum != uint64(len(packed)) {
		return violation("5.1", fmt.Sprintf("%s: the %s lengths add up to %d, and there are %d bytes", where, what, sum, len(packed)))
	}
	return nil
}

// checkSpecSize refuses a specification that no entry of the log can hold, and
// names its largest part.
func checkSpecSize(s *holdfastv1.JobSpec) *holdfastv1.Error {
	size, limit := proto.Size(s), raftstore.MaxPayload-commandOverheadBytes
	if size <= limit {
		return nil
	}
	largest, part := 0, ""
	for _, o := range s.Operators {
		if n := proto.Size(o); n > largest {
			largest, part = n, fmt.Sprintf("operator %q", o.Uid)
		}
		if n := proto.Size(o.Source); n > largest/2 {
			part = fmt.Sprintf("the properties of source %q", o.Uid)
		}
	}
	return coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_COMMAND_TOO_LARGE, fmt.Sprintf(
		"the specification of job %q has %d bytes, at most %d fit into one entry of the log; %s take most: let the program read large settings itself", s.Name, size, limit, part))
}

// stateIDs lists the numbers of the subtask's states for a person.
func (s shape) stateIDs() string {
	if len(s.states) == 0 {
		return "none"
	}
	var out []string
	for _, id := range slices.Sorted(maps.Keys(s.states)) {
		if len(out) == maxShownIDs {
			out = append(out, "...")
			break
		}
		out = append(out, strconv.FormatUint(uint64(id), 10))
	}
	return strings.Join(out, ", ")
}
