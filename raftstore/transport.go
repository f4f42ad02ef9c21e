package raftstore

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/raft"
)

// raftStream is the stream layer of Raft's network transport over the peer
// port.
type raftStream struct {
	*connQueue
	port *peerPort
}

// Dial implements raft.StreamLayer. The address is one of joinTarget.
func (s raftStream) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	id, addr, ok := strings.Cut(string(address), "@")
	if !ok {
		return nil, fmt.Errorf("raftstore: address %q names no node", address)
	}
	conn, _, err := s.port.dial(ctx, kindRaft, id, addr)
	return conn, err
}

// transport wraps Raft's network transport in five ways.
//
// It drops the heartbeat handler: the library would call it beside the main
// loop, and then a term can change while entries are written (hashicorp/raft
// issue 695). Heartbeats wait behind the disk instead.
//
// It puts the id of the target into the address, since dialing sees nothing
// else, so that the handshake names the node that is meant. The pool of
// connections is keyed by that address, hence also by id.
//
// It notes when answered heartbeats were sent, for linearizable reads.
//
// It keeps pipelines from waiting for themselves; see pipeline.
//
// It lets no message commit more than it shows to match; see boundCommit.
type transport struct {
	net  *raft.NetworkTransport
	acks *ackClock
}

var (
	_ raft.Transport   = (*transport)(nil)
	_ raft.WithPreVote = (*transport)(nil)
	_ raft.WithClose   = (*transport)(nil)
)

// maxPooledConns is the number of idle connections kept for each peer: one for
// heartbeats, one for replication, one for votes.
const maxPooledConns = 3

func newTransport(port *peerPort, cfg Config) *transport {
	return &transport{
		acks: newAckClock(),
		net: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream:  raftStream{connQueue: port.raft, port: port},
			MaxPool: maxPooledConns,
			Timeout: cfg.PeerTimeout,
			Logger:  newHclog(cfg.Logger.With("component", "raft-transport")),
		}),
	}
}

// joinTarget makes the address that raftStream.Dial takes apart.
func joinTarget(id raft.ServerID, addr raft.ServerAddress) raft.ServerAddress {
	return raft.ServerAddress(id) + "@" + addr
}

// SetHeartbeatHandler implements raft.Transport and does nothing on purpose.
func (t *transport) SetHeartbeatHandler(func(raft.RPC)) {}

// Consumer implements raft.Transport.
func (t *transport) Consumer() <-chan raft.RPC { return t.net.Consumer() }

// LocalAddr implements raft.Transport with the advertised address.
func (t *transport) LocalAddr() raft.ServerAddress { return t.net.LocalAddr() }

// EncodePeer implements raft.Transport with the plain address.
func (t *transport) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte { return []byte(addr) }

// DecodePeer implements raft.Transport.
func (t *transport) DecodePeer(b []byte) raft.ServerAddress { return raft.ServerAddress(b) }

// AppendEntriesPipeline implements raft.Transport.
func (t *transport) AppendEntriesPipeline(id raft.ServerID, target raft.ServerAddress) (raft.AppendPipeline, error) {
	p, err := t.net.AppendEntriesPipeline(id, joinTarget(id, target))
	if err != nil {
		return nil, err
	}
	return newPipeline(p), nil
}

// boundCommit keeps the commit index of a message at the last entry that the
// message shows to match (the Raft paper, figure 2: the index of the last new
// entry). The library's follower bounds it by the end of its own log instead. A
// leader that was replaced has uncommitted entries at that end; a message that
// matches before them, sent while the new leader's commit index had moved past
// them, would make it apply entries that were never committed.
func boundCommit(args *raft.AppendEntriesRequest) {
	args.LeaderCommitIndex = min(args.LeaderCommitIndex, args.PrevLogEntry+uint64(len(args.Entries)))
}

// AppendEntries implements raft.Transport.
func (t *transport) AppendEntries(id raft.ServerID, target raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	sent := time.Now()
	boundCommit(args)
	err := t.net.AppendEntries(id, joinTarget(id, target), args, resp)
	if err == nil && resp.Success && resp.Term == args.Term {
		t.acks.record(id, args.Term, sent)
	}
	return err
}

// RequestVote implements raft.Transport.
func (t *transport) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return t.net.RequestVote(id, joinTarget(id, target), args, resp)
}

// RequestPreVote implements raft.WithPreVote.
func (t *transport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return t.net.RequestPreVote(id, joinTarget(id, target), args, resp)
}

// InstallSnapshot implements raft.Transport.
func (t *transport) InstallSnapshot(id raft.ServerID, target raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.net.InstallSnapshot(id, joinTarget(id, target), args, resp, data)
}

// TimeoutNow implements raft.Transport.
func (t *transport) TimeoutNow(id raft.ServerID, target raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return t.net.TimeoutNow(id, joinTarget(id, target), args, resp)
}

// Close implements raft.WithClose.
func (t *transport) Close() error {
	err := t.net.Close()
	t.net.CloseStreams()
	return err
}
