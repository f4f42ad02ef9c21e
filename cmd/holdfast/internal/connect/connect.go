// Package connect calls a cluster by the addresses of some of its nodes. Any
// node answers any call, so a node that does not is left for the next one.
package connect

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/internal/grpctls"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// DefaultAddress is where a node listens that was started without flags.
const DefaultAddress = "127.0.0.1:7070"

const (
	// Each address gets its share of the patience for one try, within these
	// bounds, so that a frozen node does not use up all of it.
	minTry, maxTry = 500 * time.Millisecond, 5 * time.Second
	// slowTry is for a call that waits for nodes which do not answer.
	slowTry = 20 * time.Second
	// roundPause lies between two rounds over all addresses.
	roundPause = 100 * time.Millisecond
	// viewLimit bounds the question to one node for its own view.
	viewLimit = time.Second
)

// Cluster calls the nodes at its addresses. Safe for concurrent use.
type Cluster struct {
	addresses []string
	conns     []*grpc.ClientConn
	client    *grpctls.Client
	secured   []*grpctls.Credentials // of conns
	doors     []*door                // of conns
	patience  time.Duration
	// Origin is where the addresses came from, for errors; it may be empty.
	Origin string
}

// Split reads a comma separated list of addresses.
func Split(list string) ([]string, error) {
	var out []string
	for a := range strings.SplitSeq(list, ",") {
		a = strings.TrimSpace(a)
		if a == "" {
			continue
		}
		if !strings.Contains(a, ":") {
			return nil, exit.Errorf(exit.Usage, "the address %q has no port; host:port is needed", a)
		}
		if n, err := strconv.ParseUint(a[strings.LastIndex(a, ":")+1:], 10, 16); err != nil || n == 0 {
			return nil, exit.Errorf(exit.Usage, "the address %q has no port from 1 to 65535; host:port is needed", a)
		}
		out = append(out, a)
	}
	if len(out) == 0 {
		return nil, exit.Errorf(exit.Usage, "no node address in %q", list)
	}
	return out, nil
}

// Open makes a Cluster; nothing is connected yet. patience is how long a call
// is tried again while there is no leader or no node, and [RefusedGrace] where every
// address refuses connections. A nil client has no TLS.
func Open(addresses []string, patience time.Duration, client *grpctls.Client) (*Cluster, error) {
	c := &Cluster{addresses: addresses, patience: patience, client: client}
	for _, a := range addresses {
		creds, d := client.Credentials(), &door{}
		c.secured, c.doors = append(c.secured, creds), append(c.doors, d)
		conn, err := dial(a, creds, d)
		if err != nil {
			c.Close()
			return nil, exit.Errorf(exit.Usage, "the address %q is not valid: %w", a, err)
		}
		c.conns = append(c.conns, conn)
	}
	return c, nil
}

// Dial makes a connection to one node, lazily. A nil client has no TLS.
func Dial(address string, client *grpctls.Client) (*grpc.ClientConn, error) {
	return dial(address, client.Credentials(), &door{})
}

func dial(address string, creds credentials.TransportCredentials, d *door) (*grpc.ClientConn, error) {
	backoff := grpc.ConnectParams{MinConnectTimeout: 2 * time.Second}
	backoff.Backoff.BaseDelay = 50 * time.Millisecond
	backoff.Backoff.Multiplier = 1.5
	backoff.Backoff.MaxDelay = 500 * time.Millisecond
	// passthrough: a name is resolved by the dialer, without a proxy from the environment.
	return grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(creds),
		grpc.WithConnectParams(backoff), grpc.WithContextDialer(d.dial))
}

// Close ends the connections.
func (c *Cluster) Close() {
	for _, conn := range c.conns {
		_ = conn.Close() // nothing was written that could be lost
	}
}

// Addresses are those given to Open.
func (c *Cluster) Addresses() []string { return c.addresses }

// Client secures connections to nodes whose addresses were learned meanwhile.
func (c *Cluster) Client() *grpctls.Client { return c.client }

// Patience is how long a call is tried again.
func (c *Cluster) Patience() time.Duration { return c.patience }

// Call is one call on one node.
type Call func(context.Context, grpc.ClientConnInterface) error

// Do runs call on one node after the other until one gives an answer other
// than "not me, not now". call must be safe to repeat: reads are, and changes
// carry a request id. The error is an *exit.Error.
func (c *Cluster) Do(ctx context.Context, call Call) error {
	share := c.patience / time.Duration(len(c.conns))
	return c.do(ctx, min(max(share, minTry), maxTry), call)
}

// DoSlowly is Do for a call that may take long on a node that is well.
func (c *Cluster) DoSlowly(ctx context.Context, call Call) error {
	return c.do(ctx, slowTry, call)
}

// DoWithin is Do for a call that may take as long as it takes: a node has the
// whole of limit for its answer.
func (c *Cluster) DoWithin(ctx context.Context, limit time.Duration, call Call) error {
	return c.do(ctx, limit, call)
}

