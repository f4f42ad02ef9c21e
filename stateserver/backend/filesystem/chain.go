package filesystem

import (
	"bytes"
	"slices"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// A snapshot is a chain of files: a full one and what changed since, each file on
// top of those before it. These bound how many files it has: small ones are
// written anew as one once there are enough of them.
const (
	maxSmall  = 16
	maxMerged = 32
)

// part is a file of a chain with the changes of the generations (from, to]; of the
// full one, from means nothing.
type part struct {
	handle   *holdfastv1.StateHandle
	from, to uint32
	merged   bool
}

// chain is a snapshot that was written, or restored.
type chain struct {
	parts []part
	// logged is era.logged at its cut.
	logged int64
	// tombs is era.tombs at the cut of its full file.
	tombs int64
}

// to is the generation that the chain goes up to.
func (c *chain) to() uint32 { return c.parts[len(c.parts)-1].to }

// full is the generation of its full file.
func (c *chain) full() uint32 { return c.parts[0].to }

// deltaBytes is the size of all files but the full one.
func (c *chain) deltaBytes() (n int64) {
	for _, p := range c.parts[1:] {
		n += int64(p.handle.Size)
	}
	return n
}

// small is where the files begin that a merge would replace.
func (c *chain) small() int {
	i := len(c.parts)
	for i > 1 && !c.parts[i-1].merged {
		i--
	}
	return i
}

func (c *chain) handles() []*holdfastv1.StateHandle {
	out := make([]*holdfastv1.StateHandle, len(c.parts))
	for i, p := range c.parts {
		out[i] = p.handle
	}
	return out
}

// chains remembers the snapshots that may become a base.
type chains struct {
	written  map[uint64]*chain // by checkpoint
	restored *chain
}

// base finds the chain of a completed checkpoint and forgets all others: they were
// given up, or are older. nil: what the base has is not known here.
func (c *chains) base(b *backend.Base) *chain {
	if b == nil {
		return nil
	}
	found := c.written[b.ID]
	if found == nil {
		found = c.restored
	} else {
		c.restored = nil
	}
	for id := range c.written {
		if id != b.ID {
			delete(c.written, id)
		}
	}
	if found == nil || !slices.EqualFunc(found.handles(), b.Handles, samePart) {
		return nil
	}
	return found
}

func samePart(a, b *holdfastv1.StateHandle) bool {
	return a.File == b.File && a.Name == b.Name && a.Size == b.Size && bytes.Equal(a.Sha256, b.Sha256) && bytes.Equal(a.Inline, b.Inline)
}

// add remembers a snapshot that was written.
func (c *chains) add(checkpoint uint64, ch *chain) {
	if c.written == nil {
		c.written = map[uint64]*chain{}
	}
	c.written[checkpoint] = ch
}

// shared returns a part as a later snapshot names it.
func (p part) shared() part {
	p.handle = proto.CloneOf(p.handle)
	p.handle.Shared = p.handle.File != "" // what is inline is in each ack anew
	return p
}
