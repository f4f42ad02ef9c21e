package raftstore

import (
	"fmt"
	"maps"
	"sync"

	"github.com/holdfast-io/holdfast/coordinator"
)

// identity is what a node knows about itself, and the names of others: to show
// them, and with TLS to compare them with certificates. It is safe for concurrent
// use.
type identity struct {
	dir     *dataDir
	name    string
	list    string // canonical list of initial members
	joining bool
	// versions are the cluster versions that this node supports.
	versions coordinator.Versions

	mu    sync.Mutex
	rec   identityRecord
	names map[string]string // node id to name, learned from handshakes
}

func newIdentity(dir *dataDir, cfg Config) (*identity, error) {
	rec, err := dir.loadIdentity()
	if err != nil {
		return nil, err
	}
	name := cfg.NodeName
	if name == "" {
		name = "node-" + rec.NodeID[:min(8, len(rec.NodeID))]
	}
	id := &identity{dir: dir, name: name, list: rec.Seed.mark(canonicalList(cfg.InitialCluster)), joining: cfg.Join, versions: cfg.Versions, rec: rec, names: map[string]string{}}
	for _, m := range rec.Initial {
		id.names[m.ID] = m.Name
	}
	id.names[rec.NodeID] = name
	if v := id.clusterVersion(); v != 0 {
		if err := id.versions.Check(v); err != nil {
			return nil, fmt.Errorf("raftstore: start on %s: %w", dir.path, err)
		}
	}
	return id, nil
}

// clusterVersion is the committed cluster version as far as this node has
// applied it; 0 for a node that has no cluster yet.
func (i *identity) clusterVersion() uint32 {
	rec := i.record()
	if rec.ClusterID == "" {
		return 0
	}
	return max(rec.ClusterVersion, coordinator.FirstVersion)
}

// noteClusterVersion puts a version that was applied on disk.
func (i *identity) noteClusterVersion(v uint32) error {
	if v <= max(i.record().ClusterVersion, coordinator.FirstVersion) {
		return nil
	}
	return i.update(func(r *identityRecord) { r.ClusterVersion = v })
}

func (i *identity) record() identityRecord {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.rec
}

func (i *identity) nodeID() string    { return i.record().NodeID }
func (i *identity) clusterID() string { return i.record().ClusterID }

// update changes the record on disk first, so that nobody acts on what a crash
// would take back.
func (i *identity) update(change func(*identityRecord)) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	rec := i.rec
	change(&rec)
	if err := i.dir.saveIdentity(rec); err != nil {
		return err
	}
	i.rec = rec
	for _, m := range rec.Initial {
		i.names[m.ID] = m.Name
	}
	return nil
}

// adopt makes a joining node part of the cluster whose leader called it by its
// random id, which only someone who was told to add it knows.
func (i *identity) adopt(clusterID string) error {
	if err := i.update(func(r *identityRecord) {
		if r.ClusterID == "" {
			r.ClusterID = clusterID
		}
	}); err != nil {
		return err
	}
	if got := i.clusterID(); got != clusterID {
		return fmt.Errorf("%w: node is of cluster %s, not %s", ErrWrongCluster, got, clusterID)
	}
	return nil
}

func (i *identity) learnName(id, name string) {
	if id == "" || name == "" {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	// The bound keeps strangers at the peer port from filling the memory.
	if _, known := i.names[id]; known || len(i.names) < maxLearnedNames {
		i.names[id] = name
	}
}

const maxLearnedNames = 256

func (i *identity) allNames() map[string]string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Clone(i.names)
}

// hello is what this node answers to everyone.
func (i *identity) hello(applied uint64) hello {
	rec := i.record()
	return hello{
		NodeID: rec.NodeID, Name: i.name, ClusterID: rec.ClusterID, List: i.list, Applied: applied, Initial: rec.Initial,
		Versions: i.spokenVersions(),
	}
}

func (i *identity) spokenVersions() spokenVersions {
	return spokenVersions{Versions: i.versions, Cluster: i.clusterVersion()}
}

// judgeVersions refuses a connection between nodes of which one does not support
// the cluster version that the other one has applied.
func (i *identity) judgeVersions(theirs spokenVersions) (answerCode, string) {
	own := i.spokenVersions()
	if own.Cluster != 0 {
		if err := theirs.Check(own.Cluster); err != nil {
			return answerDialerVersion, err.Error()
		}
	}
	if theirs.Cluster != 0 {
		if err := own.Check(theirs.Cluster); err != nil {
			return answerOwnVersion, err.Error()
		}
	}
	return answerOK, ""
}

// judge decides about a connection from its greeting.
func (i *identity) judge(g greeting) (answerCode, string) {
	rec := i.record()
	if g.Kind != kindRaft && g.Kind != kindRPC && g.Kind != kindHello {
		return answerBadKind, fmt.Sprintf("connection kind %d is not known", g.Kind)
	}
	if g.To != rec.NodeID && (g.To != "" || g.Kind != kindHello) {
		return answerWrongTarget, fmt.Sprintf("node %s (%s) answers here, not %s: a node that lost its data directory is a new member", rec.NodeID, i.name, g.To)
	}
	if rec.Removed {
		return answerRemoved, fmt.Sprintf("node %s (%s) was removed from cluster %s: start it with an empty data directory and add it as a new member", rec.NodeID, i.name, rec.ClusterID)
	}
	if g.Kind == kindHello {
		return answerOK, ""
	}
	if code, why := i.judgeVersions(g.Versions); code != answerOK {
		return code, why
	}
	if rec.ClusterID == "" && i.joining && g.Kind == kindRaft && g.ClusterID != "" {
		if err := i.adopt(g.ClusterID); err != nil {
			return answerNotReady, err.Error()
		}
		return answerOK, ""
	}
	if rec.ClusterID == "" {
		return answerNotReady, fmt.Sprintf("node %s (%s) waits for its first members, or to be added", rec.NodeID, i.name)
	}
	if g.ClusterID != rec.ClusterID {
		return answerWrongCluster, fmt.Sprintf("node %s (%s) is of cluster %s, the dialer of %q: mend the address if it leads to the wrong node; "+
			"one that is to change its cluster needs an empty data directory and --join", rec.NodeID, i.name, rec.ClusterID, g.ClusterID)
	}
	return answerOK, ""
}
