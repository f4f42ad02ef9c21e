package coordinator

import (
	"slices"

	"google.golang.org/protobuf/proto"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// applyRegisterNode records what a node says of itself. Another incarnation tells
// that the process before it is gone with what it had in its memory.
func (m *Machine) applyRegisterNode(index uint64, c *internalv1.RegisterNode) *internalv1.CommandResult {
	rec := &internalv1.Node{
		NodeId: c.NodeId, Name: c.Name, ClientAddress: c.ClientAddress, Version: c.Version,
		MinClusterVersion: c.MinClusterVersion, MaxClusterVersion: c.MaxClusterVersion,
		Incarnation: c.Incarnation, StateBackends: c.StateBackends,
	}
	was := m.node(c.NodeId)
	another := was.GetIncarnation() != c.Incarnation
	if another && was.GetIncarnation() != c.PreviousIncarnation {
		return refusal(notApplied(holdfastv1.ErrorReason_ERROR_REASON_FENCED, "another process of the node has registered meanwhile",
			"incarnation", was.GetIncarnation()))
	}
	if was == nil {
		m.nodes = append(m.nodes, rec)
		return &internalv1.CommandResult{}
	}
	m.nodes[slices.Index(m.nodes, was)] = rec
	if another {
		m.loseHomes(index, c.TimeMs, processGone(was), func(st subtaskState) bool { return st.HomeNodeId == c.NodeId })
	}
	return &internalv1.CommandResult{}
}

// applyForgetNode drops the record of a former member. A subtask that it hosts
// keeps its token: the node may serve until its operators have gone elsewhere. But
// what state it alone has counts as lost.
func (m *Machine) applyForgetNode(index uint64, c *internalv1.ForgetNode) *internalv1.CommandResult {
	was := m.node(c.NodeId)
	m.nodes = slices.DeleteFunc(m.nodes, func(n *internalv1.Node) bool { return n.NodeId == c.NodeId })
	m.loseHomes(index, c.TimeMs, processGone(was), func(st subtaskState) bool { return st.HomeNodeId == c.NodeId })
	return &internalv1.CommandResult{}
}

// NodeOf returns what a member registered, nil if it has not.
func (m *Machine) NodeOf(id string) *internalv1.Node { return proto.CloneOf(m.node(id)) }

func (m *Machine) node(id string) *internalv1.Node {
	for _, n := range m.nodes {
		if n.NodeId == id {
			return n
		}
	}
	return nil
}

// nodeName is the name that a member registered, "" if it has not.
func (m *Machine) nodeName(id string) string {
	for _, n := range m.nodes {
		if n.NodeId == id {
			return n.Name
		}
	}
	return ""
}

// ClientAddresses returns the client addresses of the registered nodes.
func (m *Machine) ClientAddresses() []string {
	var out []string
	for _, n := range m.sortedNodes() {
		out = append(out, n.ClientAddress)
	}
	return out
}
