package stateserver

import (
	"bytes"
	"context"
	"log/slog"
	"runtime"
	"testing"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// TestSplitHandles_EveryPartFits and together they are what was split.
func TestSplitHandles_EveryPartFits(t *testing.T) {
	big := make([]byte, 3*raftstore.MaxPayload)
	for i := range big {
		big[i] = byte(i * 7)
	}
	handles := []*holdfastv1.StateHandle{
		{Name: "a", Format: "f", Size: 3, Inline: []byte("abc")},
		{Name: "big", Format: "f", Size: uint64(len(big)), Inline: big},
		{Name: "empty", Format: "f"},
	}
	for range 3000 {
		handles = append(handles, &holdfastv1.StateHandle{File: "shared/1-2-3-file", Size: 9, Sha256: make([]byte, 32), Format: "f", Name: "file", Shared: true})
	}
	var joined []*holdfastv1.StateHandle
	for i, part := range splitHandles(handles) {
		if n := proto.Size(&holdfastv1.SubtaskAck{Handles: part}); n > partBytes {
			t.Errorf("part %d has %d bytes, at most %d are allowed", i, n, partBytes)
		}
		for _, h := range part {
			if n := len(joined); n > 0 && joined[n-1].Name == h.Name && h.File == "" && uint64(len(joined[n-1].Inline)) < joined[n-1].Size {
				joined[n-1].Inline = append(joined[n-1].Inline, h.Inline...)
				continue
			}
			joined = append(joined, proto.CloneOf(h))
		}
	}
	if len(joined) != len(handles) {
		t.Fatalf("%d handles, put together %d", len(handles), len(joined))
	}
	for i := range handles {
		if joined[i].Name != handles[i].Name || joined[i].Size != handles[i].Size || !bytes.Equal(joined[i].Inline, handles[i].Inline) {
			t.Fatalf("handle %d, %s: %d of %d bytes", i, handles[i].Name, len(joined[i].Inline), joined[i].Size)
		}
	}
	if parts := splitHandles(nil); len(parts) != 1 || len(parts[0]) != 0 {
		t.Errorf("no handles make %d parts, want an empty one", len(parts))
	}
}

// stateStub is a State of which only Close is called.
type stateStub struct {
	backend.State
	closed chan struct{}
}

func (s stateStub) Close() error {
	close(s.closed)
	return nil
}

func stubHosted(t *testing.T) (*hosted, stateStub) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	h := &hosted{tasks: make(chan task, hostedQueue), ctx: ctx, stop: stop, ended: make(chan struct{}), log: slog.New(slog.DiscardHandler)}
	h.owner.Store(7)
	st := stateStub{closed: make(chan struct{})}
	go h.run(st)
	t.Cleanup(h.close)
	return h, st
}

// TestHosted_MovesBetweenFrames: the frame in hand is done before another attempt
// begins; those of the old one behind it, and any that comes later, are not begun
// (rules H3 and H4 of docs/model).
func TestHosted_MovesBetweenFrames(t *testing.T) {
	h, _ := stubHosted(t)
	inHand, goOn := make(chan struct{}), make(chan struct{})
	var done []string // written by the state's goroutine alone
	h.submit(7, func(backend.State) {
		close(inHand)
		<-goOn
		done = append(done, "in hand")
	})
	<-inHand
	h.submit(7, func(backend.State) { done = append(done, "queued") })
	moved := make(chan error)
	go func() { moved <- h.move(t.Context(), 9) }()
	for h.owner.Load() != 0 { // the old attempt is closed at once
		runtime.Gosched()
	}
	close(goOn)
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	h.submit(7, func(backend.State) { done = append(done, "late") })
	h.submit(9, func(backend.State) { done = append(done, "new") })
	if err := h.ask(t.Context(), func(backend.State) { done = append(done, "tool") }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"in hand", "new", "tool"}; len(done) != 3 || done[0] != want[0] || done[1] != want[1] || done[2] != want[2] {
		t.Errorf("done: %v, want %v", done, want)
	}
}

// TestHosted_CloseWaitsForTheFrameInHand and nothing is done after it.
func TestHosted_CloseWaitsForTheFrameInHand(t *testing.T) {
	h, st := stubHosted(t)
	inHand, goOn := make(chan struct{}), make(chan struct{})
	finished := false
	h.submit(7, func(backend.State) {
		close(inHand)
		<-goOn
		finished = true
	})
	<-inHand
	closed := make(chan struct{})
	go func() {
		h.close()
		close(closed)
	}()
	select {
	case <-st.closed:
		t.Fatal("the state was closed under a frame")
	default:
	}
	close(goOn)
	<-closed
	if !finished {
		t.Error("close did not wait for the frame in hand")
	}
	h.submit(7, func(backend.State) { t.Error("a frame was begun after close") })
	if err := h.ask(t.Context(), func(backend.State) {}); err == nil {
		t.Error("a closed state answers")
	}
}
