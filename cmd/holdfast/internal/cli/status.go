package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/nodes"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
	"github.com/holdfast-io/holdfast/internal/grpctls"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func (a *app) clusterStatusCommand() *cobra.Command {
	var dir string
	var watch, check bool
	cmd := &cobra.Command{
		Use: "status", Short: "Show the nodes, the leader, what is wrong and what to do", Args: exactly(),
		Long: `With --dir: the processes of a local cluster and what each of them sees.
Without: what the nodes at --address and the members they know of see.

With --check the exit code says how the cluster is: 0 all is well, 1 it works and
something is wrong, 4 it does not work.`,
		Example: "  holdfast cluster status --dir ./hf\n  holdfast cluster status --address 127.0.0.1:7070",
	}
	dirFlag(cmd, &dir)
	watchFlag(cmd, &watch)
	cmd.Flags().BoolVar(&check, "check", false, "fail if something is wrong")
	cmd.RunE = a.do(func(ctx context.Context, _ []string) error {
		if dir == "" {
			c, _, err := a.open()
			if err != nil {
				return err
			}
			defer c.Close()
			return a.showStatus(ctx, watch, check, a.withProgress("asking the nodes", c, a.statusByAddress))
		}
		c, err := nodes.Open(dir)
		if err != nil {
			return err
		}
		client, err := c.ClientTLS().Open()
		if err != nil {
			return err
		}
		return a.showStatus(ctx, watch, check, func(ctx context.Context) (seen, error) { return a.seenStatus(localStatus(ctx, c, client)), nil })
	})
	return cmd
}

// showStatus shows one look, or more with --watch. With --check the findings of
// the last one decide.
func (a *app) showStatus(ctx context.Context, watch, check bool, look func(context.Context) (seen, error)) error {
	var last statusView
	err := a.showOrWatch(ctx, watch, nil, func(ctx context.Context) (seen, error) {
		s, err := look(ctx)
		last, _ = s.view.(statusView)
		return s, err
	})
	if err != nil || !check {
		return err
	}
	return verdict(last.Findings)
}

// memberView is one node: its process where it is local, and its own view.
type memberView struct {
	Name            string `json:"name"`
	NodeID          string `json:"node_id,omitempty"`
	Pid             int    `json:"pid,omitempty"`
	State           string `json:"state"`
	ClientAddress   string `json:"client_address"`
	LeaderID        string `json:"leader_id,omitempty"`
	Term            uint64 `json:"term,omitempty"`
	AppliedIndex    uint64 `json:"applied_index,omitempty"`
	LastLogIndex    uint64 `json:"last_log_index,omitempty"`
	SnapshotIndex   uint64 `json:"snapshot_index,omitempty"`
	CommandsApplied uint64 `json:"commands_applied,omitempty"`
	Version         string `json:"version,omitempty"`
	MetricsAddress  string `json:"metrics_address,omitempty"`
	// The cluster versions that the node has registered to support.
	MinClusterVersion uint32 `json:"min_cluster_version,omitempty"`
	MaxClusterVersion uint32 `json:"max_cluster_version,omitempty"`
	Error             string `json:"error,omitempty"`
}

type statusView struct {
	ClusterID string `json:"cluster_id,omitempty"`
	Leader    string `json:"leader,omitempty"`
	// ClusterVersion is the committed one.
	ClusterVersion uint32       `json:"cluster_version,omitempty"`
	Members        []memberView `json:"members"`
	// Findings are what is wrong, and what to do; none: all is well.
	Findings []finding `json:"findings"`
}

// The states of a memberView.
const (
	stateLeader      = "leader"
	stateFollower    = "follower"
	stateNoLeader    = "no leader"
	stateStopped     = "stopped"
	stateUnreachable = "unreachable"
)

func localStatus(ctx context.Context, c *nodes.Cluster, client *grpctls.Client) statusView {
	var members []memberView
	for _, n := range c.Nodes() {
		m := memberView{Name: n.Name, ClientAddress: n.ClientAddress, State: stateStopped}
		if n.Running() {
			m.Pid, m.State = n.Pid, stateUnreachable
		}
		members = append(members, m)
	}
	return lookAt(ctx, members, client)
}

