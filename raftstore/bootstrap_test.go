package raftstore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestBootstrap_OrderOfListDoesNotMatter(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.nodes[1].cfg.InitialCluster = slices.Clone(c.nodes[1].cfg.InitialCluster)
	slices.Reverse(c.nodes[1].cfg.InitialCluster)
	c.mustStartAll()
	mustAppend(t, "a", c.nodes...)
}

func TestBootstrap_ListsDisagree(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	bad := c.nodes[2]
	bad.cfg.InitialCluster = slices.Clone(bad.cfg.InitialCluster)
	bad.cfg.InitialCluster[0].Address = "127.0.0.1:1"
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, len(c.nodes))
	for i, tn := range c.nodes {
		wg.Go(func() {
			errs[i] = tn.tryStart(ctx)
			// The others may not have asked yet when the first one gives up.
			if errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		if !errors.Is(err, ErrInitialClusterMismatch) {
			continue
		}
		if text := err.Error(); !strings.Contains(text, "127.0.0.1:1") || !strings.Contains(text, "n3") || !strings.Contains(text, c.nodes[0].cfg.PeerListen) {
			t.Errorf("node %d does not name both lists: %v", i, err)
		}
		return
	}
	t.Fatalf("nobody noticed: %v", errs)
}

func TestBootstrap_WaitsForAll(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := c.nodes[0].tryStart(ctx)
	if !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "n2") || !strings.Contains(err.Error(), "n3") {
		t.Fatalf("start alone: %v", err)
	}
	// The same directories form the cluster once all are there.
	c.mustStartAll()
	mustAppend(t, "a", c.nodes...)
}

func TestBootstrap_WipedNodeRefused(t *testing.T) {
	c := startCluster(t, 3, nil)
	mustAppend(t, "a", c.nodes...)
	wiped := c.nodes[2]
	oldID := wiped.ID()
	wiped.Kill()
	rest := c.without(wiped)
	wiped.cfg.DataDir = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := wiped.tryStart(ctx)
	if !errors.Is(err, ErrNotMember) || !strings.Contains(err.Error(), "new member") {
		t.Fatalf("start of a wiped node: %v", err)
	}
	// It comes back as what it is: a new member.
	wiped.cfg.InitialCluster, wiped.cfg.Join = nil, true
	wiped.mustStart()
	if wiped.ID() == oldID {
		t.Fatal("the old id came back")
	}
	mustChange(t, rest, func(leader *testNode) error {
		if err := leader.RemoveMember(ctx, oldID); err != nil && !errors.Is(err, ErrUnknownMember) {
			return err
		}
		return leader.AddMember(ctx, wiped.ID(), wiped.Address(), true)
	})
	wiped.mustHold("a")
	if err := wiped.WaitMember(ctx); err != nil || wiped.ClusterID() != rest[0].ClusterID() {
		t.Fatalf("WaitMember: %v, cluster %s", err, wiped.ClusterID())
	}
}

// A node of another cluster has the address of a first member for a while, as after
// a port or an address was given to somebody else: the others wait, say who is there,
// and go on when the member has its address.
func TestBootstrap_WaitsForAnAddressThatAnotherClusterHas(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	late, others := c.nodes[1], c.without(c.nodes[1])
	cfg := late.cfg
	cfg.DataDir, cfg.NodeName, cfg.InitialCluster = t.TempDir(), "stranger", nil
	stranger := newTestNode(t, cfg)
	stranger.mustStart()
	clusterID := stranger.ClusterID()
	start := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		return others[0].tryStart(ctx)
	}
	err := start(200 * time.Millisecond)
	// Until it has had the time for one question.
	for limit := time.Second; limit < patience && errors.Is(err, ErrTimeout) && !strings.Contains(err.Error(), clusterID); limit *= 2 {
		err = start(limit)
	}
	if !errors.Is(err, ErrTimeout) || !strings.Contains(err.Error(), "n2 at "+cfg.PeerListen+" (raftstore: belongs to another cluster: stranger ") || !strings.Contains(err.Error(), clusterID) {
		t.Fatalf("start beside a node of another cluster: %v", err)
	}
	var wg sync.WaitGroup
	for _, tn := range others {
		wg.Go(tn.mustStart)
	}
	stranger.Kill()
	wg.Go(late.mustStart)
	wg.Wait()
	mustAppend(t, "a", c.nodes...)
	if late.ClusterID() == clusterID {
		t.Error("the cluster is the stranger's")
	}
}

