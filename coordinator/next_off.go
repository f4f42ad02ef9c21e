//go:build !next_version

package coordinator

import (
	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// MaxVersion is the highest cluster version that this build works at, and the
// one to which it raises a cluster. next_on.go is the build of the version after
// it, with which rolling upgrades are tested before there is one.
const MaxVersion uint32 = 1

// machineNext and driverNext are what the next version adds: nothing yet.
//
//nolint:unused // by the fields that next_on.go uses
type (
	machineNext struct{}
	driverNext  struct{}
)

func nextVersionOf(*internalv1.Command) uint32 { return 0 }

func (m *Machine) applyNext(*internalv1.Command) *internalv1.CommandResult { return nil }

func (m *Machine) saveNext(*internalv1.Meta) {}

func (m *Machine) restoreNext(*internalv1.Meta) {}

func (d *Driver) stepNext(*Machine) *internalv1.Command { return nil }

// DescribeNext adds to the description of a cluster what the next version knows.
func (m *Machine) DescribeNext(*holdfastv1.ClusterServiceDescribeResponse) {}
