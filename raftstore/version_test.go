package raftstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/coordinator"
)

// The builds of two releases, as far as cluster versions go.
var (
	olderBuild = coordinator.Versions{Min: 1, Max: 1}
	newerBuild = coordinator.Versions{Min: 1, Max: 2}
)

// restartAs closes a node and starts it on its directory as another build.
func (tn *testNode) restartAs(build coordinator.Versions) error {
	tn.t.Helper()
	if err := tn.Close(); err != nil {
		tn.t.Fatal(err)
	}
	tn.cfg.Versions = build
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return tn.tryStart(ctx)
}

// Before the version is raised a node may go back to the older build; afterwards
// that one refuses to start, and the newer one still does.
func TestVersion_DowngradeAfterTheRaiseIsRefused(t *testing.T) {
	cfg := testConfig(t)
	cfg.Versions = newerBuild
	tn := newTestNode(t, cfg)
	tn.mustStart()
	mustAppend(t, "before", tn)
	for _, build := range []coordinator.Versions{olderBuild, newerBuild} {
		if err := tn.restartAs(build); err != nil {
			t.Fatalf("before the raise, %s: %v", build, err)
		}
		mustAppend(t, "again", tn)
	}
	mustAppend(t, toyRaise, tn)
	err := tn.restartAs(olderBuild)
	if !errors.Is(err, ErrClusterVersion) || !strings.Contains(err.Error(), "the cluster is at version 2, this build supports version 1 only: start the node with a newer build") {
		t.Fatalf("after the raise the older build says: %v", err)
	}
	tn.cfg.Versions = newerBuild
	tn.mustStart()
	tn.mustHold("before", toyRaise)
}

// A node that was away while the version was raised has nothing of it on disk:
// its peers refuse it, and it ends with the reason. The others go on.
func TestVersion_PeersRefuseAnOldNode(t *testing.T) {
	c := startCluster(t, 3, func(cfg *Config) { cfg.Versions = newerBuild })
	mustAppend(t, "before", c.nodes...)
	old := c.without(c.leader())[0]
	others := c.without(old)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, toyRaise, others...)
	for _, tn := range others {
		tn.mustHold(toyRaise)
	}
	old.cfg.Versions = olderBuild
	old.mustStart()
	if reason := old.mustExit(); !strings.Contains(reason, "the cluster is at version 2, this build supports version 1 only") {
		t.Errorf("it ended because: %s", reason)
	}
	old.Kill()
	mustAppend(t, "after", others...)
	old.cfg.Versions = newerBuild
	old.mustStart()
	old.mustHold("before", toyRaise, "after")
}

// A node of an older build is not added to a cluster of a newer version, and
// whoever adds it is told why.
func TestVersion_OldNodeIsNotAdded(t *testing.T) {
	cfg := testConfig(t)
	cfg.Versions = newerBuild
	first := newTestNode(t, cfg)
	first.mustStart()
	mustAppend(t, toyRaise, first)
	cfg = testConfig(t)
	cfg.Join, cfg.NodeName, cfg.Versions = true, "joiner", olderBuild
	joiner := newTestNode(t, cfg)
	joiner.mustStart()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := first.AddMember(ctx, joiner.ID(), joiner.Address(), true)
	if !errors.Is(err, ErrClusterVersion) || !strings.Contains(err.Error(), "joiner") || !strings.Contains(err.Error(), "the cluster is at version 2, this build supports version 1 only") {
		t.Fatalf("the error is %v", err)
	}
	if len(first.Members()) != 1 {
		t.Fatalf("members %v", first.Members())
	}
	if err := joiner.restartAs(newerBuild); err != nil {
		t.Fatal(err)
	}
	mustChange(t, []*testNode{first, joiner}, func(leader *testNode) error {
		return leader.AddMember(ctx, joiner.ID(), joiner.Address(), true)
	})
	joiner.mustHold(toyRaise)
}

// What is applied is on disk before anybody is told.
func TestVersion_IsOnDiskWhenItIsApplied(t *testing.T) {
	cfg := testConfig(t)
	cfg.Versions = newerBuild
	tn := newTestNode(t, cfg)
	tn.mustStart()
	mustAppend(t, toyRaise, tn)
	tn.Kill()
	raw, err := os.ReadFile(filepath.Join(cfg.DataDir, identityFile))
	if err != nil {
		t.Fatal(err)
	}
	var rec identityRecord
	if err := json.Unmarshal(raw, &rec); err != nil || rec.ClusterVersion != 2 {
		t.Fatalf("%s has cluster version %d, %v", identityFile, rec.ClusterVersion, err)
	}
}

// A snapshot of another version is refused for what it is, not as damaged: the
// remedy for a damaged directory would be to throw it away.
func TestVersion_SnapshotOfAnotherIsNotDamage(t *testing.T) {
	f := newFSM()
	v := f.capture()
	v.records[0].GetMeta().ClusterVersion = coordinator.MaxVersion + 1
	var buf bytes.Buffer
	s := &shell{sm: f, clusterID: func() string { return "c" }, logger: testLogger(), exit: func(reason string) { t.Error(reason) }}
	w, err := newSnapshotWriter(&buf, snapshotHeader{ClusterID: "c", Index: 7, Term: 1})
	if err := errors.Join(err, v.Write(w), w.finish()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.restore(&buf); !errors.Is(err, ErrClusterVersion) || !errors.Is(s.unsupported, ErrClusterVersion) {
		t.Fatalf("%v, kept for the start: %v", err, s.unsupported)
	}
}
