package raftstore

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// checkForeign refuses a data directory of another cluster than the one that the
// node was told of: initial-cluster is not looked at once there is a cluster, so
// that nobody would notice. Where the list is the one that the directory was made
// with, nobody is asked. Otherwise the members may have changed since, so one that
// is of this cluster outweighs all that are not, and who is silent counts for
// nothing.
//
// Error: ErrWrongCluster.
func (n *Node) checkForeign(ctx context.Context) error {
	rec := n.self.record()
	var made []InitialMember
	for _, m := range rec.Initial {
		made = append(made, InitialMember{Name: m.Name, Address: m.Address})
	}
	if len(n.cfg.InitialCluster) == 0 || canonicalList(made) == canonicalList(n.cfg.InitialCluster) {
		return nil
	}
	var foreign error
	for _, m := range n.askInitial(ctx) {
		switch m.clusterID {
		case rec.ClusterID:
			return nil
		case "":
		default:
			foreign = fmt.Errorf("%w: the data directory %s is of cluster %s, and %s at %s, which is in initial-cluster, of cluster %s: "+
				"give this node its own directory; to make it a member of that cluster, start it with --join on an empty one and add it",
				ErrWrongCluster, n.dir.path, rec.ClusterID, m.Name, m.Address, m.clusterID)
		}
	}
	return foreign
}

// foundMember is one of initial-cluster with the cluster that it says it is of.
type foundMember struct {
	InitialMember
	clusterID string
}

// foreignLimit bounds the wait for members that are silent. One that is down refuses
// at once.
const foreignLimit = 5 * time.Second

// askInitial asks all others of initial-cluster at once and returns those that
// answer within foreignLimit, in the order of the list.
func (n *Node) askInitial(ctx context.Context) []foundMember {
	ctx, cancel := context.WithTimeout(ctx, foreignLimit)
	defer cancel()
	var wg sync.WaitGroup
	answers := make([]*foundMember, len(n.cfg.InitialCluster))
	for i, m := range n.cfg.InitialCluster {
		if m.Name == n.self.name {
			continue
		}
		wg.Go(func() {
			if h, err := n.port.askHello(ctx, "", m.Address); err == nil {
				answers[i] = &foundMember{m, h.ClusterID}
			}
		})
	}
	wg.Wait()
	var found []foundMember
	for _, a := range answers {
		if a != nil {
			found = append(found, *a)
		}
	}
	return found
}
