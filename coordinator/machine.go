package coordinator

import (
	"fmt"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Bounds of what the machine remembers.
const (
	// MaxRequests is how many results of admin calls are kept.
	MaxRequests = 1024
	// MaxEndedJobs is how many ended jobs are kept for display and for
	// JOB_TERMINATED; as many again while files of theirs are to be written or
	// deleted.
	MaxEndedJobs = 256
	// MaxSavepoints is how many savepoints of a job may wait to be written.
	MaxSavepoints = 8
	// MaxDeletions is how many files of a job may wait for their deletion. Beyond it
	// they are left to those who look for orphans.
	MaxDeletions = 1 << 16
	// MaxHistory is how many decided checkpoints of a job are kept beyond the
	// retained ones (Flink's web.checkpoints.history).
	MaxHistory = 10
	// MaxExceptions is how many failures of a job are kept.
	MaxExceptions = 16
)

// KeyedState is the replicated state of the memory backend, as far as the
// machine steers it. It is called in the order of the log and must be as
// deterministic as the machine itself.
type KeyedState interface {
	// Create makes the empty state of a subtask.
	Create(subtask uint64, space Space)
	// Drop forgets a subtask with all its versions.
	Drop(subtask uint64)
	// Apply applies a flush, all sections or none. The error is the refusal. timeMs
	// is the time by which entries with a TTL are over.
	Apply(subtask uint64, sections []*holdfastv1.FlushSection, timeMs int64) *holdfastv1.Error
	// Load is Apply of PUTs whose values are stored ones: with the times that a TTL
	// keeps.
	Load(subtask uint64, sections []*holdfastv1.FlushSection) *holdfastv1.Error
	// Freeze keeps the state of this moment as a version.
	Freeze(subtask, version uint64)
	// DropVersion forgets a version; an unknown one is no error.
	DropVersion(subtask, version uint64)
	// Restore sets the state to a version, 0 being empty, and reports whether
	// that version was there.
	Restore(subtask, version uint64) bool
	// Bytes is the size of keys and values over all states.
	Bytes(subtask uint64) uint64
}

// Space describes the keyed state of one subtask.
type Space struct {
	KeyGroupStart, KeyGroupEnd, KeyGroups uint32
	// ByPartition: sections name their key group.
	ByPartition bool
	States      []SpaceState
}

// SpaceState is one named state of a Space.
type SpaceState struct {
	ID         uint32
	Descriptor *holdfastv1.StateDescriptor
	MaxBytes   uint64
}

type (
	jobState     = *internalv1.Job
	vertexState  = *internalv1.Vertex
	subtaskState = *internalv1.Subtask
)

// subtaskRef finds a subtask and what it belongs to.
type subtaskRef struct {
	job    jobState
	vertex vertexState
	st     subtaskState
}

// Machine is the replicated half of the coordinator.
//
// It is not safe for concurrent use: the caller guards it with a lock that
// Apply holds exclusively and reads share.
type Machine struct {
	keyed KeyedState

	nextSubtaskID uint64
	// clusterVersion is the committed one, 0 before the first.
	clusterVersion uint32
	next           machineNext //nolint:unused // by the build of the next version
	jobs           []jobState  // in the order of their creation
	nodes          []*internalv1.Node
	requests       []*internalv1.Request // oldest first

	// Indexes over the above, rebuilt by Restore.
	byID      map[string]jobState
	byName    map[string]jobState // the newest of each name
	bySubtask map[uint64]subtaskRef
	bySession map[string]uint64
	byRequest map[string]*internalv1.Request

	// touched names the jobs that a command other than Flush changed since the
	// last TakeTouched. Soft: it wakes readers up and is never part of the state.
	touched map[string]struct{}
	// metrics are written and never read here.
	metrics *Metrics
}

// NewMachine returns an empty machine over keyed.
func NewMachine(keyed KeyedState) *Machine {
	m := &Machine{keyed: keyed, nextSubtaskID: 1, metrics: NewMetrics()}
	m.reindex()
	return m
}

// Apply applies one command at a log index. A command that cannot be applied
// gives a result with an error; only an unknown command, one that a newer
// version wrote, is an error of Apply itself, and the node must halt.
//
// A command of a version that was not committed is refused: the leader that
// proposed it made a mistake, which must not change what the state is.
func (m *Machine) Apply(index uint64, cmd *internalv1.Command) (*internalv1.CommandResult, error) {
	r, err := m.apply(index, cmd)
	if err == nil {
		m.metrics.countApplied(cmd, r)
	}
	return r, err
}

func (m *Machine) apply(index uint64, cmd *internalv1.Command) (*internalv1.CommandResult, error) {
	if v := requiredVersion(cmd); !gateOpen(v, m.ClusterVersion()) {
		return refusal(Admit(cmd, m.ClusterVersion())), nil
	}
	switch c := cmd.GetCommand().(type) {
	case *internalv1.Command_Flush:
		return m.applyFlush(index, c.Flush), nil
	case *internalv1.Command_Ready:
		return m.applyReady(index, c.Ready), nil
	case *internalv1.Command_Finish:
		return m.applyFinish(index, c.Finish), nil
	case *internalv1.Command_Assign:
		return m.applyAssign(index, c.Assign), nil
	case *internalv1.Command_AckCheckpoint:
		return m.applyAckCheckpoint(c.AckCheckpoint), nil
	case *internalv1.Command_AckPart:
		return m.applyAckPart(c.AckPart), nil
	case *internalv1.Command_LoadState:
		return m.applyLoad(index, c.LoadState), nil
	case *internalv1.Command_FilesDeleted:
		return m.applyFilesDeleted(c.FilesDeleted), nil
	case *internalv1.Command_RecordExport:
		return m.applyRecordExport(index, c.RecordExport), nil
	case *internalv1.Command_ResumeSubtask:
		return m.applyResumeSubtask(index, c.ResumeSubtask), nil
	case *internalv1.Command_BeginCheckpoint:
		return m.applyBegin(c.BeginCheckpoint), nil
	case *internalv1.Command_AbortCheckpoint:
		return m.applyAbort(index, c.AbortCheckpoint), nil
	case *internalv1.Command_SubmitJob:
		return m.applySubmit(c.SubmitJob), nil
	case *internalv1.Command_CancelJob:
		return m.applyCancel(index, c.CancelJob), nil
	case *internalv1.Command_ResumeJob:
		return m.applyResumeJob(c.ResumeJob), nil
	case *internalv1.Command_RecordSplits:
		return m.applyRecordSplits(index, c.RecordSplits), nil
	case *internalv1.Command_FailSubtask:
		return m.applyFail(index, c.FailSubtask), nil
	case *internalv1.Command_LoseSubtask:
		return m.applyLose(c.LoseSubtask), nil
	case *internalv1.Command_RegisterNode:
		return m.applyRegisterNode(index, c.RegisterNode), nil
	case *internalv1.Command_ForgetNode:
		return m.applyForgetNode(index, c.ForgetNode), nil
	case *internalv1.Command_LoseHost:
		return m.applyLoseHost(index, c.LoseHost), nil
	case *internalv1.Command_MarkHash:
		return &internalv1.CommandResult{}, nil
	case *internalv1.Command_SetClusterVersion:
		return m.applySetClusterVersion(c.SetClusterVersion)
	default:
		if r := m.applyNext(cmd); r != nil {
			return r, nil
		}
		return nil, fmt.Errorf("unknown command %T: this node is older than the one that proposed it; upgrade it", c)
	}
}

// TakeTouched returns the ids of the jobs that changed since the last call,
// flushes apart. Order is of no meaning.
func (m *Machine) TakeTouched() []string {
	if len(m.touched) == 0 {
		return nil
	}
	ids := make([]string, 0, len(m.touched))
	for id := range m.touched {
		ids = append(ids, id)
	}
	clear(m.touched)
	return ids
}

func (m *Machine) touch(j jobState) { m.touched[j.JobId] = struct{}{} }

// requestKey names a request by what it does, to which job, and the id that the
// caller gave it; empty if it gave none.
func requestKey(call, jobID, requestID string) string {
	if requestID == "" {
		return ""
	}
	return call + " " + jobID + " " + requestID
}

// keepResult stores the result of an admin call under its request id, so that
// the same call again gets the same answer.
func (m *Machine) keepResult(key, jobID string, r *internalv1.CommandResult) {
	if key == "" {
		return
	}
	req := &internalv1.Request{Key: key, JobId: jobID, Result: r}
	m.requests = append(m.requests, req)
	m.byRequest[key] = req
	for len(m.requests) > MaxRequests {
		delete(m.byRequest, m.requests[0].Key)
		m.requests = m.requests[1:]
	}
}

func (m *Machine) keptResult(key string) *internalv1.CommandResult {
	if req := m.byRequest[key]; key != "" && req != nil {
		return req.Result
	}
	return nil
}

func refusal(e *holdfastv1.Error) *internalv1.CommandResult {
	return &internalv1.CommandResult{Error: e}
}