// statusByAddress asks the addresses for the members and each member for its
// own view. It needs no leader.
func (a *app) statusByAddress(ctx context.Context, c *connect.Cluster) (seen, error) {
	var answer *holdfastv1.ClusterServiceDescribeResponse
	err := c.Do(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) (err error) {
		answer, err = connect.View(ctx, conn)
		return err
	})
	if err != nil {
		return seen{}, err
	}
	// A node that has just started may not have applied yet who the members are.
	views := c.Views(ctx)
	for _, v := range views {
		if v.GetClusterId() == answer.GetClusterId() && v.GetAppliedIndex() > answer.GetAppliedIndex() &&
			v.GetMembership() != holdfastv1.Membership_MEMBERSHIP_REMOVED {
			answer = v
		}
	}
	var members []memberView
	for _, m := range answer.GetMembers() {
		members = append(members, memberView{
			Name: m.GetName(), NodeID: m.GetNodeId(), ClientAddress: m.GetClientAddress(),
			State: stateUnreachable, Version: m.GetVersion(),
		})
	}
	for i := range members {
		for j, v := range views {
			if members[i].ClientAddress == "" && v != nil && v.GetNodeId() == members[i].NodeID {
				members[i].ClientAddress = c.Addresses()[j]
			}
		}
	}
	if len(members) == 0 {
		// A node that was not taken into a cluster yet knows only itself.
		members = []memberView{{Name: "-", NodeID: answer.GetNodeId(), ClientAddress: c.Addresses()[0], State: stateUnreachable}}
	}
	return a.seenStatus(lookAt(ctx, members, c.Client())), nil
}

// lookAt fills in what each node that is not stopped says of itself.
func lookAt(ctx context.Context, members []memberView, client *grpctls.Client) statusView {
	slices.SortFunc(members, func(a, b memberView) int { return strings.Compare(a.Name, b.Name) })
	v := statusView{Members: members}
	answers := make([]*holdfastv1.ClusterServiceDescribeResponse, len(members))
	var wg sync.WaitGroup
	for i := range members {
		if members[i].State == stateStopped {
			continue
		}
		wg.Go(bug.Guarded(func() { answers[i] = describeNode(ctx, &members[i], client) }))
	}
	wg.Wait()
	var best uint64
	for i, answer := range answers {
		if answer == nil {
			continue
		}
		v.ClusterID = answer.GetClusterId()
		members[i].fill(answer)
		v.ClusterVersion = max(v.ClusterVersion, answer.GetClusterVersion())
		// Of several views the one of the newest term is right.
		if answer.GetLeaderId() != "" && answer.GetTerm() >= best {
			best, v.Leader = answer.GetTerm(), nameOf(answer, answer.GetLeaderId())
		}
	}
	v.Findings = append([]finding{}, diagnose(v, answers)...)
	return v
}

func describeNode(ctx context.Context, m *memberView, client *grpctls.Client) *holdfastv1.ClusterServiceDescribeResponse {
	if m.ClientAddress == "" {
		m.Error = "its client address is not known yet to the node that was asked"
		return nil
	}
	conn, err := connect.Dial(m.ClientAddress, client)
	if err != nil {
		m.Error = err.Error()
		return nil
	}
	defer conn.Close()
	answer, err := connect.View(ctx, conn)
	if err != nil {
		m.Error = exit.FromRPC(err).Error()
		return nil
	}
	return answer
}

func (m *memberView) fill(d *holdfastv1.ClusterServiceDescribeResponse) {
	m.NodeID, m.LeaderID, m.Term = d.GetNodeId(), d.GetLeaderId(), d.GetTerm()
	m.AppliedIndex, m.LastLogIndex, m.SnapshotIndex = d.GetAppliedIndex(), d.GetLastLogIndex(), d.GetSnapshotIndex()
	m.CommandsApplied, m.Version, m.MetricsAddress = d.GetCommandsApplied(), d.GetServerVersion(), d.GetMetricsAddress()
	for _, self := range d.GetMembers() {
		if self.GetNodeId() == d.GetNodeId() {
			m.MinClusterVersion, m.MaxClusterVersion = self.GetMinClusterVersion(), self.GetMaxClusterVersion()
		}
	}
	switch d.GetLeaderId() {
	case "":
		m.State = stateNoLeader
	case d.GetNodeId():
		m.State = stateLeader
	default:
		m.State = stateFollower
	}
}

// versions renders the release of a node and the cluster versions it supports.
func (m *memberView) versions() string {
	switch {
	case m.Version == "":
		return "-"
	case m.MaxClusterVersion == 0:
		return m.Version
	case m.MinClusterVersion == m.MaxClusterVersion:
		return fmt.Sprintf("%s (%d)", m.Version, m.MaxClusterVersion)
	}
	return fmt.Sprintf("%s (%d-%d)", m.Version, m.MinClusterVersion, m.MaxClusterVersion)
}

