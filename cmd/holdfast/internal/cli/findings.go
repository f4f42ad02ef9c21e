package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// finding is one thing that is not as it should be, and what to do about it.
type finding struct {
	// Level is error (the cluster does not work), warning (it works with less
	// than it has) or note.
	Level string `json:"level"`
	// Code names the kind, for programs.
	Code    string `json:"code"`
	Node    string `json:"node,omitempty"`
	Message string `json:"message"`
	Remedy  string `json:"remedy"`
}

const (
	levelError   = "error"
	levelWarning = "warning"
	levelNote    = "note"
)

// farBehind is how many entries a node may lack before that is told: more than
// comes between two looks of a busy cluster.
const farBehind = 20_000

// diagnose tells what is wrong with a cluster, from what its nodes say. answers
// has the view of each member, nil where there is none.
func diagnose(v statusView, answers []*holdfastv1.ClusterServiceDescribeResponse) []finding {
	newest := newestOf(answers)
	var out []finding
	if newest == nil {
		return append(out, finding{levelError, "NO_NODE_ANSWERS", "", "no node answers", "start the nodes on their data directories"})
	}
	out = append(out, quorum(v, newest)...)
	head := uint64(0)
	for _, a := range answers {
		head = max(head, a.GetAppliedIndex())
	}
	for i, m := range v.Members {
		if f := judgeNode(m, answers[i], newest, head); f != nil {
			out = append(out, *f)
		}
	}
	return append(out, versions(v)...)
}

// newestOf is the view of the newest term, that of a leader if there is one.
func newestOf(answers []*holdfastv1.ClusterServiceDescribeResponse) (best *holdfastv1.ClusterServiceDescribeResponse) {
	for _, a := range answers {
		if a == nil || len(a.Members) == 0 || a.Membership == holdfastv1.Membership_MEMBERSHIP_REMOVED {
			continue
		}
		leads, led := a.LeaderId == a.NodeId, best != nil && best.LeaderId == best.NodeId
		if best == nil || a.Term > best.Term || a.Term == best.Term && leads && !led {
			best = a
		}
	}
	return best
}

// quorum counts the voters that answer.
func quorum(v statusView, newest *holdfastv1.ClusterServiceDescribeResponse) []finding {
	up, unknown := map[string]bool{}, 0
	for _, m := range v.Members {
		up[m.NodeID] = m.Term > 0
		if m.Term == 0 && m.ClientAddress == "" && m.State != stateStopped {
			unknown++
		}
	}
	voters, there := 0, 0
	var out []finding
	for _, m := range newest.Members {
		if !m.Voter {
			out = append(out, finding{levelWarning, "NO_VOTE", m.Name, m.Name + " is a member without a vote: it was not added to the end", "holdfast cluster add " + m.PeerAddress})
			continue
		}
		voters++
		if up[m.NodeId] {
			there++
		}
	}
	majority := voters/2 + 1
	switch {
	case there < majority && v.Leader != "" && there+unknown >= majority:
		// Nobody could be asked whether they answer; there is a leader.
	case there < majority:
		out = append(out, finding{levelError, "NO_QUORUM", "", fmt.Sprintf("%d of %d voters answer, %d are needed: nothing can be written or read", there, voters, majority),
			"start the nodes that are down; where a majority of disks is lost for ever: holdfast snapshot restore"})
	case v.Leader == "":
		out = append(out, finding{levelError, "NO_LEADER", "", "a majority answers and no node leads", "wait for an election; if it lasts, the nodes do not reach each other at their peer addresses"})
	case there == majority && voters > 2:
		out = append(out, finding{levelWarning, "NO_SPARE", "", fmt.Sprintf("%d of %d voters answer: the loss of one more stops the cluster", there, voters), "start or replace the nodes that are down"})
	}
	return out
}

// judgeNode tells what is wrong with one node.
func judgeNode(m memberView, a, newest *holdfastv1.ClusterServiceDescribeResponse, head uint64) *finding {
	listed := false
	for _, o := range newest.Members {
		listed = listed || o.NodeId == m.NodeID || m.NodeID == "" && o.Name == m.Name
	}
	switch {
	case a.GetMembership() == holdfastv1.Membership_MEMBERSHIP_REMOVED, a != nil && !listed && a.GetMembership() != holdfastv1.Membership_MEMBERSHIP_WAITING:
		return &finding{levelWarning, "REMOVED", m.Name, m.Name + " was removed from the cluster and serves nobody", "stop it; to come back it needs an empty data directory, --join and holdfast cluster add"}
	case a.GetMembership() == holdfastv1.Membership_MEMBERSHIP_WAITING:
		return &finding{levelWarning, "WAITING", m.Name, m.Name + " waits to be added", "holdfast cluster add " + a.GetPeerAddress()}
	case m.State == stateStopped:
		return &finding{levelWarning, "STOPPED", m.Name, m.Name + " does not run", "holdfast node start " + m.Name + " --dir DIR"}
	case a == nil && m.ClientAddress == "":
		return &finding{levelWarning, "UNREACHABLE", m.Name, "the client address of " + m.Name + " is not known yet to the node that was asked",
			"wait until that one has caught up, or name more nodes with --address"}
	case a == nil:
		return &finding{levelWarning, "UNREACHABLE", m.Name, m.Name + " does not answer at " + m.ClientAddress,
			"start it; if its disk is lost: holdfast cluster remove " + m.Name + ", then add a new node"}
	case a.LeaderId == "" && newest.LeaderId != "":
		return &finding{levelWarning, "LEADERLESS", m.Name, m.Name + " knows no leader, others do", "the leader does not reach it at " + a.PeerAddress + ": look at the network between them"}
	case head > a.AppliedIndex+farBehind:
		return &finding{levelWarning, "FAR_BEHIND", m.Name, fmt.Sprintf("%s is %d entries behind", m.Name, head-a.AppliedIndex), "wait while it catches up; if that number grows, its disk or its network is too slow"}
	}
	return nil
}

// versions tells of nodes with different builds.
func versions(v statusView) []finding {
	by := map[string][]string{}
	var order []string
	for _, m := range v.Members {
		if m.Term == 0 || m.Version == "" {
			continue
		}
		if by[m.Version] == nil {
			order = append(order, m.Version)
		}
		by[m.Version] = append(by[m.Version], m.Name)
	}
	if len(order) < 2 {
		return nil
	}
	var parts []string
	for _, version := range order {
		parts = append(parts, strings.Join(by[version], ", ")+" "+version)
	}
	return []finding{{levelNote, "VERSIONS", "", "nodes run different versions: " + strings.Join(parts, "; "), "finish the upgrade (docs/upgrades.md)"}}
}

// printFindings writes one line a finding, or that all is well.
func printFindings(w io.Writer, findings []finding) error {
	if len(findings) == 0 {
		_, err := fmt.Fprintln(w, "all is well")
		return err
	}
	for _, f := range findings {
		if _, err := fmt.Fprintf(w, "%s %s: %s; %s\n", f.Level, f.Code, f.Message, f.Remedy); err != nil {
			return err
		}
	}
	return nil
}

// verdict is the error of `cluster status --check`: by the worst finding.
func verdict(findings []finding) error {
	worst := ""
	for _, f := range findings {
		switch {
		case f.Level == levelError:
			return exit.Errorf(exit.Unavailable, "%s: %s", f.Code, f.Message)
		case f.Level == levelWarning && worst == "":
			worst = f.Code + ": " + f.Message
		}
	}
	if worst != "" {
		return exit.Errorf(exit.Failure, "%s", worst)
	}
	return nil
}