func (c *Cluster) do(ctx context.Context, limit time.Duration, call Call) error {
	give := time.Now().Add(c.patience)
	var nobody refusals
	for {
		var last error
		for _, conn := range c.conns {
			err := try(ctx, conn, limit, call)
			if err == nil || !again(ctx, err) {
				return exit.FromRPC(err)
			}
			last = preferReason(last, err)
		}
		if err := c.refused(last); err != nil {
			return err
		}
		if nobody.over(c) || !time.Now().Add(roundPause).Before(give) {
			return c.explain(ctx, last)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(roundPause):
		}
	}
}

// Stream runs call, which reads a stream, on one node after the other. call tells
// whether it has read something; while no node gives anything for the patience, the
// last error is returned. It ends without error when call does.
func (c *Cluster) Stream(ctx context.Context, call func(context.Context, grpc.ClientConnInterface) (read bool, err error)) error {
	give := time.Now().Add(c.patience)
	var nobody refusals
	for i := 0; ; i++ {
		read, err := call(ctx, c.conns[i%len(c.conns)])
		if err == nil || !again(ctx, err) {
			return exit.FromRPC(err)
		}
		if read {
			give = time.Now().Add(c.patience)
		}
		if nobody.over(c) || !time.Now().Add(roundPause).Before(give) {
			return c.explain(ctx, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(roundPause):
		}
	}
}

func try(ctx context.Context, conn grpc.ClientConnInterface, limit time.Duration, call Call) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return call(ctx, conn)
}

// again reports whether another node, or the same one later, may do better.
func again(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.DeadlineExceeded
}

// refused is not nil where every node was reached and TLS is what is wrong, which
// waiting does not heal.
func (c *Cluster) refused(last error) error {
	var why error
	for _, s := range c.secured {
		if why = s.Refusal(); why == nil {
			break
		}
	}
	where := strings.Join(c.addresses, ", ")
	switch {
	case why != nil && strings.Contains(why.Error(), "certificate required"):
		return exit.Errorf(exit.Refused, "no TLS with %s: %w; it demands one: --tls-cert-file and --tls-key-file, or HOLDFAST_TLS_CERT_FILE and HOLDFAST_TLS_KEY_FILE", where, why)
	case why != nil:
		return exit.Errorf(exit.Refused, "no TLS with %s: %w", where, why)
	case grpctls.NeedsTLS(last):
		return exit.Errorf(exit.Refused, "%s has TLS: name the authorities of the nodes with --tls-ca-file or HOLDFAST_TLS_CA_FILE", where)
	}
	return nil
}

// preferReason keeps the error that says most: one with a reason of the
// cluster beats "connection refused" of a dead member.
func preferReason(a, b error) error {
	if a != nil && exit.Reason(a) != "" && exit.Reason(b) == "" {
		return a
	}
	return b
}

// explain turns the last error into what a person needs to know. A node that
// has no leader lets a call wait until its time is over, so the time-out alone
// does not say why.
func (c *Cluster) explain(ctx context.Context, last error) error {
	if exit.Reason(last) != "" {
		return exit.FromRPC(last)
	}
	where := strings.Join(c.addresses, ", ")
	if c.Origin != "" {
		where += " (" + c.Origin + ")"
	}
	for _, conn := range c.conns {
		view, err := View(ctx, conn)
		if err == nil && view.GetLeaderId() == "" {
			return exit.Unreached("NO_LEADER", "a node answers at "+where+" and knows no leader")
		}
		if err == nil {
			return exit.Unreached("UNREACHABLE", "nodes answer at "+where+", but the leader did not within "+c.patience.String())
		}
	}
	if c.allRefuse() {
		return exit.Unreached("UNREACHABLE", "no node answers at "+where+": nothing listens there")
	}
	return exit.Unreached("UNREACHABLE", "no node answers at "+where)
}

// View asks one node for its own view of the cluster, which needs no leader.
func View(ctx context.Context, conn grpc.ClientConnInterface) (*holdfastv1.ClusterServiceDescribeResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, viewLimit)
	defer cancel()
	return holdfastv1.NewClusterServiceClient(conn).Describe(ctx, &holdfastv1.ClusterServiceDescribeRequest{})
}

// Views asks every address for the view of its node, all at once. It is nil where
// none came.
func (c *Cluster) Views(ctx context.Context) []*holdfastv1.ClusterServiceDescribeResponse {
	views := make([]*holdfastv1.ClusterServiceDescribeResponse, len(c.conns))
	var wg sync.WaitGroup
	for i, conn := range c.conns {
		wg.Go(bug.Guarded(func() {
			if v, err := View(ctx, conn); err == nil {
				views[i] = v
			}
		}))
	}
	wg.Wait()
	return views
}

// Serving asks one node's health service. nil means that it serves, which a
// node says only while it knows a leader.
func Serving(ctx context.Context, conn grpc.ClientConnInterface) error {
	ctx, cancel := context.WithTimeout(ctx, viewLimit)
	defer cancel()
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return err
	}
	if answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return errors.New("the node knows no leader yet")
	}
	return nil
}
