package holdfast

import (
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"

	"github.com/holdfast-io/holdfast/clients/go/sink"
	"github.com/holdfast-io/holdfast/clients/go/source"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// node is one operator of the job graph.
type node struct {
	uid    string
	name   string
	inputs []edge
	// source, and build, which makes the operators of an attempt, are set for a
	// source.
	source source.Source
	build  func(b *builder) (func(Record) error, error)
	// plan opens a copy of the function to learn its states; nil where there is
	// no function.
	plan func(op *operatorContext) error
	// sink is set for a sink that is one.
	sink     sink.Sink
	sinkSpec *holdfastv1.SinkSpec // once the job is planned
}

type edge struct {
	from         *node
	partitioning holdfastv1.Partitioning
}

func (n *node) keyed() bool {
	for _, in := range n.inputs {
		if in.partitioning != holdfastv1.Partitioning_PARTITIONING_FORWARD {
			return true
		}
	}
	return false
}

func (e *StreamExecutionEnvironment) add(n *node) *node {
	e.nodes = append(e.nodes, n)
	return n
}

// sinkUID makes a uid for a sink, which has none of its own.
func (e *StreamExecutionEnvironment) sinkUID(of string) string {
	uid := of + "-print"
	for i := 2; ; i++ {
		taken := false
		for _, n := range e.nodes {
			taken = taken || n.uid == uid
		}
		if !taken {
			return uid
		}
		uid = fmt.Sprintf("%s-print-%d", of, i)
	}
}

// writer shares one writer between all sinks that write to it.
func (e *StreamExecutionEnvironment) writer(w io.Writer) io.Writer {
	if isNilValue(w) {
		return io.Discard
	}
	if l := e.writers[w]; l != nil {
		return l
	}
	l := &lineWriter{w: w}
	e.writers[w] = l
	return l
}

var jobNamePattern = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._ -]{0,127}$`)

// spec checks the graph and makes the job's specification.
func (e *StreamExecutionEnvironment) spec(name string) (*holdfastv1.JobSpec, error) {
	problems := append([]error{}, e.problems...)
	if !jobNamePattern.MatchString(name) {
		problems = append(problems, fmt.Errorf(
			"the job name %q must be 1 to 128 of the characters A-Z a-z 0-9 . _ - and space, the first one neither dot nor space", name))
	}
	problems = append(problems, within("the parallelism", e.parallelism, 1, maxParallelism), within("the max parallelism", e.maxParallel, 0, maxParallelism),
		within("the number of task slots", e.slots, 0, maxParallelism), within("the size of the working copy", e.copyBytes, 0, math.MaxInt))
	problems = append(problems, e.checkGraph()...)
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("the job cannot run: %w", err)
	}
	spec := &holdfastv1.JobSpec{
		Name: name, Checkpoint: e.checkpoint, StateBackend: e.stateBackend(), RestartStrategy: e.restartStrategy(),
	}
	for _, n := range e.nodes {
		op, err := e.operator(name, n)
		if err != nil {
			return nil, fmt.Errorf("the job cannot run: operator %q: %w", n.uid, err)
		}
		spec.Operators = append(spec.Operators, op)
	}
	return spec, nil
}

// maxParallelism is Flink's and the server's.
const maxParallelism = 1 << 15

func within(what string, n, least, most int) error {
	switch {
	case n < least:
		return fmt.Errorf("%s must be at least %d, and is %d", what, least, n)
	case n > most:
		return fmt.Errorf("%s must be at most %d, and is %d", what, most, n)
	}
	return nil
}

func (e *StreamExecutionEnvironment) checkGraph() []error {
	var problems []error
	sources, seen := 0, map[string]bool{}
	for _, n := range e.nodes {
		if n.source != nil {
			sources++
		}
		switch {
		case n.uid == "":
			problems = append(problems, fmt.Errorf("the operator %q needs a uid", n.name))
		case seen[n.uid]:
			problems = append(problems, fmt.Errorf("two operators have the uid %q; give each its own", n.uid))
		}
		seen[n.uid] = true
		for _, in := range n.inputs {
			if in.partitioning == holdfastv1.Partitioning_PARTITIONING_HASH && e.parallelism > 1 {
				problems = append(problems, fmt.Errorf(
					"operator %q is behind KeyBy with a parallelism of %d: use KeyByCoPartitioned where the source is partitioned by this key, or a parallelism of 1",
					n.uid, e.parallelism))
			}
		}
	}
	if sources == 0 {
		problems = append(problems, errors.New("it has no source"))
	}
	return problems
}

// operator describes one node; opening its function tells the states.
func (e *StreamExecutionEnvironment) operator(jobName string, n *node) (*holdfastv1.Operator, error) {
	op := &holdfastv1.Operator{
		Uid: n.uid, Name: n.name, Parallelism: uint32(e.parallelism), MaxParallelism: uint32(e.maxParallel),
	}
	for _, in := range n.inputs {
		op.Inputs = append(op.Inputs, &holdfastv1.OperatorInput{OperatorUid: in.from.uid, Partitioning: in.partitioning})
	}
	if n.source != nil {
		s, err := n.source.Spec()
		if err != nil {
			return nil, err
		}
		op.Source = &holdfastv1.SourceSpec{Connector: s.Connector, Topics: s.Topics, Properties: s.Properties}
	}
	if n.sink != nil {
		s, err := sinkSpec(n.sink)
		if err != nil {
			return nil, err
		}
		op.Sink, n.sinkSpec = s, s
	}
	if n.plan != nil {
		ctx := &operatorContext{jobName: jobName, uid: n.uid, keyed: n.keyed(), log: e.log.With("operator", n.uid)}
		if err := n.plan(ctx); err != nil {
			return nil, err
		}
		op.States, op.OperatorStates = ctx.states, ctx.operatorStates
	}
	return op, nil
}
