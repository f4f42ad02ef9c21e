// Package snapshots reads checkpoints and savepoints that lie in directories, by
// whichever node answers.
package snapshots

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const (
	// openLimit is how long a node may take for the first entries: of a snapshot of
	// a backend's own it may have to fetch files.
	openLimit = 5 * time.Minute
	// verifyLimit bounds reading every file.
	verifyLimit = 12 * time.Hour
)

// URL is a directory as nodes want it: a path of this machine is one of a mount.
func URL(path string) string {
	if strings.HasPrefix(path, "/") {
		return "file://" + path
	}
	return path
}

// Describe tells what is in a snapshot.
func Describe(ctx context.Context, c *connect.Cluster, path string) (*holdfastv1.SnapshotDescription, error) {
	var answer *holdfastv1.DescribeSnapshotResponse
	err := c.DoSlowly(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) (err error) {
		answer, err = holdfastv1.NewStateServiceClient(conn).DescribeSnapshot(ctx, &holdfastv1.DescribeSnapshotRequest{Path: URL(path)})
		return err
	})
	return answer.GetSnapshot(), err
}

// Reader reads the entries of one state, in the order of key group and key.
type Reader struct {
	stream     grpc.ServerStreamingClient[holdfastv1.ReadSnapshotResponse]
	cancel     context.CancelFunc
	descriptor *holdfastv1.StateDescriptor
	operator   *holdfastv1.OperatorStateDescriptor
	batch      []*holdfastv1.StateEntry
	err        error
}

// Open begins to read. Close must be called.
func Open(ctx context.Context, c *connect.Cluster, request *holdfastv1.ReadSnapshotRequest) (*Reader, error) {
	var r *Reader
	err := c.DoWithin(ctx, openLimit, func(try context.Context, conn grpc.ClientConnInterface) error {
		// The stream outlives the call that opens it.
		life, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(try, bug.Guarded(cancel))
		stream, err := holdfastv1.NewStateServiceClient(conn).ReadSnapshot(life, request)
		var first *holdfastv1.ReadSnapshotResponse
		if err == nil {
			first, err = stream.Recv()
		}
		if !stop() {
			err = status.FromContextError(try.Err()).Err()
		}
		if errors.Is(err, io.EOF) {
			err = errors.New("the node sent no description of the state")
		}
		if err != nil {
			cancel()
			return err
		}
		r = &Reader{stream: stream, cancel: cancel, descriptor: first.GetStateDescriptor(), operator: first.GetOperatorState(), batch: first.GetEntries()}
		return nil
	})
	return r, err
}

// Descriptor is how the values are to be read.
func (r *Reader) Descriptor() *holdfastv1.StateDescriptor { return r.descriptor }

// OperatorState is set where it is an operator state; then Descriptor is that of an
// element.
func (r *Reader) OperatorState() *holdfastv1.OperatorStateDescriptor { return r.operator }

// Next returns the next entry; nil after the last one, or on an error, which Err has
// then.
func (r *Reader) Next() *holdfastv1.StateEntry {
	for len(r.batch) == 0 && r.err == nil {
		m, err := r.stream.Recv()
		r.batch, r.err = m.GetEntries(), err
	}
	if len(r.batch) == 0 {
		return nil
	}
	e := r.batch[0]
	r.batch = r.batch[1:]
	return e
}

// Err is what ended the entries early.
func (r *Reader) Err() error {
	if r.err == nil || errors.Is(r.err, io.EOF) {
		return nil
	}
	return exit.FromRPC(r.err)
}

// Close ends the reading.
func (r *Reader) Close() { r.cancel() }

// Verification is what came of reading every file.
type Verification struct {
	Problems []*holdfastv1.SnapshotProblem
	Verified *holdfastv1.SnapshotVerified
}

// Verify reads every file of a snapshot. found is told how many problems there are so
// far.
func Verify(ctx context.Context, c *connect.Cluster, path string, found func(int)) (*Verification, error) {
	var v *Verification
	err := c.DoWithin(ctx, verifyLimit, func(ctx context.Context, conn grpc.ClientConnInterface) error {
		v = &Verification{}
		stream, err := holdfastv1.NewStateServiceClient(conn).VerifySnapshot(ctx, &holdfastv1.VerifySnapshotRequest{Path: URL(path)})
		if err != nil {
			return err
		}
		for {
			m, err := stream.Recv()
			switch {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return err
			case m.GetProblem() != nil:
				v.Problems = append(v.Problems, m.GetProblem())
				found(len(v.Problems))
			case m.GetVerified() != nil:
				v.Verified = m.GetVerified()
			}
		}
	})
	if err == nil && v.Verified == nil {
		err = exit.Errorf(exit.Failure, "the node ended before it had read every file of %s", path)
	}
	return v, err
}
