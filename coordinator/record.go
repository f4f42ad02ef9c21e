package coordinator

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Records returns the whole state as records that no later Apply changes, in
// an order that depends on the log alone.
func (m *Machine) Records() []*internalv1.Record {
	out := make([]*internalv1.Record, 0, 1+len(m.jobs)+len(m.nodes)+len(m.requests))
	meta := &internalv1.Meta{NextSubtaskId: m.nextSubtaskID, ClusterVersion: m.clusterVersion}
	m.saveNext(meta)
	out = append(out, &internalv1.Record{Record: &internalv1.Record_Meta{Meta: meta}})
	for _, j := range m.jobs {
		out = append(out, &internalv1.Record{Record: &internalv1.Record_Job{Job: jobRecord(j)}})
	}
	for _, n := range m.nodes {
		out = append(out, &internalv1.Record{Record: &internalv1.Record_Node{Node: proto.CloneOf(n)}})
	}
	for _, r := range m.requests {
		out = append(out, &internalv1.Record{Record: &internalv1.Record_Request{Request: proto.CloneOf(r)}})
	}
	return out
}

// RestoreMachine builds a machine from records, over keyed state that was
// restored beside it. The error matches ErrClusterVersion if this build does not
// support the version of the cluster that wrote them.
func RestoreMachine(keyed KeyedState, records []*internalv1.Record) (*Machine, error) {
	m := NewMachine(keyed)
	for i, rec := range records {
		switch r := rec.GetRecord().(type) {
		case *internalv1.Record_Meta:
			if err := Supported().Check(max(r.Meta.ClusterVersion, FirstVersion)); err != nil {
				return nil, err
			}
			m.nextSubtaskID, m.clusterVersion = r.Meta.NextSubtaskId, r.Meta.ClusterVersion
			m.restoreNext(r.Meta)
		case *internalv1.Record_Job:
			if r.Job.Spec == nil || r.Job.Counts == nil || r.Job.Restart == nil {
				return nil, fmt.Errorf("record %d: job %q is incomplete", i, r.Job.JobId)
			}
			m.jobs = append(m.jobs, r.Job)
		case *internalv1.Record_Node:
			m.nodes = append(m.nodes, r.Node)
		case *internalv1.Record_Request:
			m.requests = append(m.requests, r.Request)
		default:
			return nil, fmt.Errorf("record %d has the unknown kind %T: this node is older than the one that wrote the snapshot; upgrade it", i, r)
		}
	}
	m.reindex()
	return m, nil
}

func (m *Machine) reindex() {
	m.byID = map[string]jobState{}
	m.byName = map[string]jobState{}
	m.bySubtask = map[uint64]subtaskRef{}
	m.bySession = map[string]uint64{}
	m.byRequest = map[string]*internalv1.Request{}
	m.touched = map[string]struct{}{}
	for _, j := range m.jobs {
		m.index(j)
		m.touch(j)
	}
	for _, r := range m.requests {
		m.byRequest[r.Key] = r
	}
}

func (m *Machine) index(j jobState) {
	m.byID[j.JobId] = j
	m.byName[j.Spec.Name] = j
	forSubtasks(j, func(v vertexState, st subtaskState) {
		m.bySubtask[st.Id] = subtaskRef{j, v, st}
		if st.SessionId != "" {
			m.bySession[st.SessionId] = st.Id
		}
	})
}

func (m *Machine) unindex(j jobState) {
	delete(m.byID, j.JobId)
	if m.byName[j.Spec.Name] == j {
		delete(m.byName, j.Spec.Name)
	}
	forSubtasks(j, func(_ vertexState, st subtaskState) { delete(m.bySubtask, st.Id) })
}

// sortedNodes returns the registered nodes by id.
func (m *Machine) sortedNodes() []*internalv1.Node {
	return slices.SortedFunc(slices.Values(m.nodes), func(a, b *internalv1.Node) int { return strings.Compare(a.NodeId, b.NodeId) })
}

// handlesOf finds the recorded handles of a job, but not those of acks that are under
// way, which still change.
func handlesOf(j jobState) (out []*[]*holdfastv1.StateHandle) {
	of := func(c *holdfastv1.Checkpoint) {
		for _, a := range c.GetAcks() {
			out = append(out, &a.Handles)
		}
	}
	of(j.Pending)
	for _, c := range j.History {
		of(c)
	}
	forSubtasks(j, func(_ vertexState, st subtaskState) { out = append(out, &st.FinishedHandles) })
	return out
}
