package raftstore

import (
	"sync"

	"github.com/hashicorp/raft"
)

// pipeline keeps a replicator of the Raft library from waiting for itself
// (hashicorp/raft issue 612, open).
//
// The library reads the answers of a pipeline in one goroutine, which ends at
// the first answer that is no success, and sends in another one, which learns of
// that end only between two sends. A send that begins in this moment hands its
// request to a decoder that waits to hand on an answer that nobody reads: both
// wait for ever. That follower gets heartbeats and never another entry until the
// leader is started anew, and a node that led cannot be stopped.
//
// So answers are taken from the decoder at once and kept until they are read. A
// send then waits for one answer from the network, which has a timeout.
type pipeline struct {
	raft.AppendPipeline
	answers chan raft.AppendFuture
	closed  chan struct{}
	once    sync.Once
}

func newPipeline(inner raft.AppendPipeline) *pipeline {
	p := &pipeline{AppendPipeline: inner, answers: make(chan raft.AppendFuture), closed: make(chan struct{})}
	go p.forward()
	return p
}

// forward moves answers in their order. What is kept is bounded by the sends
// after the reader's end, of which there are few.
func (p *pipeline) forward() {
	var kept []raft.AppendFuture
	for {
		var out chan<- raft.AppendFuture
		var next raft.AppendFuture
		if len(kept) > 0 {
			out, next = p.answers, kept[0]
		}
		select {
		case f := <-p.AppendPipeline.Consumer():
			kept = append(kept, f)
		case out <- next:
			kept = kept[1:]
		case <-p.closed:
			return
		}
	}
}

// AppendEntries implements raft.AppendPipeline.
func (p *pipeline) AppendEntries(args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	boundCommit(args)
	return p.AppendPipeline.AppendEntries(args, resp)
}

// Consumer implements raft.AppendPipeline.
func (p *pipeline) Consumer() <-chan raft.AppendFuture { return p.answers }

// Close implements raft.AppendPipeline.
func (p *pipeline) Close() error {
	p.once.Do(func() { close(p.closed) })
	return p.AppendPipeline.Close()
}
