package raftstore

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// handoff is a pipeline as the library's: a send is handed to a decoder, which
// hands the answer on, and neither channel has room.
type handoff struct {
	sent, answered chan raft.AppendFuture
	closed         chan struct{}
}

func newHandoff() *handoff {
	h := &handoff{sent: make(chan raft.AppendFuture), answered: make(chan raft.AppendFuture), closed: make(chan struct{})}
	go func() {
		for {
			select {
			case f := <-h.sent:
				select {
				case h.answered <- f:
				case <-h.closed:
					return
				}
			case <-h.closed:
				return
			}
		}
	}()
	return h
}

type reply struct {
	raft.AppendFuture
	n int
}

func (h *handoff) AppendEntries(args *raft.AppendEntriesRequest, _ *raft.AppendEntriesResponse) (raft.AppendFuture, error) {
	f := reply{n: int(args.Term)}
	select {
	case h.sent <- f:
		return f, nil
	case <-h.closed:
		return nil, raft.ErrPipelineShutdown
	}
}

func (h *handoff) Consumer() <-chan raft.AppendFuture { return h.answered }

func (h *handoff) Close() error {
	close(h.closed)
	return nil
}

// A sender is never held up by answers that nobody reads (hashicorp/raft issue
// 612), and those that are read come in their order.
func TestPipeline_SendsWithoutAReader(t *testing.T) {
	p := newPipeline(newHandoff())
	const sends = 100
	done := make(chan error, 1)
	go func() {
		for n := range sends {
			if _, err := p.AppendEntries(&raft.AppendEntriesRequest{Term: uint64(n)}, nil); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("a send waits for somebody to read answers")
	}
	for n := range sends {
		if f := <-p.Consumer(); f.(reply).n != n {
			t.Fatalf("answer %d came in the place of %d", f.(reply).n, n)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}
