//go:build next_version

package coordinator

import (
	"google.golang.org/protobuf/encoding/protowire"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// This build stands for the next release: version 2 of the cluster has one more
// command, RecordLeadership, and one more field in snapshots, the number of
// leaderships. Both are fields that the protos of this version do not have, so
// builds without the tag really do not know them.

// MaxVersion is described in next_off.go.
const MaxVersion uint32 = 2

const leadershipsVersion = 2

// nextField is the number of the new field in Command, Meta and the description
// of a cluster. In a Command it holds what the number of leaderships becomes, so
// that the command may be sent again.
const nextField protowire.Number = 1000

type (
	machineNext struct{ leaderships uint64 }
	// driverNext is the number that this leadership has, once it is known.
	driverNext struct{ leadership uint64 }
)

func nextVersionOf(c *internalv1.Command) uint32 {
	if _, ok := nextValue(c.ProtoReflect().GetUnknown()); ok {
		return leadershipsVersion
	}
	return 0
}

func (m *Machine) applyNext(c *internalv1.Command) *internalv1.CommandResult {
	n, ok := nextValue(c.ProtoReflect().GetUnknown())
	if !ok {
		return nil
	}
	if n == m.next.leaderships+1 {
		m.next.leaderships = n
	}
	return &internalv1.CommandResult{}
}

func (m *Machine) saveNext(r *internalv1.Meta) {
	if m.next.leaderships > 0 {
		r.ProtoReflect().SetUnknown(nextBytes(m.next.leaderships))
	}
}

func (m *Machine) restoreNext(r *internalv1.Meta) {
	m.next.leaderships, _ = nextValue(r.ProtoReflect().GetUnknown())
}

// stepNext records each leadership once, from when the cluster version allows it.
func (d *Driver) stepNext(m *Machine) *internalv1.Command {
	if !gateOpen(leadershipsVersion, m.ClusterVersion()) {
		return nil
	}
	if d.next.leadership == 0 {
		d.next.leadership = m.next.leaderships + 1
	}
	if m.next.leaderships >= d.next.leadership {
		return nil
	}
	c := &internalv1.Command{}
	c.ProtoReflect().SetUnknown(nextBytes(d.next.leadership))
	return c
}

// DescribeNext is described in next_off.go.
func (m *Machine) DescribeNext(d *holdfastv1.ClusterServiceDescribeResponse) {
	d.ProtoReflect().SetUnknown(nextBytes(m.next.leaderships))
}

func nextBytes(v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, nextField, protowire.VarintType), v)
}

// nextValue finds the field among those that the protos do not have.
func nextValue(unknown []byte) (uint64, bool) {
	for len(unknown) > 0 {
		number, kind, n := protowire.ConsumeTag(unknown)
		if n < 0 {
			return 0, false
		}
		unknown = unknown[n:]
		if number == nextField && kind == protowire.VarintType {
			v, n := protowire.ConsumeVarint(unknown)
			return v, n > 0
		}
		if n = protowire.ConsumeFieldValue(number, kind, unknown); n < 0 {
			return 0, false
		}
		unknown = unknown[n:]
	}
	return 0, false
}
