package stateserver

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
)

// maxUnanswered bounds the commands of one node that the leader has accepted
// and not answered. Beyond it the stream's own flow control holds them back.
const maxUnanswered = 1024

// localLink proposes on this node, which leads.
type localLink struct {
	store  *raftstore.Store
	ctx    context.Context
	cancel context.CancelFunc
	queue  chan waiting
}

type waiting struct {
	id uint64
	p  raftstore.Pending
	// refused is why the command was not submitted.
	refused *holdfastv1.Error
}

func newLocalLink(ctx context.Context, store *raftstore.Store, settle func(uint64, answer)) *localLink {
	ctx, cancel := context.WithCancel(ctx)
	l := &localLink{store: store, ctx: ctx, cancel: cancel, queue: make(chan waiting, maxUnanswered)}
	go l.wait(settle)
	return l
}

func (l *localLink) send(id uint64, command []byte) error {
	select {
	case l.queue <- waiting{id: id, p: l.store.Submit(l.ctx, command)}:
		return nil
	case <-l.ctx.Done():
		return l.ctx.Err()
	}
}

func (l *localLink) wait(settle func(uint64, answer)) {
	for {
		select {
		case w := <-l.queue:
			a := waitAnswer(l.ctx, w.p)
			if l.ctx.Err() != nil {
				return
			}
			settle(w.id, a)
		case <-l.ctx.Done():
			return
		}
	}
}

func (l *localLink) broken() <-chan struct{} { return l.ctx.Done() }
func (l *localLink) close()                  { l.cancel() }

// waitAnswer waits for the log's answer to a submitted command.
func waitAnswer(ctx context.Context, p raftstore.Pending) answer {
	r, index, err := p.Wait(ctx)
	if err != nil {
		return answer{err: fromStore(err)}
	}
	return answer{result: r, index: index}
}

// remoteLink proposes through another node, which leads.
type remoteLink struct {
	stream internalv1.PeerService_ProposeClient
	cancel context.CancelFunc
	done   chan struct{}
	once   sync.Once
}

func newRemoteLink(ctx context.Context, client internalv1.PeerServiceClient, settle func(uint64, answer)) (*remoteLink, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := client.Propose(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	l := &remoteLink{stream: stream, cancel: cancel, done: make(chan struct{})}
	go l.receive(settle)
	return l, nil
}

func (l *remoteLink) send(id uint64, command []byte) error {
	return l.stream.Send(&internalv1.ProposeRequest{Id: id, Command: command})
}

func (l *remoteLink) receive(settle func(uint64, answer)) {
	defer close(l.done)
	for {
		m, err := l.stream.Recv()
		if err != nil {
			return
		}
		settle(m.Id, answer{result: m.Result, index: m.Index, err: m.Error})
	}
}

func (l *remoteLink) broken() <-chan struct{} { return l.done }
func (l *remoteLink) close()                  { l.once.Do(l.cancel) }

// peerService answers the other nodes.
type peerService struct {
	internalv1.UnimplementedPeerServiceServer
	s *Server
}

// Propose implements internalv1.PeerService.
func (p *peerService) Propose(stream internalv1.PeerService_ProposeServer) error {
	ctx, cancel := context.WithCancel(stream.Context())
	defer cancel()
	queue := make(chan waiting, maxUnanswered)
	sent := make(chan error, 1)
	go func() {
		defer cancel()
		sent <- answerAll(ctx, stream, queue, p.s.lead.answered)
	}()
	for {
		m, err := stream.Recv()
		if err != nil {
			cancel()
			return <-sent
		}
		var cmd internalv1.Command
		if err := proto.Unmarshal(m.Command, &cmd); err != nil {
			cancel() // a peer that sends garbage must not reach the log
			return errors.Join(toStatus(invalid("command", "Propose: the command is no protobuf: "+err.Error())), <-sent)
		}
		w := waiting{id: m.Id, refused: coordinator.Admit(&cmd, p.s.store.ClusterVersion())}
		if w.refused == nil {
			w.p = p.s.store.Submit(ctx, m.Command)
		}
		select {
		case queue <- w:
		case <-ctx.Done():
			return <-sent
		}
	}
}

func answerAll(ctx context.Context, stream internalv1.PeerService_ProposeServer, queue <-chan waiting, answered func(answer)) error {
	for {
		select {
		case w := <-queue:
			a := answer{err: w.refused}
			if w.refused == nil {
				a = waitAnswer(ctx, w.p)
				answered(a)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err := stream.Send(&internalv1.ProposeResponse{Id: w.id, Index: a.index, Result: a.result, Error: a.err}); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ReportStreams implements internalv1.PeerService.
func (p *peerService) ReportStreams(_ context.Context, r *internalv1.ReportStreamsRequest) (*internalv1.ReportStreamsResponse, error) {
	if !p.s.lead.observe(r) {
		return nil, toStatus(noLeader())
	}
	return &internalv1.ReportStreamsResponse{AppliedIndex: p.s.store.AppliedIndex()}, nil
}

// StateHash implements internalv1.PeerService.
func (p *peerService) StateHash(ctx context.Context, r *internalv1.StateHashRequest) (*internalv1.StateHashResponse, error) {
	h, err := p.s.store.StateHash(ctx, r.Index)
	if err != nil {
		return nil, toStatus(fromStore(err))
	}
	return &internalv1.StateHashResponse{Hash: h, RestoredSnapshotIndex: p.s.store.RestoredIndex()}, nil
}
