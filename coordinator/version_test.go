package coordinator

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// commandsOfVersion1 are the commands that every log may hold. A command that is
// added after a release is not added here but to requiredVersion.
var commandsOfVersion1 = map[string]bool{
	"flush": true, "ready": true, "finish": true, "assign": true, "resume_subtask": true, "begin_checkpoint": true,
	"abort_checkpoint": true, "submit_job": true, "cancel_job": true, "resume_job": true, "record_splits": true,
	"fail_subtask": true, "lose_subtask": true, "register_node": true, "mark_hash": true, "set_cluster_version": true, "forget_node": true,
	"ack_checkpoint": true, "ack_part": true, "load_state": true, "files_deleted": true, "record_export": true, "lose_host": true,
}

// Invariant 7: a command that is not of version 1 says from when on it may be
// used.
func TestVersion_EveryCommandHasOne(t *testing.T) {
	fields := (&internalv1.Command{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		c := &internalv1.Command{}
		c.ProtoReflect().Set(f, c.ProtoReflect().NewField(f))
		v := requiredVersion(c)
		if first := commandsOfVersion1[string(f.Name())]; first != (v == FirstVersion) {
			t.Errorf("command %s needs cluster version %d (of version 1: %v)", f.Name(), v, first)
		}
		if v > MaxVersion {
			t.Errorf("command %s needs cluster version %d, this build raises to %d at most", f.Name(), v, MaxVersion)
		}
	}
}

func register(id string, lowest, highest uint32) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_RegisterNode{RegisterNode: &internalv1.RegisterNode{
		NodeId: id, Name: id, MinClusterVersion: lowest, MaxClusterVersion: highest,
	}}}
}

func setVersion(v uint32) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_SetClusterVersion{SetClusterVersion: &internalv1.SetClusterVersion{Version: v}}}
}

// nobodysCommand is a command that no build knows.
func nobodysCommand() *internalv1.Command {
	c := &internalv1.Command{}
	c.ProtoReflect().SetUnknown(protowire.AppendVarint(protowire.AppendTag(nil, 9999, protowire.VarintType), 1))
	return c
}

// A node that meets a command it does not know halts, and so it does at a
// cluster version above its own: what follows may be such commands.
func TestVersion_OldNodeHalts(t *testing.T) {
	for name, c := range map[string]*internalv1.Command{"command": nobodysCommand(), "version": setVersion(MaxVersion + 1)} {
		if r, err := NewMachine(newFakeState()).Apply(1, c); err == nil {
			t.Errorf("%s: an old node went on with %v", name, r)
		}
	}
	_, err := NewMachine(newFakeState()).Apply(1, setVersion(MaxVersion+1))
	if !errors.Is(err, ErrClusterVersion) {
		t.Errorf("the reason is %v", err)
	}
}

// A leader keeps out of the log what it does not know, whoever proposes it.
func TestVersion_LeaderAdmitsOnlyWhatItKnows(t *testing.T) {
	e := Admit(nobodysCommand(), 1_000_000)
	if e.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_VERSION_NOT_SUPPORTED || e.Outcome != holdfastv1.Outcome_OUTCOME_FINAL {
		t.Errorf("an unknown command is answered with %v", e)
	}
	if e := Admit(setVersion(1), FirstVersion); e != nil {
		t.Errorf("a command of version 1 is answered with %v", e)
	}
}

// A cluster version is never taken back, whatever is proposed.
func TestVersion_NeverFalls(t *testing.T) {
	l := newLog(t)
	l.m.clusterVersion = MaxVersion
	l.must(setVersion(1))
	if got := l.m.ClusterVersion(); got != MaxVersion {
		t.Errorf("the cluster version is %d after a lower one was set", got)
	}
}

// Records of a cluster version that this build does not support are refused with
// both versions and the remedy.
func TestVersion_RecordsOfAnotherAreRefused(t *testing.T) {
	rec := &internalv1.Record{Record: &internalv1.Record_Meta{Meta: &internalv1.Meta{NextSubtaskId: 1, ClusterVersion: MaxVersion + 1}}}
	_, err := RestoreMachine(newFakeState(), []*internalv1.Record{rec})
	if !errors.Is(err, ErrClusterVersion) {
		t.Fatalf("the error is %v", err)
	}
}

func TestVersions_CheckNamesBothAndTheRemedy(t *testing.T) {
	for name, c := range map[string]struct {
		have    Versions
		cluster uint32
		want    string
	}{
		"too old": {Versions{1, 1}, 2, "the cluster is at version 2, this build supports version 1 only: start the node with a newer build, since a cluster version is never taken back"},
		"too new": {Versions{3, 4}, 2, "the cluster is at version 2, this build supports versions 3 to 4: upgrade all nodes to a release in between first"},
		"fits":    {Versions{1, 4}, 2, ""},
	} {
		err := c.have.Check(c.cluster)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.Is(err, ErrClusterVersion) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is\n%v\nwant\n%s", name, err, c.want)
		}
	}
}

// The version that a node registered is state: it is in every snapshot.
func TestVersion_IsInTheRecords(t *testing.T) {
	l := newLog(t)
	l.must(register("a", 1, 7))
	l.m.clusterVersion = MaxVersion
	back, err := RestoreMachine(newFakeState(), l.m.Records())
	if err != nil {
		t.Fatal(err)
	}
	if n := back.NodeOf("a"); back.ClusterVersion() != MaxVersion || n.MinClusterVersion != 1 || n.MaxClusterVersion != 7 {
		t.Errorf("version %d, node %v after a restore", back.ClusterVersion(), n)
	}
	if !proto.Equal(back.Records()[0], l.m.Records()[0]) {
		t.Errorf("records %v and %v", back.Records()[0], l.m.Records()[0])
	}
}
