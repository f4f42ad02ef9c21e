package stateserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"syscall"
	"testing"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore"
	"github.com/holdfast-io/holdfast/stateserver/backend"
	"github.com/holdfast-io/holdfast/stateserver/storage"
	"github.com/holdfast-io/holdfast/stateserver/storage/file"
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
	h := &hosted{tasks: make(chan task, hostedQueue), asks: make(chan func(backend.State)), ctx: ctx, stop: stop, ended: make(chan struct{}), log: slog.New(slog.DiscardHandler)}
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
	begun := make(chan struct{})
	h.submit(9, func(backend.State) {
		done = append(done, "new")
		close(begun)
	})
	<-begun
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

// TestHosted_ToolsTakeNoRoom: however many tools wait for a state that stalls, the
// reader of a stream, which holds its lock, never waits; and who gave up is not served.
func TestHosted_ToolsTakeNoRoom(t *testing.T) {
	h, _ := stubHosted(t)
	inHand, goOn := make(chan struct{}), make(chan struct{})
	h.submit(7, func(backend.State) {
		close(inHand)
		<-goOn
	})
	<-inHand
	ctx, giveUp := context.WithCancel(t.Context())
	answers := make(chan error)
	const tools = 2 * hostedQueue
	for range tools {
		go func() {
			answers <- h.ask(ctx, func(backend.State) { t.Error("a tool that gave up is served") })
		}()
	}
	done := make(chan struct{})
	for i := range hostedQueue {
		h.submit(7, func(backend.State) {
			if i == hostedQueue-1 {
				close(done)
			}
		})
	}
	giveUp()
	for range tools {
		if err := <-answers; err == nil {
			t.Error("a state that stalls answers")
		}
	}
	close(goOn)
	<-done
}

// TestHosted_MoveMakesRoom: what waited for an attempt that is over does not stand in
// the way of the next one.
func TestHosted_MoveMakesRoom(t *testing.T) {
	h, _ := stubHosted(t)
	inHand, goOn := make(chan struct{}), make(chan struct{})
	h.submit(7, func(backend.State) {
		close(inHand)
		<-goOn
	})
	<-inHand
	for range hostedQueue {
		h.submit(7, func(backend.State) { t.Error("a task of an attempt that is over is begun") })
	}
	moved := make(chan error)
	go func() { moved <- h.move(t.Context(), 9) }()
	for h.owner.Load() != 0 {
		runtime.Gosched()
	}
	close(goOn)
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	h.submit(9, func(backend.State) { close(done) })
	<-done
}

// TestLost_SaysWhoseFaultItIs: only what no other host can mend suspends a job.
func TestLost_SaysWhoseFaultItIs(t *testing.T) {
	of := func(kind error) error {
		return fmt.Errorf("restore: %w", &storage.Error{Op: "read", URL: "file:///x", Kind: kind})
	}
	for name, c := range map[string]struct {
		err             error
		lost, transient bool
	}{
		"a damaged part":           {fmt.Errorf("x: %w", backend.ErrDamaged), true, false},
		"a missing file":           {of(storage.ErrNotFound), true, false},
		"a file of another size":   {of(storage.ErrCorrupt), true, false},
		"a storage that is away":   {of(storage.ErrUnavailable), false, true},
		"a full disk of this host": {&os.PathError{Op: "write", Path: "/x", Err: syscall.ENOSPC}, false, false},
		"too many open files":      {&os.PathError{Op: "open", Path: "/x", Err: syscall.EMFILE}, false, false},
	} {
		if l, tr := lost(c.err), transient(c.err); l != c.lost || tr != c.transient {
			t.Errorf("%s: lost %v, transient %v; want %v, %v", name, l, tr, c.lost, c.transient)
		}
	}
}

// slowScheme opens a directory once told to.
type slowScheme struct {
	file.Scheme
	asked chan string
	goOn  chan error
}

func (s slowScheme) Open(ctx context.Context, root, dir storage.Location) (storage.Storage, error) {
	s.asked <- dir.Path
	if err := <-s.goOn; err != nil {
		return nil, err
	}
	return s.Scheme.Open(ctx, root, dir)
}

// TestStores_OneWaitsForItsOwn: a server that does not answer holds up who wants it,
// for as long as they wait, and nobody else; one that failed is tried again.
func TestStores_OneWaitsForItsOwn(t *testing.T) {
	slow := slowScheme{asked: make(chan string), goOn: make(chan error)}
	st := newStores(storage.NewRegistry(storage.AnyRoot(), map[string]storage.Scheme{"hdfs": slow, "file": file.Scheme{}}))
	ctx, giveUp := context.WithCancel(t.Context())
	waited := make(chan error)
	for range 2 {
		go func() {
			_, err := st.dir(ctx, "hdfs://h:1/a")
			waited <- err
		}()
	}
	<-slow.asked
	if _, err := st.dir(t.Context(), "file://"+t.TempDir()); err != nil {
		t.Errorf("another directory: %v", err)
	}
	giveUp()
	for range 2 {
		if err := <-waited; !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up got %v", err)
		}
	}
	// The connection is still under way, for whoever comes now.
	slow.goOn <- errors.New("away")
	go func() {
		_, err := st.dir(t.Context(), "hdfs://h:1/a")
		waited <- err
	}()
	select {
	case err := <-waited:
		if err == nil || err.Error() != "away" {
			t.Errorf("of a server that is away: %v", err)
		}
	case <-slow.asked: // the first had failed before, and was forgotten
		slow.goOn <- errors.New("away")
		if err := <-waited; err == nil {
			t.Error("a server that is away was opened")
		}
	}
	go func() {
		_, err := st.dir(t.Context(), "hdfs://h:1/a")
		waited <- err
	}()
	<-slow.asked
	st.close()
	slow.goOn <- errors.New("away again")
	if err := <-waited; err == nil {
		t.Error("a directory was opened after close")
	}
}
