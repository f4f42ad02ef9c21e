package stateserver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// Directories are tried out when a job is submitted, so that a wrong one is told to
// whoever can mend it, and not to a checkpoint in the night.

// The bounds of trying a directory, and of the answer of another node.
const (
	probeWait = 5 * time.Second
	askWait   = time.Second
)

// The files of a try are in a directory of their own, so that those of a node that was
// killed are found without looking through all jobs. They count as left at an age that
// no two clocks differ by.
const (
	probesDir = "probes"
	probeAge  = time.Hour
)

// checkDirectories refuses directories that this node does not allow.
func (s *Server) checkDirectories(urls ...string) *holdfastv1.Error {
	for _, url := range urls {
		if url == "" {
			continue
		}
		if s.cfg.Storages == nil {
			return fromStorage("the directory cannot be used", fmt.Errorf("%w: directory %s: this node has no checkpoint storage", storage.ErrRefused, url))
		}
		if _, _, err := s.cfg.Storages.Check(url); err != nil {
			return fromStorage("the directory cannot be used", err)
		}
	}
	return nil
}

// tryDirectory tries the checkpoint directory of a job that is not there yet: this
// node writes and reads a file, and every other node that answers must see it. A
// storage that does not answer keeps no job from its work: it may be back for the
// first checkpoint.
func (s *Server) tryDirectory(ctx context.Context, spec *holdfastv1.JobSpec) *holdfastv1.Error {
	url := spec.Checkpoint.GetDirectory()
	if url == "" || s.goesOn(spec.Name) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, probeWait)
	defer cancel()
	dir, err := s.cfg.Storages.Open(ctx, url)
	if err != nil {
		return s.unusable("", url, err.Error(), storage.Permanent(err))
	}
	defer dir.Close()
	probes := storage.Sub(dir, probesDir)
	if err := storage.Probe(ctx, probes); err != nil {
		return s.unusable("", url, err.Error(), storage.Permanent(err))
	}
	mark, err := storage.PlantMark(ctx, probes)
	if err != nil {
		return s.unusable("", url, err.Error(), storage.Permanent(err))
	}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeWait)
		defer cancel()
		err := errors.Join(probes.Delete(clean, mark), deleteProbes(clean, dir, s.clock.now()))
		if err != nil {
			s.log.Warn("a file that was to show whether a checkpoint directory can be used is left there", "path", probes.URL(), "err", err)
		}
	}()
	return s.askDirectories(ctx, url, probesDir+"/"+mark)
}

// deleteProbes deletes what nodes have left that were killed while they tried a
// directory.
func deleteProbes(ctx context.Context, dir storage.Storage, now time.Time) error {
	before := now.Add(-probeAge)
	probes := storage.Sub(dir, probesDir)
	for info, err := range probes.List(ctx, "") {
		if err == nil && info.Modified.Before(before) {
			err = probes.Delete(ctx, info.Name)
		}
		if err != nil {
			return err
		}
	}
	_, err := probes.DeleteUnfinished(ctx, "", before)
	return err
}

// askDirectories asks all other nodes at once.
func (s *Server) askDirectories(ctx context.Context, url, mark string) *holdfastv1.Error {
	members := s.store.Members()
	problems := make([]*holdfastv1.Error, len(members))
	var wg sync.WaitGroup
	for i, m := range members {
		if m.ID != s.store.ID() {
			wg.Go(func() { problems[i] = s.askDirectory(ctx, m.ID, url, mark) })
		}
	}
	wg.Wait()
	for _, e := range problems {
		if e != nil {
			return e
		}
	}
	return nil
}

// goesOn tells whether a job of this name is there to be joined.
func (s *Server) goesOn(name string) (there bool) {
	s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) {
		id, e := m.JobID(name)
		st, _, ok := m.JobStatusOf(id)
		there = e == nil && ok && !coordinator.Ended(st)
	})
	return there
}

// askDirectory asks another node. One that does not answer is left out: it may be down
// for long, and the job need not wait for it.
func (s *Server) askDirectory(ctx context.Context, node, url, mark string) *holdfastv1.Error {
	conn, err := s.peers.conn(node)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	r, err := internalv1.NewPeerServiceClient(conn).CheckDirectory(ctx, &internalv1.CheckDirectoryRequest{Url: url, Mark: mark})
	switch {
	case err != nil:
		if status.Code(err) != codes.Unimplemented {
			s.log.Warn("a node did not say whether it sees a checkpoint directory", "node_id", node, "path", url, "err", err)
		}
		return nil
	case r.Problem == "":
		return nil
	}
	name := node
	s.store.Read(func(m *coordinator.Machine, _ *keyed.Store) {
		if n := m.NodeOf(node); n.GetName() != "" {
			name = n.GetName()
		}
	})
	return s.unusable(" on node "+name, url, r.Problem, !r.Transient)
}

// unusable is the answer to who submits a job with a directory that will not do.
func (s *Server) unusable(where, url, problem string, forGood bool) *holdfastv1.Error {
	if !forGood {
		s.log.Warn("a checkpoint directory does not answer"+where, "path", url, "err", problem)
		return nil
	}
	return coordinator.Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_JOB_SPEC,
		"the checkpoint directory cannot be used"+where+": "+problem, "field", "checkpoint.directory", "path", url)
}

// CheckDirectory implements internalv1.PeerServiceServer.
func (p *peerService) CheckDirectory(ctx context.Context, r *internalv1.CheckDirectoryRequest) (*internalv1.CheckDirectoryResponse, error) {
	if p.s.cfg.Storages == nil {
		return &internalv1.CheckDirectoryResponse{Problem: "this node has no checkpoint storage"}, nil
	}
	dir, err := p.s.cfg.Storages.Open(ctx, r.Url)
	if err == nil {
		defer dir.Close()
		err = storage.CheckMark(ctx, dir, r.Mark)
	}
	if err != nil {
		return &internalv1.CheckDirectoryResponse{Problem: err.Error(), Transient: !storage.Permanent(err)}, nil
	}
	return &internalv1.CheckDirectoryResponse{}, nil
}
