package coordinator

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Whatever differs is named with both values, so that a person finds the line of the
// program or of the configuration that made it.
func TestSpecDifference_NamesTheProperty(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(s *holdfastv1.JobSpec)
		want   string
	}{
		{"nothing", func(*holdfastv1.JobSpec) {}, ""},
		{"a number", func(s *holdfastv1.JobSpec) { s.Checkpoint.IntervalMs = 5000 }, "checkpoint.interval_ms is 1000, submitted is 5000"},
		{"an enum", func(s *holdfastv1.JobSpec) {
			s.Checkpoint.Mode = holdfastv1.CheckpointMode_CHECKPOINT_MODE_AT_LEAST_ONCE
		}, "checkpoint.mode is CHECKPOINT_MODE_EXACTLY_ONCE, submitted is CHECKPOINT_MODE_AT_LEAST_ONCE"},
		{"no checkpoints", func(s *holdfastv1.JobSpec) { s.Checkpoint = nil }, "checkpoint is set, submitted is not set"},
		{"another restart strategy", func(s *holdfastv1.JobSpec) {
			s.RestartStrategy = &holdfastv1.RestartStrategy{Strategy: &holdfastv1.RestartStrategy_None{None: &holdfastv1.NoRestart{}}}
		}, "restart_strategy.none is not set, submitted is set; restart_strategy.exponential_delay is set, submitted is not set"},
		{"the limit of a state", func(s *holdfastv1.JobSpec) { s.StateBackend.MemoryMaxSize = 7 }, "state_backend.memory_max_size is #, submitted is 7"},
		{"a property of a source", func(s *holdfastv1.JobSpec) {
			s.Operators[0].Source.Properties = map[string]string{"b": "1", "a": strings.Repeat("x", 100)}
		}, `operator "source": source.properties["a"] is not set, submitted is "` + strings.Repeat("x", 64) + `…"; operator "source": source.properties["b"] is not set, submitted is "1"`},
		{"a topic", func(s *holdfastv1.JobSpec) { s.Operators[0].Source.Topics = []string{"other"} },
			`operator "source": source.topics[0] is "in", submitted is "other"`},
		{"one topic more", func(s *holdfastv1.JobSpec) {
			s.Operators[0].Source.Topics = append(s.Operators[0].Source.Topics, "more")
		}, `the number of operator "source": source.topics is 1, submitted is 2`},
		{"a type of a state", func(s *holdfastv1.JobSpec) { s.Operators[1].States[0].Type = "string" },
			`operator "counter": states[0].type is "int64", submitted is "string"`},
		{"an operator more", func(s *holdfastv1.JobSpec) {
			s.Operators = append(s.Operators, proto.CloneOf(s.Operators[1]))
		}, "the number of operators is 2, submitted is 3"},
	} {
		running, err := NormalizeSpec(differing())
		if err != nil {
			t.Fatal(err)
		}
		submitted := proto.CloneOf(running)
		c.change(submitted)
		got := specDifference(running, submitted)
		if before, after, ok := strings.Cut(c.want, "#"); ok {
			if !strings.HasPrefix(got, before) || !strings.HasSuffix(got, after) {
				t.Errorf("%s: %s", c.name, got)
			}
		} else if got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, got, c.want)
		}
	}
}

func differing() *holdfastv1.JobSpec {
	s := counterSpec("count")
	s.Operators[0].Source.Topics = []string{"in"}
	return s
}

// However much differs, the answer stays short.
func TestSpecDifference_IsBounded(t *testing.T) {
	a, b := differing(), differing()
	a.Operators[0].Source.Properties, b.Operators[0].Source.Properties = map[string]string{}, map[string]string{}
	for c := 'a'; c <= 'z'; c++ {
		b.Operators[0].Source.Properties[string(c)] = strings.Repeat("v", 10_000)
	}
	got := specDifference(a, b)
	if !strings.HasSuffix(got, "; and 18 more") || len(got) > 2000 {
		t.Errorf("%d bytes: %s", len(got), got)
	}
}
