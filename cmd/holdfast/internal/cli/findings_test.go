package cli

import (
	"slices"
	"testing"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// three is a healthy cluster as its nodes describe it.
func three() []*holdfastv1.ClusterServiceDescribeResponse {
	var out []*holdfastv1.ClusterServiceDescribeResponse
	for _, id := range []string{"n1", "n2", "n3"} {
		a := &holdfastv1.ClusterServiceDescribeResponse{
			ClusterId: "c", NodeId: id, LeaderId: "n1", Term: 2, AppliedIndex: 100_000, ServerVersion: "1", Membership: holdfastv1.Membership_MEMBERSHIP_MEMBER,
		}
		for _, m := range []string{"n1", "n2", "n3"} {
			a.Members = append(a.Members, &holdfastv1.Member{NodeId: m, Name: m, Voter: true})
		}
		out = append(out, a)
	}
	return out
}

func TestDiagnose_EveryFinding(t *testing.T) {
	for name, c := range map[string]struct {
		change func(a []*holdfastv1.ClusterServiceDescribeResponse)
		codes  []string
		exit   exit.Code
	}{
		"all is well":  {func([]*holdfastv1.ClusterServiceDescribeResponse) {}, nil, exit.OK},
		"one is down":  {func(a []*holdfastv1.ClusterServiceDescribeResponse) { a[2] = nil }, []string{"NO_SPARE", "UNREACHABLE"}, exit.Failure},
		"no majority":  {func(a []*holdfastv1.ClusterServiceDescribeResponse) { a[1], a[2] = nil, nil }, []string{"NO_QUORUM", "UNREACHABLE", "UNREACHABLE"}, exit.Unavailable},
		"nobody":       {func(a []*holdfastv1.ClusterServiceDescribeResponse) { clear(a) }, []string{"NO_NODE_ANSWERS"}, exit.Unavailable},
		"far behind":   {func(a []*holdfastv1.ClusterServiceDescribeResponse) { a[1].AppliedIndex = 1 }, []string{"FAR_BEHIND"}, exit.Failure},
		"leaderless":   {func(a []*holdfastv1.ClusterServiceDescribeResponse) { a[1].LeaderId = "" }, []string{"LEADERLESS"}, exit.Failure},
		"two versions": {func(a []*holdfastv1.ClusterServiceDescribeResponse) { a[1].ServerVersion = "2" }, []string{"VERSIONS"}, exit.OK},
		"no leader": {func(a []*holdfastv1.ClusterServiceDescribeResponse) {
			for _, x := range a {
				x.LeaderId = ""
			}
		}, []string{"NO_LEADER"}, exit.Unavailable},
		"without a vote": {func(a []*holdfastv1.ClusterServiceDescribeResponse) {
			for _, x := range a {
				x.Members[2].Voter = false
			}
		}, []string{"NO_VOTE"}, exit.Failure},
		"removed": {func(a []*holdfastv1.ClusterServiceDescribeResponse) {
			a[0].Members, a[1].Members = a[0].Members[:2], a[1].Members[:2]
			a[2].Membership = holdfastv1.Membership_MEMBERSHIP_REMOVED
		}, []string{"REMOVED"}, exit.Failure},
		"waits": {func(a []*holdfastv1.ClusterServiceDescribeResponse) {
			a[0].Members, a[1].Members, a[2].Members = a[0].Members[:2], a[1].Members[:2], nil
			a[2].Membership = holdfastv1.Membership_MEMBERSHIP_WAITING
		}, []string{"WAITING"}, exit.Failure},
	} {
		t.Run(name, func(t *testing.T) {
			answers := three()
			c.change(answers)
			v := statusView{}
			for i, id := range []string{"n1", "n2", "n3"} {
				m := memberView{Name: id, NodeID: id, ClientAddress: "127.0.0.1:1", State: stateUnreachable}
				if answers[i] != nil {
					m.fill(answers[i])
					if answers[i].LeaderId != "" {
						v.Leader = answers[i].LeaderId
					}
				}
				v.Members = append(v.Members, m)
			}
			var codes []string
			found := diagnose(v, answers)
			for _, f := range found {
				codes = append(codes, f.Code)
				if f.Message == "" || f.Remedy == "" {
					t.Errorf("%+v names no thing or no remedy", f)
				}
			}
			if !slices.Equal(codes, c.codes) || exit.CodeOf(verdict(found)) != c.exit {
				t.Errorf("found %v with exit code %d, want %v with %d", codes, exit.CodeOf(verdict(found)), c.codes, c.exit)
			}
		})
	}
}
