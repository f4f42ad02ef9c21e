package coordinator

import (
	"errors"
	"fmt"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// FirstVersion is the cluster version of a log in which none was committed yet.
const FirstVersion uint32 = 1

// MinVersion is the lowest cluster version that this build works at; MaxVersion,
// beside it in next_off.go, is the highest.
const MinVersion uint32 = 1

// ErrClusterVersion says that a node does not support the cluster's version.
var ErrClusterVersion = errors.New("the cluster version is not supported")

// Versions is a range of cluster versions, both ends included.
type Versions struct{ Min, Max uint32 }

// Supported is the range of this build.
func Supported() Versions { return Versions{MinVersion, MaxVersion} }

// String renders the range for people.
func (v Versions) String() string {
	if v.Min == v.Max {
		return fmt.Sprintf("version %d only", v.Max)
	}
	return fmt.Sprintf("versions %d to %d", v.Min, v.Max)
}

// Check tells whether a node with this range may work at a cluster version. The
// error matches ErrClusterVersion, names both and says what to do.
func (v Versions) Check(cluster uint32) error {
	switch {
	case cluster > v.Max:
		return fmt.Errorf("%w: the cluster is at version %d, this build supports %s: start the node with a newer build, "+
			"since a cluster version is never taken back (see docs/upgrades.md)", ErrClusterVersion, cluster, v)
	case cluster < v.Min:
		return fmt.Errorf("%w: the cluster is at version %d, this build supports %s: upgrade all nodes to a release in between first "+
			"(see docs/upgrades.md)", ErrClusterVersion, cluster, v)
	}
	return nil
}

// ClusterVersion is the committed cluster version: commands of a higher one are
// not in the log and must not be proposed.
func (m *Machine) ClusterVersion() uint32 { return max(m.clusterVersion, FirstVersion) }

// requiredVersion is the cluster version from which on a command may be in the
// log. 0: this build does not know the command.
func requiredVersion(c *internalv1.Command) uint32 {
	switch c.GetCommand().(type) {
	case nil:
		return nextVersionOf(c)
	// A command that comes with a version is a case of its own here.
	default:
		return FirstVersion
	}
}

// Admit tells whether a command may be put into the log at a cluster version. A
// leader asks it of what other nodes propose, whose build may be newer than its
// own: what does not pass must not reach the log, where it would halt nodes.
func Admit(c *internalv1.Command, cluster uint32) *holdfastv1.Error {
	switch v := requiredVersion(c); {
	case v == 0:
		return Failure(holdfastv1.ErrorReason_ERROR_REASON_VERSION_NOT_SUPPORTED, "the leader does not know this command: its build is older")
	case !gateOpen(v, cluster):
		return notApplied(holdfastv1.ErrorReason_ERROR_REASON_VERSION_NOT_SUPPORTED,
			fmt.Sprintf("the command needs cluster version %d, the cluster is at %d", v, cluster))
	}
	return nil
}

// ClusterVersionDue returns the command that raises the cluster version: when
// every member has registered that it supports the new one. nil: none is due.
func (m *Machine) ClusterVersionDue(members []string) *internalv1.Command {
	to := MaxVersion
	for _, id := range members {
		n := m.node(id)
		if n == nil {
			return nil
		}
		to = min(to, n.MaxClusterVersion)
	}
	if to <= m.ClusterVersion() || len(members) == 0 {
		return nil
	}
	return &internalv1.Command{Command: &internalv1.Command_SetClusterVersion{SetClusterVersion: &internalv1.SetClusterVersion{Version: to}}}
}

// applySetClusterVersion raises the cluster version; a lower one changes
// nothing. A version that this build does not support is an error, and the node
// must halt: what follows in the log may be unknown to it.
func (m *Machine) applySetClusterVersion(c *internalv1.SetClusterVersion) (*internalv1.CommandResult, error) {
	if c.Version <= m.ClusterVersion() {
		return &internalv1.CommandResult{}, nil
	}
	if err := Supported().Check(c.Version); err != nil {
		return nil, err
	}
	m.clusterVersion = c.Version
	return &internalv1.CommandResult{}, nil
}
