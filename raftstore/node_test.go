package raftstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNode_Single(t *testing.T) {
	tn := startSingle(t)
	ctx := t.Context()
	waitLeader(t, tn)
	result, index, err := tn.Propose(ctx, toyAppend, []byte("a")).Wait(ctx)
	if err != nil || result != 1 || index == 0 {
		t.Fatalf("Wait = %v, %d, %v", result, index, err)
	}
	if err := tn.WaitApplied(ctx, index); err != nil || tn.AppliedIndex() < index {
		t.Fatalf("WaitApplied: %v, applied %d of %d", err, tn.AppliedIndex(), index)
	}
	if len(tn.ID()) != 32 || len(tn.ClusterID()) != 32 {
		t.Errorf("ids %q %q", tn.ID(), tn.ClusterID())
	}
	members := tn.Members()
	if len(members) != 1 || members[0].ID != tn.ID() || members[0].Name != tn.Name() || !members[0].Voter || members[0].Address != tn.Address() {
		t.Errorf("Members = %+v", members)
	}
	s := tn.Stats()
	if s.State != "Leader" || s.Term == 0 || s.AppliedIndex < index || s.CommitIndex < index || s.Halted {
		t.Errorf("Stats = %+v", s)
	}
	if err := tn.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func TestNode_AfterClose(t *testing.T) {
	tn := startSingle(t)
	ctx := t.Context()
	waitLeader(t, tn)
	if err := tn.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tn.Propose(ctx, toyAppend, nil).Wait(ctx); err == nil || Outcome(err) != NotApplied {
		t.Errorf("Propose after Close: %v, %v", err, Outcome(err))
	}
	if err := tn.Barrier(ctx); err == nil {
		t.Error("Barrier after Close succeeds")
	}
	if _, err := tn.PeerListener().Accept(); err == nil {
		t.Error("Accept after Close succeeds")
	}
	if err := tn.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestNode_RestartKeepsState(t *testing.T) {
	tn := startSingle(t)
	id, cluster := tn.ID(), ""
	for i := range 10 {
		mustAppend(t, fmt.Sprint("x", i), tn)
	}
	cluster = tn.ClusterID()
	if err := tn.Close(); err != nil {
		t.Fatal(err)
	}
	tn.mustStart()
	if tn.ID() != id || tn.ClusterID() != cluster {
		t.Fatalf("identity changed: %s %s", tn.ID(), tn.ClusterID())
	}
	waitLeader(t, tn)
	if got := len(tn.sm.list()); got != 10 {
		t.Fatalf("%d items after restart", got)
	}
}

func TestCluster_Bootstrap(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader := c.leader()
	mustAppend(t, "a", c.nodes...)
	for _, tn := range c.nodes {
		tn.mustHold("a")
		if tn.ClusterID() != leader.ClusterID() {
			t.Errorf("%s is of cluster %s", tn.Name(), tn.ClusterID())
		}
		if got := len(tn.Members()); got != 3 {
			t.Errorf("%s sees %d members", tn.Name(), got)
		}
		for _, m := range tn.Members() {
			if m.Name == "" || !m.Voter {
				t.Errorf("%s sees member %+v", tn.Name(), m)
			}
		}
	}
}

func TestCluster_LeaderKilled(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader := c.leader()
	items := []string{"a", "b", "c"}
	for _, item := range items {
		mustAppend(t, item, c.nodes...)
	}
	leader.Kill()
	rest := c.without(leader)
	next := waitLeader(t, rest...)
	next.mustHold(items...)
	mustAppend(t, "d", rest...)
	leader.mustStart()
	leader.mustHold("a", "b", "c", "d")
}

func TestCluster_CloseHandsLeadershipOver(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader := c.leader()
	if err := leader.Close(); err != nil {
		t.Fatal(err)
	}
	waitLeader(t, c.without(leader)...)
	select {
	case reason := <-leader.exits:
		t.Errorf("Exit: %s", reason)
	default:
	}
}

func TestCluster_RestartOfAll(t *testing.T) {
	c := startCluster(t, 3, nil)
	mustAppend(t, "a", c.nodes...)
	mustAppend(t, "b", c.nodes...)
	for _, tn := range c.nodes {
		tn.Kill()
	}
	c.mustStartAll()
	mustAppend(t, "c", c.nodes...)
	for _, tn := range c.nodes {
		tn.mustHold("a", "b", "c")
	}
}

func TestCluster_LeaderChangesAreNoticed(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader := c.leader()
	rest := c.without(leader)
	changes, cancel := rest[0].LeaderChanges()
	defer cancel()
	leader.Kill()
	deadline := time.After(patience)
	for {
		select {
		case <-changes:
			if id, _, ok := rest[0].Leader(); ok && id != leader.ID() {
				return
			}
		case <-deadline:
			t.Fatal("no notification of the new leader")
		}
	}
}

func TestCluster_TransferLeadership(t *testing.T) {
	c := startCluster(t, 3, nil)
	waitFor(t, "a transfer", func() bool {
		leader := c.leader()
		to := c.without(leader)[0]
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := leader.TransferLeadership(ctx, to.ID()); err != nil {
			t.Logf("transfer: %v", err)
			return false
		}
		return waitLeader(t, c.nodes...) == to
	})
	leader := c.leader()
	if err := leader.TransferLeadership(t.Context(), "nobody"); !errors.Is(err, ErrUnknownMember) && !errors.Is(err, ErrNotLeader) {
		t.Errorf("transfer to nobody: %v", err)
	}
}

func TestBarrier_OnFollower(t *testing.T) {
	c := startCluster(t, 3, nil)
	for _, tn := range c.without(c.leader()) {
		if err := tn.Barrier(t.Context()); err != nil && !errors.Is(err, ErrNotLeader) {
			t.Errorf("Barrier: %v", err)
		}
	}
}

// A leader that can reach nobody must not confirm a read, whatever answers it
// had before (invariant 3 of reads: confirmed after the question).
func TestBarrier_WithoutMajority(t *testing.T) {
	c := startCluster(t, 3, nil)
	leader := c.leader()
	for _, tn := range c.without(leader) {
		tn.Kill()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := leader.Barrier(ctx); err == nil {
		t.Fatal("Barrier succeeds without a majority")
	}
}

func TestWaitApplied_EntriesOfRaftOnly(t *testing.T) {
	tn := startSingle(t)
	waitLeader(t, tn)
	// The entry of a new leader is a no-op that no state machine sees.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	commit := tn.Stats().CommitIndex
	if err := tn.WaitApplied(ctx, commit); err != nil {
		t.Fatalf("WaitApplied(%d): %v, applied %d", commit, err, tn.AppliedIndex())
	}
	short, cancelShort := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelShort()
	if err := tn.WaitApplied(short, commit+100); !errors.Is(err, ErrTimeout) {
		t.Errorf("WaitApplied of the future: %v", err)
	}
}

// A log that ends with many entries of Raft's own, and a snapshot that ends with
// one, must not hold up a read until the next command.
func TestBarrier_NoCommandAtTheEnd(t *testing.T) {
	cfg := testConfig(t)
	cfg.TrailingLogs = 1
	tn := newTestNode(t, cfg)
	tn.mustStart()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	mustAppend(t, "a", tn)
	for range 3 * maxAppendEntries {
		if err := tn.raft.Barrier(0).Error(); err != nil {
			t.Fatal(err)
		}
	}
	if err := tn.Barrier(ctx); err != nil {
		t.Fatalf("after many barriers: %v", err)
	}
	if err := tn.Snapshot(); err != nil {
		t.Fatal(err)
	}
	tn.Kill()
	tn.mustStart()
	waitLeader(t, tn)
	if err := tn.WaitApplied(ctx, tn.Stats().CommitIndex); err != nil {
		t.Fatalf("after the snapshot: %v", err)
	}
}

func TestNode_StateMachineErrorHalts(t *testing.T) {
	tn := startSingle(t)
	ctx := t.Context()
	mustAppend(t, "a", tn)
	applied := tn.AppliedIndex()
	_, _, err := tn.Propose(ctx, toyUnknown, nil).Wait(ctx)
	if !errors.Is(err, ErrHalted) || Outcome(err) != Unknown {
		t.Fatalf("Wait: %v", err)
	}
	if reason := tn.mustExit(); !strings.Contains(reason, "unknown command") {
		t.Errorf("reason %q", reason)
	}
	if _, _, err := tn.Propose(ctx, toyAppend, nil).Wait(ctx); Outcome(err) != NotApplied {
		t.Errorf("Propose on a halted node: %v", err)
	}
	if tn.AppliedIndex() != applied {
		t.Errorf("applied moved from %d to %d", applied, tn.AppliedIndex())
	}
}

func TestNode_DamagedEntryHalts(t *testing.T) {
	tn := startSingle(t)
	waitLeader(t, tn)
	data, err := encodeEnvelope(toyAppend, []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1] ^= 1
	tn.raft.Apply(data, 0)
	if reason := tn.mustExit(); !strings.Contains(reason, "checksum") {
		t.Errorf("reason %q", reason)
	}
	if len(tn.sm.list()) != 0 {
		t.Error("the entry was applied")
	}
}

func TestNode_HungDiskExits(t *testing.T) {
	cfg := testConfig(t)
	cfg.LogStoreDeadline = 100 * time.Millisecond
	release := make(chan struct{})
	hang := make(chan struct{})
	cfg.StoreHook = func(op string) {
		select {
		case <-hang:
			if op == "StoreLogs" {
				<-release
			}
		default:
		}
	}
	tn := newTestNode(t, cfg)
	tn.mustStart()
	waitLeader(t, tn)
	close(hang)
	f := tn.Propose(t.Context(), toyAppend, []byte("a"))
	if reason := tn.mustExit(); !strings.Contains(reason, "StoreLogs") {
		t.Errorf("reason %q", reason)
	}
	close(release)
	if _, _, err := f.Wait(t.Context()); err != nil && Outcome(err) != Unknown {
		t.Errorf("Wait: %v", err)
	}
}

func TestDataDir_SecondProcessRefused(t *testing.T) {
	if dir := os.Getenv("HOLDFAST_TEST_LOCK_DIR"); dir != "" {
		_, err := openDataDir(dir)
		fmt.Println(err)
		if !errors.Is(err, ErrDataDirLocked) {
			t.Fatalf("openDataDir = %v", err)
		}
		return
	}
	tn := startSingle(t)
	cmd := exec.Command(os.Args[0], "-test.run=^TestDataDir_SecondProcessRefused$", "-test.v")
	cmd.Env = append(os.Environ(), "HOLDFAST_TEST_LOCK_DIR="+tn.cfg.DataDir)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), tn.cfg.DataDir) {
		t.Fatalf("second process: %v\n%s", err, out)
	}
	second := tn.cfg
	second.PeerListen = "127.0.0.1:0"
	if _, err := Open(t.Context(), second, &toyMachine{}); !errors.Is(err, ErrDataDirLocked) {
		t.Fatalf("Open twice: %v", err)
	}
}

func TestDataDir_NewerFormatRefused(t *testing.T) {
	cfg := testConfig(t)
	if err := os.WriteFile(filepath.Join(cfg.DataDir, formatFile), []byte("2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), cfg, &toyMachine{}); !errors.Is(err, ErrDataDirFormat) {
		t.Fatalf("Open = %v", err)
	}
}

func TestDataDir_ForeignDirectoryRefused(t *testing.T) {
	cfg := testConfig(t)
	if err := os.WriteFile(filepath.Join(cfg.DataDir, "holiday.jpg"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), cfg, &toyMachine{}); !errors.Is(err, ErrDataDirFormat) {
		t.Fatalf("Open = %v", err)
	}
}

// A node whose log is gone has forgotten its votes and must not come back.
func TestDataDir_LostLogRefused(t *testing.T) {
	tn := startSingle(t)
	waitLeader(t, tn)
	tn.Kill()
	for _, lost := range []string{storeFile, identityFile} {
		path := filepath.Join(tn.cfg.DataDir, lost)
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		if err := tn.tryStart(t.Context()); !errors.Is(err, ErrDataDirCorrupt) {
			t.Errorf("without %s: Open = %v", lost, err)
		}
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
	}
	tn.mustStart()
}

func TestConfig_Refused(t *testing.T) {
	list := []InitialMember{{Name: "a", Address: "h:1"}, {Name: "b", Address: "h:2"}}
	for name, change := range map[string]func(*Config){
		"no directory":   func(c *Config) { c.DataDir = "" },
		"long lease":     func(c *Config) { c.LeaderLease = time.Hour },
		"short election": func(c *Config) { c.ElectionTimeout = time.Millisecond },
		"not in list":    func(c *Config) { c.InitialCluster = list },
		"join and list":  func(c *Config) { c.InitialCluster, c.Join, c.NodeName = list, true, "a" },
		"twice":          func(c *Config) { c.InitialCluster, c.NodeName = append(list, list[0]), "a" },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			change(&cfg)
			if n, err := Open(t.Context(), cfg, &toyMachine{}); err == nil {
				n.Kill()
				t.Fatal("Open succeeds")
			}
		})
	}
}
