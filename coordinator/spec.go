package coordinator

import (
	"fmt"
	"regexp"
	"slices"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Bounds and defaults of a job specification.
const (
	// MaxParallelism bounds subtasks and key groups of an operator, as Flink.
	MaxParallelism = 1 << 15
	// MaxOperators, MaxStates and MaxTables bound the graph: its operators, its
	// named states, and states times key groups.
	MaxOperators = 256
	MaxStates    = 256
	MaxTables    = 1 << 20

	defaultMaxParallelism = 128
	defaultMemoryMaxSize  = 5 << 20
	maxMemoryMaxSize      = 64 << 30
	// longestMs stands for "never": every longer time means it.
	longestMs        = 10 * 365 * 24 * 3_600_000
	defaultTimeoutMs = 600_000
	minIntervalMs    = 10
)

var (
	nameRE = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._ -]{0,127}$`)
	// nameRule is nameRE in words.
	nameRule = "1 to 128 of the characters A-Z a-z 0-9 . _ - and space, the first one neither dot nor space"
	typeRE   = regexp.MustCompile(`^(bytes|string|int64|float64|bool|json|proto:[A-Za-z_][A-Za-z0-9_.]*)$`)
)

// NormalizeSpec checks a specification and fills its defaults, so that two
// programs that mean the same job have equal specifications. The argument is
// not changed. The error is INVALID_JOB_SPEC and names the field.
func NormalizeSpec(in *holdfastv1.JobSpec) (*holdfastv1.JobSpec, *holdfastv1.Error) {
	if in == nil {
		return nil, invalid("spec", "the request has no job specification")
	}
	s := proto.CloneOf(in)
	if !nameRE.MatchString(s.Name) {
		return nil, invalid("name", fmt.Sprintf("the job name %s is not %s", quote(s.Name), nameRule))
	}
	if e := normalizeBackend(s); e != nil {
		return nil, e
	}
	if e := normalizeCheckpoint(s); e != nil {
		return nil, e
	}
	s.RestartStrategy = effectiveStrategy(s.RestartStrategy, s.Checkpoint.IntervalMs > 0)
	if e := checkStrategy(s.RestartStrategy.GetExponentialDelay()); e != nil {
		return nil, e
	}
	if x := s.RestartStrategy.GetFailureRate(); x.GetMaxFailuresPerInterval() > maxRateFailures {
		return nil, invalid("restart_strategy", fmt.Sprintf("failure-rate counts at most %d failures an interval", maxRateFailures))
	}
	if e := normalizeOperators(s); e != nil {
		return s, e
	}
	return s, needsCheckpoints(s)
}

// needsCheckpoints refuses a job without them if something waits for them for ever: the
// guarantee of a sink, and operator state, which leaves its process in no other way.
func needsCheckpoints(s *holdfastv1.JobSpec) *holdfastv1.Error {
	if s.Checkpoint.IntervalMs > 0 {
		return nil
	}
	for _, o := range s.Operators {
		if o.Sink.GetDeliveryGuarantee() == holdfastv1.DeliveryGuarantee_DELIVERY_GUARANTEE_AT_LEAST_ONCE {
			return invalid(fmt.Sprintf("operators[%q].sink", o.Uid),
				fmt.Sprintf("sink %q has the guarantee AT_LEAST_ONCE, which checkpoints give, and the job has none; enable them (EnableCheckpointing, execution.checkpointing.interval), or take NONE", o.Uid))
		}
		if len(o.OperatorStates) > 0 {
			return invalid(fmt.Sprintf("operators[%q].operator_states", o.Uid),
				fmt.Sprintf("operator %q has the operator state %q, and the job has no checkpoints, in which alone it is kept; enable them (EnableCheckpointing, execution.checkpointing.interval)", o.Uid, o.OperatorStates[0].Name))
		}
	}
	return nil
}

func invalid(field, message string) *holdfastv1.Error {
	return Failure(holdfastv1.ErrorReason_ERROR_REASON_INVALID_JOB_SPEC, message, "field", field)
}

func normalizeCheckpoint(s *holdfastv1.JobSpec) *holdfastv1.Error {
	if s.Checkpoint == nil {
		s.Checkpoint = &holdfastv1.CheckpointConfig{}
	}
	c := s.Checkpoint
	if c.IntervalMs == 0 {
		// What is disabled has no other settings to differ in.
		s.Checkpoint = &holdfastv1.CheckpointConfig{}
		return nil
	}
	if c.IntervalMs < minIntervalMs {
		return invalid("checkpoint.interval_ms", fmt.Sprintf("the checkpoint interval of %d ms is below the least one, %d ms; 0 disables checkpoints", c.IntervalMs, minIntervalMs))
	}
	if _, ok := holdfastv1.CheckpointMode_name[int32(c.Mode)]; !ok {
		return invalid("checkpoint.mode", fmt.Sprintf("unknown checkpoint mode %d; known are EXACTLY_ONCE and AT_LEAST_ONCE", c.Mode))
	}
	setDefault(&c.Mode, holdfastv1.CheckpointMode_CHECKPOINT_MODE_EXACTLY_ONCE)
	setDefault(&c.TimeoutMs, defaultTimeoutMs)
	setDefault(&c.NumRetained, 1)
	c.IntervalMs, c.TimeoutMs, c.MinPauseMs = min(c.IntervalMs, longestMs), min(c.TimeoutMs, longestMs), min(c.MinPauseMs, longestMs)
	if c.NumRetained > 100 {
		return invalid("checkpoint.num_retained", fmt.Sprintf("%d checkpoints cannot be retained, at most 100 are", c.NumRetained))
	}
	return normalizeStorage(c)
}

// checkStrategy is written so that no comparison with NaN lets it pass.
func checkStrategy(x *holdfastv1.ExponentialDelay) *holdfastv1.Error {
	if x == nil || x.BackoffMultiplier >= 1 && x.BackoffMultiplier <= maxMultiplier &&
		x.JitterFactor >= 0 && x.JitterFactor <= 1 && x.MaxBackoffMs >= x.InitialBackoffMs {
		return nil
	}
	return invalid("restart_strategy", fmt.Sprintf("exponential-delay needs a multiplier from 1 to %d, a jitter factor from 0 to 1, and a maximal backoff not below the initial one", maxMultiplier))
}

func normalizeOperators(s *holdfastv1.JobSpec) *holdfastv1.Error {
	if len(s.Operators) == 0 || len(s.Operators) > MaxOperators {
		return invalid("operators", fmt.Sprintf("a job has 1 to %d operators, this one %d", MaxOperators, len(s.Operators)))
	}
	all := map[string]bool{}
	for _, o := range s.Operators {
		all[o.Uid] = true
	}
	seen := map[string]*holdfastv1.Operator{}
	head := map[string]string{}
	states, unkeyed, groups, subtasks := 0, 0, 0, 0
	for _, o := range s.Operators {
		if e := normalizeOperator(o, seen); e != nil {
			return e
		}
		h, e := chainHead(o, all, seen, head)
		if e != nil {
			return e
		}
		head[o.Uid], seen[o.Uid] = h, o
		states += len(o.States)
		unkeyed += len(o.OperatorStates)
		if o.Source != nil {
			subtasks += int(o.Parallelism)
		}
		groups = max(groups, int(o.MaxParallelism))
	}
	if subtasks > MaxParallelism {
		return invalid("operators", fmt.Sprintf("the job has %d subtasks, at most %d are allowed", subtasks, MaxParallelism))
	}
	if unkeyed > MaxStates {
		return invalid("operators", fmt.Sprintf("the job has %d operator states, at most %d are allowed", unkeyed, MaxStates))
	}
	if states > MaxStates || states*groups > MaxTables {
		return invalid("operators", fmt.Sprintf("the job has %d named states in up to %d key groups; at most %d states and %d tables are allowed", states, groups, MaxStates, MaxTables))
	}
	return nil
}

func normalizeOperator(o *holdfastv1.Operator, seen map[string]*holdfastv1.Operator) *holdfastv1.Error {
	field := "operators[" + quote(o.Uid) + "]"
	switch {
	case !nameRE.MatchString(o.Uid):
		return invalid(field, fmt.Sprintf("the operator uid %s is not %s", quote(o.Uid), nameRule))
	case seen[o.Uid] != nil:
		return invalid(field, fmt.Sprintf("two operators have the uid %q; give each its own", o.Uid))
	case o.Parallelism == 0 || o.Parallelism > MaxParallelism:
		return invalid(field+".parallelism", fmt.Sprintf("operator %q: parallelism %d is not from 1 to %d", o.Uid, o.Parallelism, MaxParallelism))
	case (o.Source == nil) == (len(o.Inputs) == 0):
		return invalid(field+".inputs", fmt.Sprintf("operator %q must have either a source or inputs, not both and not neither", o.Uid))
	}
	setDefault(&o.MaxParallelism, max(defaultMaxParallelism, o.Parallelism))
	if o.MaxParallelism < o.Parallelism || o.MaxParallelism > MaxParallelism {
		return invalid(field+".max_parallelism", fmt.Sprintf("operator %q: max parallelism %d is not from the parallelism %d to %d", o.Uid, o.MaxParallelism, o.Parallelism, MaxParallelism))
	}
	if e := normalizeSink(o, field, seen); e != nil {
		return e
	}
	if e := normalizeStates(o, field); e != nil {
		return e
	}
	return normalizeOperatorStates(o, field)
}

// maxTopics bounds the topics of a sink.
const maxTopics = 256

// normalizeSink checks where records go: a sink is the end of a chain.
func normalizeSink(o *holdfastv1.Operator, field string, seen map[string]*holdfastv1.Operator) *holdfastv1.Error {
	for _, in := range o.Inputs {
		if seen[in.OperatorUid].GetSink() != nil {
			return invalid(field+".inputs", fmt.Sprintf("operator %q reads from the sink %q, and nothing comes out of a sink", o.Uid, in.OperatorUid))
		}
	}
	k := o.Sink
	switch {
	case k == nil:
		return nil
	case o.Source != nil:
		return invalid(field+".sink", fmt.Sprintf("operator %q is a source and a sink; make two operators", o.Uid))
	case !nameRE.MatchString(k.Connector):
		return invalid(field+".sink", fmt.Sprintf("sink %q: the connector %s is not %s", o.Uid, quote(k.Connector), nameRule))
	case len(k.Topics) > maxTopics:
		return invalid(field+".sink", fmt.Sprintf("sink %q has %d topics, at most %d are allowed", o.Uid, len(k.Topics), maxTopics))
	}
	setDefault(&k.DeliveryGuarantee, holdfastv1.DeliveryGuarantee_DELIVERY_GUARANTEE_NONE)
	switch k.DeliveryGuarantee {
	case holdfastv1.DeliveryGuarantee_DELIVERY_GUARANTEE_NONE, holdfastv1.DeliveryGuarantee_DELIVERY_GUARANTEE_AT_LEAST_ONCE:
		return nil
	case holdfastv1.DeliveryGuarantee_DELIVERY_GUARANTEE_EXACTLY_ONCE:
		return invalid(field+".sink", fmt.Sprintf("sink %q: this version has no EXACTLY_ONCE output; AT_LEAST_ONCE is for readers that can tell a record that comes again", o.Uid))
	}
	return invalid(field+".sink", fmt.Sprintf("sink %q: unknown delivery guarantee %d; known are NONE and AT_LEAST_ONCE", o.Uid, k.DeliveryGuarantee))
}

func normalizeStates(o *holdfastv1.Operator, field string) *holdfastv1.Error {
	names := map[string]bool{}
	for _, d := range o.States {
		switch {
		case !nameRE.MatchString(d.Name):
			return invalid(field+".states", fmt.Sprintf("operator %q: the state name %s is not %s", o.Uid, quote(d.Name), nameRule))
		case names[d.Name]:
			return invalid(field+".states", fmt.Sprintf("operator %q declares the state %q twice; give each its own name", o.Uid, d.Name))
		}
		if text := normalizeDescriptor(d); text != "" {
			return invalid(field+".states", fmt.Sprintf("state %q of operator %q: %s", d.Name, o.Uid, text))
		}
		names[d.Name] = true
	}
	keyed := slices.ContainsFunc(o.Inputs, func(in *holdfastv1.OperatorInput) bool {
		return in.Partitioning == holdfastv1.Partitioning_PARTITIONING_HASH || in.Partitioning == holdfastv1.Partitioning_PARTITIONING_CO_PARTITIONED
	})
	if len(o.States) > 0 && !keyed {
		return invalid(field+".states", fmt.Sprintf("operator %q has keyed state but no keyed input; put a KeyBy before it", o.Uid))
	}
	return nil
}

// chainHead finds the source whose subtask will run the operator, and refuses
// what would need records to move between subtasks.
func chainHead(o *holdfastv1.Operator, all map[string]bool, seen map[string]*holdfastv1.Operator, head map[string]string) (string, *holdfastv1.Error) {
	if o.Source != nil {
		return o.Uid, nil
	}
	h := ""
	for _, in := range o.Inputs {
		from := seen[in.OperatorUid]
		field := fmt.Sprintf("operators[%q].inputs", o.Uid)
		if from == nil {
			return "", invalid(field, unknownInput(o.Uid, in.OperatorUid, all[in.OperatorUid]))
		}
		if h == "" {
			h = head[from.Uid]
		}
		switch {
		case in.Partitioning == holdfastv1.Partitioning_PARTITIONING_UNSPECIFIED || holdfastv1.Partitioning_name[int32(in.Partitioning)] == "":
			return "", invalid(field, fmt.Sprintf("operator %q: its input from %q has no known partitioning; known are FORWARD, HASH and CO_PARTITIONED", o.Uid, in.OperatorUid))
		case in.Partitioning == holdfastv1.Partitioning_PARTITIONING_HASH && (o.Parallelism > 1 || from.Parallelism > 1):
			return "", needsExchange(field, o.Uid, "keyBy at a parallelism above 1; use parallelism 1, or declare that the source is partitioned by the key already (co-partitioned)")
		case o.Parallelism != from.Parallelism:
			return "", needsExchange(field, o.Uid, fmt.Sprintf("parallelism %d after %d; give both the same", o.Parallelism, from.Parallelism))
		case h != head[from.Uid]:
			return "", needsExchange(field, o.Uid, "inputs of two sources")
		}
	}
	return h, nil
}

func unknownInput(uid, from string, exists bool) string {
	switch {
	case from == uid:
		return fmt.Sprintf("operator %q reads from itself; a graph has no cycle", uid)
	case exists:
		return fmt.Sprintf("operator %q reads from %q, which is not before it: list operators behind their inputs; a graph has no cycle", uid, from)
	}
	return fmt.Sprintf("operator %q reads from %s, and no operator has this uid", uid, quote(from))
}

func needsExchange(field, uid, what string) *holdfastv1.Error {
	return invalid(field, fmt.Sprintf("operator %q needs records to move between subtasks, which this version does not do: %s", uid, what))
}
