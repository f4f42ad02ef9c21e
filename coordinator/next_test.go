//go:build next_version

package coordinator

import (
	"testing"
	"time"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func leadership(n uint64) *internalv1.Command {
	c := &internalv1.Command{}
	c.ProtoReflect().SetUnknown(nextBytes(n))
	return c
}

func at(seconds int64) time.Time { return time.Unix(seconds, 0) }

// Invariant 7: the version is raised when every member has registered that it
// supports the new one, and not by an old node or by one that never registered.
func TestNext_RaisedWhenAllMembersSupportIt(t *testing.T) {
	l := newLog(t)
	l.must(register("a", 1, 2))
	l.must(register("b", 1, 1))
	for name, members := range map[string][]string{"none": nil, "an old one": {"a", "b"}, "one that did not register": {"a", "c"}} {
		if c := l.m.ClusterVersionDue(members); c != nil {
			t.Errorf("%s: %v is due", name, c)
		}
	}
	// It may go back as long as nothing is committed.
	l.must(register("b", 1, 2))
	if c := l.m.ClusterVersionDue([]string{"a", "b"}); c.GetSetClusterVersion().GetVersion() != 2 {
		t.Fatalf("%v is due, want version 2", c)
	}
	l.must(setVersion(2))
	if c := l.m.ClusterVersionDue([]string{"a", "b"}); c != nil {
		t.Errorf("%v is due at version 2", c)
	}
}

// Invariant 7: the new command is neither proposed nor admitted nor applied
// before the version is committed.
func TestNext_CommandWaitsForTheVersion(t *testing.T) {
	l := newLog(t)
	d := NewDriver(DefaultDriverConfig(), at(0))
	if cmds := d.Step(at(1), l.m); len(cmds) != 0 {
		t.Fatalf("at version 1 the driver proposes %v", cmds)
	}
	e := Admit(leadership(1), FirstVersion)
	if e.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_VERSION_NOT_SUPPORTED || e.Outcome != holdfastv1.Outcome_OUTCOME_NOT_APPLIED {
		t.Errorf("at version 1 a leader answers %v", e)
	}
	l.refused(leadership(1), holdfastv1.ErrorReason_ERROR_REASON_VERSION_NOT_SUPPORTED)
	if l.m.next.leaderships != 0 {
		t.Error("it was applied at version 1")
	}
	l.must(setVersion(2))
	cmds := d.Step(at(2), l.m)
	if len(cmds) != 1 || Admit(cmds[0], 2) != nil {
		t.Fatalf("at version 2 the driver proposes %v", cmds)
	}
	l.must(cmds[0])
	l.must(cmds[0]) // invariant 6
	if l.m.next.leaderships != 1 || len(d.Step(at(3), l.m)) != 0 {
		t.Errorf("%d leaderships after one", l.m.next.leaderships)
	}
	back, err := RestoreMachine(newFakeState(), l.m.Records())
	if err != nil || back.next.leaderships != 1 {
		t.Errorf("%d leaderships after a restore, %v", back.next.leaderships, err)
	}
}
