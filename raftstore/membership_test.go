package raftstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func startJoining(t *testing.T) *testNode {
	t.Helper()
	cfg := testConfig(t)
	cfg.Join = true
	cfg.NodeName = "joiner"
	tn := newTestNode(t, cfg)
	tn.mustStart()
	return tn
}

func TestMembership_AddAndRemove(t *testing.T) {
	first := startSingle(t)
	for i := range 100 {
		mustAppend(t, fmt.Sprint("x", i), first)
	}
	joiner := startJoining(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if joiner.ClusterID() != "" || len(joiner.Members()) != 0 {
		t.Fatal("the joiner has a cluster already")
	}
	add := func(voter bool) {
		t.Helper()
		mustChange(t, []*testNode{first, joiner}, func(leader *testNode) error {
			return leader.AddMember(ctx, joiner.ID(), joiner.Address(), voter)
		})
	}
	add(false)
	joiner.mustHold("x0", "x99")
	if m, ok := first.member(joiner.ID()); !ok || m.Suffrage.String() != "Nonvoter" {
		t.Fatalf("member %+v", m)
	}
	add(true)
	mustAppend(t, "with two", first, joiner)
	joiner.mustHold("with two")
	for _, m := range first.Members() {
		if m.ID == joiner.ID() && (m.Name != "joiner" || !m.Voter) {
			t.Errorf("member %+v", m)
		}
	}
	mustChange(t, []*testNode{first, joiner}, func(leader *testNode) error {
		if err := leader.RemoveMember(ctx, "nobody"); !errors.Is(err, ErrUnknownMember) {
			return err
		}
		err := leader.RemoveMember(ctx, joiner.ID())
		if errors.Is(err, ErrUnknownMember) {
			return nil
		}
		return err
	})
	mustAppend(t, "alone", first)
}

func TestMembership_JoinerSurvivesRestart(t *testing.T) {
	first := startSingle(t)
	mustAppend(t, "a", first)
	joiner := startJoining(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	mustChange(t, []*testNode{first}, func(leader *testNode) error {
		return leader.AddMember(ctx, joiner.ID(), joiner.Address(), false)
	})
	joiner.mustHold("a")
	joiner.Kill()
	mustAppend(t, "b", first)
	joiner.mustStart()
	joiner.mustHold("a", "b")
}

func TestMembership_Refused(t *testing.T) {
	first, other, joiner := startSingle(t), startSingle(t), startJoining(t)
	waitLeader(t, first)
	waitLeader(t, other)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := first.AddMember(ctx, "somebody else", joiner.Address(), false); !errors.Is(err, ErrWrongNode) {
		t.Errorf("wrong id: %v", err)
	}
	if err := first.AddMember(ctx, other.ID(), other.Address(), false); !errors.Is(err, ErrWrongCluster) {
		t.Errorf("node of another cluster: %v", err)
	}
	if err := joiner.AddMember(ctx, first.ID(), first.Address(), false); !errors.Is(err, ErrNotLeader) {
		t.Errorf("on a node that does not lead: %v", err)
	}
	if err := joiner.RemoveMember(ctx, first.ID()); !errors.Is(err, ErrNotLeader) {
		t.Errorf("remove on a node that does not lead: %v", err)
	}
	if got := len(first.Members()); got != 1 {
		t.Errorf("%d members", got)
	}
}

// Raft may refuse writes for ever after a transfer (hashicorp/raft issue 696).
func TestTransfer_ThatHangsExits(t *testing.T) {
	cfg := testConfig(t)
	cfg.DrainTimeout = 50 * time.Millisecond
	tn := newTestNode(t, cfg)
	tn.mustStart()
	waitLeader(t, tn)
	never := make(chan struct{})
	defer close(never)
	if err := tn.finishTransfer(stuckFuture{never: never}, time.Now()); !errors.Is(err, ErrTimeout) {
		t.Errorf("finishTransfer = %v", err)
	}
	if reason := tn.mustExit(); !strings.Contains(reason, "transfer") {
		t.Errorf("reason %q", reason)
	}
}

// failedFuture is a transfer that Raft reports as failed.
type failedFuture struct{}

func (failedFuture) Error() error { return errors.New("no") }

func TestTransfer_ThatFailsGoesOn(t *testing.T) {
	tn := startSingle(t)
	waitLeader(t, tn)
	if err := tn.finishTransfer(failedFuture{}, time.Now()); !errors.Is(err, ErrAborted) {
		t.Errorf("finishTransfer = %v", err)
	}
	if err := tn.TransferLeadership(t.Context(), ""); !errors.Is(err, ErrAborted) {
		t.Errorf("transfer to nobody = %v", err)
	}
	mustAppend(t, "a", tn)
	if len(tn.exits) > 0 {
		t.Errorf("Exit: %s", <-tn.exits)
	}
}

var _ raft.Future = failedFuture{}
