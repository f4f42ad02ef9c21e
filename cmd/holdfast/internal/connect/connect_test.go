package connect

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// patience is far above what a call may take where nothing listens.
const patience = time.Hour

// closed are addresses at which nothing listens.
func closed(t *testing.T, n int) (out []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // all at once: none is given out twice
		out = append(out, l.Addr().String())
	}
	return out
}

func list(ctx context.Context, conn grpc.ClientConnInterface) error {
	_, err := holdfastv1.NewJobServiceClient(conn).List(ctx, &holdfastv1.ListRequest{})
	return err
}

func mustOpen(t *testing.T, addresses ...string) *Cluster {
	t.Helper()
	c, err := Open(addresses, patience, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// A call where nothing listens ends long before its patience does, with what to look
// at.
func TestDo_NothingListens(t *testing.T) {
	addresses := closed(t, 2)
	c := mustOpen(t, addresses...)
	c.Origin = "from --address"
	want := "no node answers at " + addresses[0] + ", " + addresses[1] + " (from --address): nothing listens there; is a node running? --address or HOLDFAST_ADDRESS names the nodes"
	for name, err := range map[string]error{
		"Do": c.Do(t.Context(), list),
		"Stream": c.Stream(t.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) (bool, error) {
			return false, list(ctx, conn)
		}),
	} {
		var e *exit.Error
		if !errors.As(err, &e) || e.Code != exit.Unavailable || e.Reason != "UNREACHABLE" || e.Message != want {
			t.Errorf("%s:\ngot  %v\nwant %s", name, err, want)
		}
	}
}

type empty struct {
	holdfastv1.UnimplementedJobServiceServer
}

func (empty) List(context.Context, *holdfastv1.ListRequest) (*holdfastv1.ListResponse, error) {
	return &holdfastv1.ListResponse{}, nil
}

// A node that is not back yet when the call begins is waited for.
func TestDo_RidesThroughARestart(t *testing.T) {
	address := closed(t, 1)[0]
	c := mustOpen(t, address)
	rounds := 0
	s := grpc.NewServer()
	defer s.Stop()
	holdfastv1.RegisterJobServiceServer(s, empty{})
	err := c.Do(t.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
		if rounds++; rounds == 5 {
			l, err := net.Listen("tcp", address)
			if err != nil {
				return err
			}
			go func() { _ = s.Serve(l) }()
		}
		return list(ctx, conn)
	})
	if err != nil || rounds < 5 {
		t.Errorf("after %d rounds: %v", rounds, err)
	}
}

// One address that is silent, as behind a cut, is no refusal: it may answer.
func TestRefusals_OneSilentAddressIsWaitedFor(t *testing.T) {
	c := mustOpen(t, closed(t, 2)...)
	var r refusals
	c.doors[0].refused.Store(true)
	if r.over(c) || !r.since.IsZero() {
		t.Fatal("one of two counts as all")
	}
	c.doors[1].refused.Store(true)
	if r.over(c) || r.since.IsZero() {
		t.Fatal("there is no grace")
	}
	r.since = r.since.Add(-RefusedGrace)
	if !r.over(c) {
		t.Fatal("the grace does not end")
	}
	c.doors[0].refused.Store(false)
	if r.over(c) || !r.since.IsZero() {
		t.Fatal("an answer does not begin anew")
	}
}