// What a settled peer answers is about this node if the cluster is the one of its
// list.
func TestBootstrap_TellsItsClusterFromOthers(t *testing.T) {
	list := []InitialMember{{"n1", "a:1"}, {"n2", "a:2"}, {"n3", "a:3"}}
	f := &formation{members: list, self: &identity{name: "n1", list: canonicalList(list)}}
	f.self.rec.NodeID = "me"
	for _, c := range []struct {
		what string
		h    hello
		want bool
	}{
		{"not settled", hello{List: "n9=b:9"}, true},
		{"the same list", hello{ClusterID: "c", List: f.self.list, Initial: []initialRecord{{"x", "n7", "b:7"}}}, true},
		{"a member without a list", hello{ClusterID: "c", Initial: []initialRecord{{"x", "n1", "a:1"}, {"y", "n2", "a:2"}, {"z", "n4", "a:4"}}}, true},
		{"the cluster that this node wants to make larger", hello{ClusterID: "c", Initial: []initialRecord{{"y", "n2", "a:2"}, {"z", "n3", "a:3"}}}, true},
		{"it has this node's id", hello{ClusterID: "c", Initial: []initialRecord{{"me", "n1", "b:1"}, {"z", "n3", "b:3"}}}, true},
		{"a node that was added", hello{ClusterID: "c"}, true},
		{"others", hello{ClusterID: "c", Initial: []initialRecord{{"x", "n1", "b:1"}, {"y", "n2", "a:2"}, {"z", "n3", "b:3"}}}, false},
		{"others by the same names", hello{ClusterID: "c", Initial: []initialRecord{{"x", "n1", "b:1"}, {"y", "n2", "b:2"}, {"z", "n3", "b:3"}}}, false},
	} {
		if got := f.meant(c.h); got != c.want {
			t.Errorf("%s: meant %v, want %v", c.what, got, c.want)
		}
	}
}

// A wiped node that somehow runs under an old address gets no message that was
// meant for the old node.
func TestBootstrap_WipedNodeAtOldAddressIsNotSpokenTo(t *testing.T) {
	c := startCluster(t, 3, nil)
	old := c.without(c.leader())[0]
	old.Kill()
	cfg := old.cfg
	cfg.DataDir, cfg.InitialCluster, cfg.Join = t.TempDir(), nil, true
	stranger := newTestNode(t, cfg)
	stranger.mustStart()
	rest := c.without(old)
	for range 20 {
		mustAppend(t, "x", rest...)
	}
	if stranger.ClusterID() != "" || stranger.Stats().LastIndex != 0 {
		t.Fatalf("the stranger is of cluster %q at %d", stranger.ClusterID(), stranger.Stats().LastIndex)
	}
}

// A crash after the members were settled, and one in the middle of writing the
// first entry, are healed by the next start.
func TestBootstrap_CrashBetweenSteps(t *testing.T) {
	tn := newTestNode(t, testConfig(t))
	dir, err := openDataDir(tn.cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	self, err := newIdentity(dir, tn.cfg)
	if err != nil {
		t.Fatal(err)
	}
	members := []initialRecord{{ID: self.nodeID(), Name: self.name, Address: tn.cfg.PeerListen}}
	if err := self.update(func(r *identityRecord) { r.ClusterID, r.Initial = clusterIDOf(members), members }); err != nil {
		t.Fatal(err)
	}
	store, err := openLogStore(dir.file(storeFile), tn.cfg, func(reason string) { t.Error(reason) })
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.checkStamp(self), store.SetUint64([]byte("CurrentTerm"), 1), store.close(), dir.close()); err != nil {
		t.Fatal(err)
	}
	tn.mustStart()
	mustAppend(t, "a", tn)
}

// Two nodes settled the cluster and started; the third told them its id and
// crashed before it knew theirs.
func TestBootstrap_LateNodeTakesSettledMembers(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	late := c.nodes[1]
	dir, err := openDataDir(late.cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	self, err := newIdentity(dir, late.cfg)
	if err != nil {
		t.Fatal(err)
	}
	port, err := listenPeers(late.cfg, self, func() uint64 { return 0 }, func(reason string) { t.Error(reason) })
	if err != nil {
		t.Fatal(err)
	}
	others := c.without(late)
	(&testCluster{t: t, nodes: others}).mustStartAll()
	port.close()
	if err := dir.close(); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, "a", others...)
	late.mustStart()
	late.mustHold("a")
	if late.ID() != self.nodeID() || late.ClusterID() != others[0].ClusterID() {
		t.Errorf("node %s of cluster %s", late.ID(), late.ClusterID())
	}
}

func TestClusterID_DependsOnTheIDsOnly(t *testing.T) {
	a := []initialRecord{{ID: "1", Name: "x"}, {ID: "2", Name: "y"}}
	b := []initialRecord{{ID: "2"}, {ID: "1"}}
	if clusterIDOf(a) != clusterIDOf(b) || clusterIDOf(a) == clusterIDOf(a[:1]) {
		t.Fatal("cluster ids")
	}
}