func nameOf(d *holdfastv1.ClusterServiceDescribeResponse, id string) string {
	for _, m := range d.GetMembers() {
		if m.GetNodeId() == id && m.GetName() != "" {
			return m.GetName()
		}
	}
	return id
}

func (a *app) seenStatus(v statusView) seen {
	return seen{view: v, table: func(w io.Writer) error {
		t := render.Table{Header: []string{"NODE", "STATE", "TERM", "APPLIED", "LAST LOG", "SNAPSHOT", "VERSION", "CLIENT ADDRESS", "PID"}}
		for _, m := range v.Members {
			if m.Term == 0 {
				t.Add(m.Name, m.State, "-", "-", "-", "-", m.versions(), m.ClientAddress, dash(m.Pid))
				continue
			}
			t.Add(m.Name, m.State, m.Term, m.AppliedIndex, m.LastLogIndex, m.SnapshotIndex, m.versions(), m.ClientAddress, dash(m.Pid))
		}
		if err := a.table(w, t); err != nil {
			return err
		}
		if v.Leader == "" {
			if _, err := fmt.Fprintln(w, "\nno leader"); err != nil {
				return err
			}
			return printFindings(w, v.Findings)
		}
		gone := " (does not answer)"
		for _, m := range v.Members {
			if m.Name == v.Leader && (m.Term > 0 || m.ClientAddress == "") {
				gone = ""
			}
		}
		if _, err := fmt.Fprintf(w, "\nleader %s%s, cluster %s at version %d\n", v.Leader, gone, v.ClusterID, v.ClusterVersion); err != nil {
			return err
		}
		return printFindings(w, v.Findings)
	}}
}

func (a *app) clusterVerifyCommand() *cobra.Command {
	return &cobra.Command{
		Use: "verify", Short: "Compare the replicas' state at one index of the log", Args: exactly(),
		Example: "  holdfast cluster verify",
		RunE: a.do(func(ctx context.Context, _ []string) error {
			var answer *holdfastv1.VerifyReplicasResponse
			err := a.withCluster("comparing the replicas", func(c *connect.Cluster) error {
				return c.DoSlowly(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) (err error) {
					answer, err = holdfastv1.NewClusterServiceClient(conn).VerifyReplicas(ctx, &holdfastv1.VerifyReplicasRequest{})
					return err
				})
			})
			if err != nil {
				return err
			}
			return a.printVerify(answer)
		}),
	}
}

type replicaView struct {
	Name                  string `json:"name"`
	NodeID                string `json:"node_id"`
	Reachable             bool   `json:"reachable"`
	Hash                  string `json:"hash,omitempty"`
	RestoredSnapshotIndex uint64 `json:"restored_snapshot_index"`
	Error                 string `json:"error,omitempty"`
}

func (a *app) printVerify(answer *holdfastv1.VerifyReplicasResponse) error {
	v := struct {
		Index    uint64        `json:"index"`
		Equal    bool          `json:"equal"`
		Replicas []replicaView `json:"replicas"`
	}{Index: answer.GetIndex(), Equal: answer.GetEqual()}
	compared := 0
	t := render.Table{Header: []string{"NODE", "HASH", "RESTORED SNAPSHOT", "ERROR"}}
	for _, r := range answer.GetReplicas() {
		v.Replicas = append(v.Replicas, replicaView{
			Name: r.GetName(), NodeID: r.GetNodeId(), Reachable: r.GetReachable(), Hash: r.GetHash(),
			RestoredSnapshotIndex: r.GetRestoredSnapshotIndex(), Error: r.GetError(),
		})
		hash := r.GetHash()
		if r.GetReachable() {
			compared++
		} else {
			hash = stateUnreachable
		}
		t.Add(r.GetName(), hash, r.GetRestoredSnapshotIndex(), r.GetError())
	}
	err := a.print(v, func(w io.Writer) error {
		if err := a.table(w, t); err != nil {
			return err
		}
		verdict := "they are equal"
		if !v.Equal {
			verdict = "they DIFFER"
		}
		_, err := fmt.Fprintf(w, "\n%d of %d replicas were compared at index %d: %s\n", compared, len(v.Replicas), v.Index, verdict)
		return err
	})
	if err == nil && !v.Equal {
		return exit.Errorf(exit.Failure, "the replicas differ at index %d", v.Index)
	}
	return err
}
