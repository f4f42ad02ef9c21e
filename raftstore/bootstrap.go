package raftstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// pollHello is how often a node asks again what it waits for from others.
const pollHello = 50 * time.Millisecond

// firstTell and tellMissing are when, and then how often, a node says for whom it
// waits.
const firstTell, tellMissing = 2 * time.Second, 10 * time.Second

// canonicalList writes a member list so that equal lists are equal strings:
// sorted by name, "name=address" joined by commas.
func canonicalList(members []InitialMember) string {
	parts := make([]string, 0, len(members))
	for _, m := range members {
		parts = append(parts, m.Name+"="+m.Address)
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// clusterIDOf derives the id of a cluster from the node ids of its first
// members, so that all of them find the same one without a leader.
func clusterIDOf(members []initialRecord) string {
	ids := make([]string, 0, len(members))
	for _, m := range members {
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	sum := sha256.Sum256([]byte(strings.Join(ids, "\n")))
	return hex.EncodeToString(sum[:16])
}

// formation finds out the node ids of the first members. Every node does it for
// itself; what they find is the same because each id is fixed on disk before it
// is told to anyone.
type formation struct {
	members []InitialMember
	self    *identity
	said    time.Time        // when it was last told who is missing
	why     map[string]error // by name: what became of the last question
	ask     func(ctx context.Context, address string) (hello, error)
	logger  *slog.Logger
}

// run returns the first members, sorted by id, when all have answered with the
// same list, or when one of them has settled it before with this node in it.
//
// Errors: ErrInitialClusterMismatch, ErrNotMember, ErrTimeout.
func (f *formation) run(ctx context.Context) ([]initialRecord, error) {
	// A cluster that is started all at once needs no warning.
	f.said, f.why = time.Now().Add(firstTell-tellMissing), map[string]error{}
	found := map[string]initialRecord{f.self.name: {ID: f.self.nodeID(), Name: f.self.name}}
	for {
		settled, err := f.round(ctx, found)
		if settled != nil || err != nil {
			return settled, err
		}
		if len(found) == len(f.members) {
			return f.settle(found), nil
		}
		select {
		case <-ctx.Done():
			return nil, timeoutError(ctx, "hello from initial members "+f.missing(found))
		case <-time.After(pollHello):
		}
	}
}

// round asks all members that have not answered yet, at once.
func (f *formation) round(ctx context.Context, found map[string]initialRecord) ([]initialRecord, error) {
	type reply struct {
		m   InitialMember
		h   hello
		err error
	}
	var wg sync.WaitGroup
	replies := make(chan reply, len(f.members))
	for _, m := range f.members {
		if _, ok := found[m.Name]; ok {
			continue
		}
		wg.Go(func() {
			h, err := f.ask(ctx, m.Address)
			replies <- reply{m: m, h: h, err: err}
		})
	}
	wg.Wait()
	close(replies)
	tell := time.Since(f.said) > tellMissing
	for r := range replies {
		if r.err == nil && !f.meant(r.h) {
			r.err = fmt.Errorf("%w: %s answers there, of cluster %s, whose first members are [%s] and not those of this node's initial-cluster: "+
				"stop it, or mend the address", ErrWrongCluster, r.h.Name, r.h.ClusterID, recordList(r.h.Initial))
		}
		// A question that was broken off tells less than the one before.
		if ctx.Err() == nil || f.why[r.m.Name] == nil {
			f.why[r.m.Name] = r.err
		}
		if r.err != nil {
			if tell {
				f.said = time.Now()
				f.logger.Warn("waiting for a member of initial-cluster", "member", r.m.Name, "address", r.m.Address, "err", r.err)
			}
			continue
		}
		settled, err := f.check(r.m, r.h)
		if settled != nil || err != nil {
			return settled, err
		}
		found[r.m.Name] = initialRecord{ID: r.h.NodeID, Name: r.m.Name, Address: r.m.Address}
	}
	return nil, nil
}

// meant tells whether an answer can be of the cluster that this node's list names.
// A cluster that is settled is another one if its first members are neither all in
// the list nor have this node's entry: then somebody else has the address, perhaps
// not for long, and nothing is said about this node.
func (f *formation) meant(h hello) bool {
	if h.ClusterID == "" || len(h.Initial) == 0 || h.List == f.self.list {
		return true
	}
	listed := func(r initialRecord) bool {
		return slices.Contains(f.members, InitialMember{Name: r.Name, Address: r.Address})
	}
	own := func(r initialRecord) bool { return r.ID == f.self.nodeID() || r.Name == f.self.name && listed(r) }
	return slices.ContainsFunc(h.Initial, own) || !slices.ContainsFunc(h.Initial, func(r initialRecord) bool { return !listed(r) })
}

// recordList writes first members as canonicalList does.
func recordList(records []initialRecord) string {
	var members []InitialMember
	for _, r := range records {
		members = append(members, InitialMember{Name: r.Name, Address: r.Address})
	}
	return canonicalList(members)
}

// check compares one answer with what this node was told. It returns the
// settled members if the answering node already has a cluster with this one.
func (f *formation) check(m InitialMember, h hello) ([]initialRecord, error) {
	own := f.self.nodeID()
	if h.ClusterID != "" {
		if slices.ContainsFunc(h.Initial, func(r initialRecord) bool { return r.ID == own }) {
			return h.Initial, nil
		}
		return nil, fmt.Errorf("%w: %s at %s already belongs to cluster %s, which does not know this node's id %s. "+
			"A node with a new or emptied data directory is a new member: remove the old one if there is one, start this node to join, and add it",
			ErrNotMember, m.Name, m.Address, h.ClusterID, own)
	}
	if h.List != f.self.list {
		return nil, fmt.Errorf("%w: %s at %s was started with [%s], %s (this node) with [%s]; give all of them the same initial-cluster and start those that differ again",
			ErrInitialClusterMismatch, h.Name, m.Address, h.List, f.self.name, f.self.list)
	}
	if h.Name != m.Name || h.NodeID == own {
		return nil, fmt.Errorf("%w: at %s answers %s, %s (this node) expects %s there; each node needs the name and the address that initial-cluster gives it",
			ErrInitialClusterMismatch, m.Address, h.Name, f.self.name, m.Name)
	}
	return nil, nil
}

// settle sorts the members, so that all nodes write the same bytes.
func (f *formation) settle(found map[string]initialRecord) []initialRecord {
	var members []initialRecord
	for _, m := range f.members {
		members = append(members, initialRecord{ID: found[m.Name].ID, Name: m.Name, Address: m.Address})
	}
	slices.SortFunc(members, func(a, b initialRecord) int { return strings.Compare(a.ID, b.ID) })
	return members
}

func (f *formation) missing(found map[string]initialRecord) string {
	var names []string
	for _, m := range f.members {
		if _, ok := found[m.Name]; ok {
			continue
		}
		name := m.Name + " at " + m.Address
		if err := f.why[m.Name]; err != nil {
			name += fmt.Sprintf(" (%v)", err)
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// ensureCluster sees to it that a node that does not join has a cluster id and
// first members on disk.
func (n *Node) ensureCluster(ctx context.Context) error {
	if n.self.clusterID() != "" {
		return n.checkForeign(ctx)
	}
	if n.cfg.Join {
		if n.self.record().Seed != nil {
			return fmt.Errorf("%w: %s was made from a snapshot, which begins a cluster of its own: start it without join", ErrDataDirCorrupt, n.dir.path)
		}
		return nil
	}
	members := []initialRecord{{ID: n.ID(), Name: n.self.name, Address: n.Address()}}
	if len(n.cfg.InitialCluster) > 0 {
		f := &formation{members: n.cfg.InitialCluster, self: n.self, logger: n.logger,
			ask: func(ctx context.Context, address string) (hello, error) { return n.port.askHello(ctx, "", address) }}
		var err error
		if members, err = f.run(ctx); err != nil {
			return err
		}
	}
	// On disk before the log is touched: a crash in between is healed by
	// bootstrapping again with exactly these members.
	return n.self.update(func(r *identityRecord) {
		r.ClusterID, r.Initial = clusterIDOf(members), members
	})
}

// ensureBootstrap writes the first configuration into an empty log. All first
// members write the same bytes at index 1 in term 1.
func (n *Node) ensureBootstrap(rc *raft.Config, snaps raft.SnapshotStore) error {
	initial := n.self.record().Initial
	if len(initial) == 0 {
		return nil
	}
	var configuration raft.Configuration
	for _, m := range initial {
		configuration.Servers = append(configuration.Servers, raft.Server{Suffrage: raft.Voter, ID: raft.ServerID(m.ID), Address: raft.ServerAddress(m.Address)})
	}
	if seed := n.self.record().Seed; seed != nil {
		return n.plant(seed, configuration, snaps)
	}
	err := raft.BootstrapCluster(rc, n.log, n.store, snaps, n.transport, configuration)
	if !errors.Is(err, raft.ErrCantBootstrap) {
		return err
	}
	last, err := n.store.LastIndex()
	if err != nil || last > 0 {
		return err
	}
	if list, err := snaps.List(); err != nil || len(list) > 0 {
		return err
	}
	// The library stores the term first and the entry second: a crash came
	// between the two.
	return n.store.StoreLog(&raft.Log{Index: 1, Term: 1, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(configuration)})
}
