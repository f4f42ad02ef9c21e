package scenario

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// NewerClient is a client of a later minor release: every message up has fields
// that this build does not know. They are ignored, in the log too (section 11 of
// the protocol).
func NewerClient(t *testing.T, c *harness.Cluster) {
	j := newRawJob(t, c, c.Leader().Index, harness.FlusherConfig{CheckpointMs: 3_600_000})
	s := j.open()
	hello := j.hello()
	hello.ClientVersion = "99.1.0"
	s.send(newer(up(hello)))
	s.await("an assignment", func(m *holdfastv1.HostMessage) bool { return s.take(m) })
	s.send(newer(up(&holdfastv1.Heartbeat{Sequence: 1})))
	s.await("an echo", func(m *holdfastv1.HostMessage) bool { return m.GetHeartbeatEcho() != nil })
	s.send(newer(s.flush(1, nil)))
	s.awaitAck(1)
	s.send(newer(s.get(nil)))
	s.await("values", func(m *holdfastv1.HostMessage) bool { return m.GetValues().GetSections() != nil })
	id := mustTrigger(t, c, j.id)
	s.await("a barrier", func(m *holdfastv1.HostMessage) bool { return m.GetBarrier().GetCheckpointId() == id })
	s.send(newer(up(&holdfastv1.CheckpointReady{
		FencingToken: s.assign.FencingToken, Seq: 2, CheckpointId: id, Positions: []*holdfastv1.Position{{Topic: "t", NextOffset: 1, LeaderEpoch: -1}},
	})))
	c.WaitCheckpoint(j.id, id-1)
	c.VerifyReplicas()
}

// newer adds a field that nobody knows to a message and to every message in it.
func newer(m *holdfastv1.OperatorMessage) *holdfastv1.OperatorMessage {
	addUnknown(m.ProtoReflect())
	return m
}

func addUnknown(m protoreflect.Message) {
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Message() == nil || f.IsMap():
		case f.IsList():
			for i := range v.List().Len() {
				addUnknown(v.List().Get(i).Message())
			}
		default:
			addUnknown(v.Message())
		}
		return true
	})
	m.SetUnknown(protowire.AppendBytes(protowire.AppendTag(nil, 15_000, protowire.BytesType), []byte("of a later release")))
}
