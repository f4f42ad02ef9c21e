package coordinator

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// MemoryBackend is the name of the backend whose state is in the log, on every node.
// The state of every other one is on the host of the subtask.
const MemoryBackend = "memory"

// Backends maps every name that a user may write for a backend of this version to
// the one that it has. Names that are not in it are those of factories that nodes
// were built with.
var Backends = map[string]string{
	"": MemoryBackend, MemoryBackend: MemoryBackend, "jobmanager": MemoryBackend,
	"filesystem": "filesystem", "hashmap": "filesystem", "rocksdb": "rocksdb",
}

// oldNames are told beside the names that they stand for.
var oldNames = map[string]string{MemoryBackend: "jobmanager", "filesystem": "hashmap"}

var backendRE = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._-]{0,127}$`)

// Bounds of what a job may tell a factory of a user's own.
const (
	maxBackendOptions = 64
	maxOptionBytes    = 4 << 10
)

func normalizeBackend(s *holdfastv1.JobSpec) *holdfastv1.Error {
	if s.StateBackend == nil {
		s.StateBackend = &holdfastv1.StateBackend{}
	}
	b := s.StateBackend
	if name, ok := Backends[b.Name]; ok {
		b.Name = name
	}
	if !backendRE.MatchString(b.Name) {
		return invalid("state_backend.name", fmt.Sprintf("the state backend name %s is not 1 to 128 of the characters A-Z a-z 0-9 . _ -, the first one a letter", quote(b.Name)))
	}
	if b.Name != MemoryBackend {
		b.MemoryMaxSize = 0 // of memory only: nothing to differ in
		return checkOptions(b)
	}
	b.Options = nil
	setDefault(&b.MemoryMaxSize, defaultMemoryMaxSize)
	if b.MemoryMaxSize > maxMemoryMaxSize {
		return invalid("state_backend.memory_max_size", fmt.Sprintf("state.memory.max-size of %d bytes is above the largest, %d", b.MemoryMaxSize, int64(maxMemoryMaxSize)))
	}
	return nil
}

func checkOptions(b *holdfastv1.StateBackend) *holdfastv1.Error {
	bytes := 0
	for k, v := range b.Options {
		bytes += len(k) + len(v)
	}
	if len(b.Options) > maxBackendOptions || bytes > maxOptionBytes {
		return invalid("state_backend.options", fmt.Sprintf("%d options of %d bytes for the state backend %q, at most %d of %d bytes are allowed", len(b.Options), bytes, b.Name, maxBackendOptions, maxOptionBytes))
	}
	return nil
}

// onHost tells whether the working state of a job is on the hosts of its subtasks.
func onHost(j jobState) bool { return j.Spec.GetStateBackend().GetName() != MemoryBackend }

// checkBackend refuses a job whose backend a registered node does not have: each of
// them may become the host of its subtasks.
func (m *Machine) checkBackend(s *holdfastv1.JobSpec) *holdfastv1.Error {
	name := s.StateBackend.Name
	if name == MemoryBackend {
		return nil
	}
	var lacking []string
	for _, n := range m.sortedNodes() {
		if !slices.Contains(n.StateBackends, name) {
			lacking = append(lacking, n.Name)
		}
	}
	known := m.knownBackends()
	switch {
	case !slices.Contains(known, name):
		return invalid("state_backend.name", fmt.Sprintf("unknown state backend %s; the nodes have: %s", quote(name), describeBackends(known)))
	case len(lacking) > 0:
		return invalid("state_backend.name", fmt.Sprintf("the state backend %q is not on node %s, and every node may have to host the job; run a build that has it there, or choose one of: %s",
			name, strings.Join(lacking, ", "), describeBackends(m.commonBackends(known))))
	}
	return nil
}

// knownBackends lists what any registered node has.
func (m *Machine) knownBackends() []string {
	out := []string{MemoryBackend}
	for _, n := range m.nodes {
		out = append(out, n.StateBackends...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// commonBackends lists which of known every registered node has.
func (m *Machine) commonBackends(known []string) []string {
	return slices.DeleteFunc(slices.Clone(known), func(name string) bool {
		return name != MemoryBackend && slices.ContainsFunc(m.nodes, func(n *internalv1.Node) bool { return !slices.Contains(n.StateBackends, name) })
	})
}

func describeBackends(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		if out[i] = n; oldNames[n] != "" {
			out[i] = fmt.Sprintf("%s (or %s)", n, oldNames[n])
		}
	}
	return strings.Join(out, ", ")
}
