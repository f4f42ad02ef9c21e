package democheck

import (
	"maps"
	"strings"
	"testing"
)

// good is a run in which "kelp" came three times, "reef" once, and a rollback
// printed (kelp,2) again.
func good() Input {
	return Input{
		Topic:   map[string]int64{"kelp": 3, "reef": 1},
		State:   map[string]int64{"kelp": 3, "reef": 1},
		Printed: map[string]map[int64]int64{"kelp": {1: 1, 2: 2, 3: 1}, "reef": {1: 1}},
	}
}

func TestCheck_GoodRun(t *testing.T) {
	r := Check(good())
	if !r.OK || r.Records != 4 || r.Words != 2 || r.Printed != 5 || r.Reprinted != 1 || len(r.Problems) != 0 {
		t.Fatalf("%+v", r)
	}
}

func TestCheck_NothingProducedIsNothingWrong(t *testing.T) {
	if r := Check(Input{}); !r.OK || r.Records != 0 {
		t.Fatalf("%+v", r)
	}
}

// TestCheck_PlantedErrors: each must be seen, in the right number, and told.
func TestCheck_PlantedErrors(t *testing.T) {
	for name, c := range map[string]struct {
		plant func(*Input)
		want  Report
		tell  string
	}{
		"never printed": {
			func(in *Input) { delete(in.Printed["kelp"], 2) },
			Report{Lost: 1, MissingPrinted: 1}, "the first of them 2",
		},
		"not counted": {
			func(in *Input) { in.State["kelp"] = 1 },
			Report{Lost: 2, MissingInState: 2}, "counts 1 of",
		},
		"lost in both places counts once": {
			func(in *Input) { in.State["kelp"] = 2; delete(in.Printed["kelp"], 3) },
			Report{Lost: 1, MissingInState: 1, MissingPrinted: 1}, "counts 2 of",
		},
		"key missing in the state": {
			func(in *Input) { delete(in.State, "reef") },
			Report{Lost: 1, MissingInState: 1}, `no "reef"`,
		},
		"counted twice": {
			func(in *Input) { in.State["kelp"] = 5 },
			Report{DoubleCounted: 2}, "counts 5 of",
		},
		"one word too high does not pay for another too low": {
			func(in *Input) { in.State["kelp"] = 4; in.State["reef"] = 0 },
			Report{DoubleCounted: 1, Lost: 1, MissingInState: 1}, "counts 4 of",
		},
		"extra key in the state": {
			func(in *Input) { in.State["ghost"] = 1 },
			Report{ExtraKeys: 1, DoubleCounted: 1}, `"ghost" was never produced`,
		},
		"extra key with count 0": {
			func(in *Input) { in.State["ghost"] = 0 },
			Report{ExtraKeys: 1}, `"ghost" was never produced`,
		},
		"extra word printed": {
			func(in *Input) { in.Printed["ghost"] = map[int64]int64{1: 1} },
			Report{ExtraKeys: 1, TooHigh: 1}, "(ghost,1) was printed",
		},
		"number too high": {
			func(in *Input) { in.Printed["kelp"][4] = 1 },
			Report{TooHigh: 1}, "(kelp,4) was printed",
		},
		"number zero": {
			func(in *Input) { in.Printed["kelp"][0] = 1 },
			Report{TooHigh: 1}, "(kelp,0) was printed",
		},
		"malformed line": {
			func(in *Input) { in.Malformed = []string{"panic: boom"} },
			Report{Malformed: 1}, "panic: boom",
		},
	} {
		t.Run(name, func(t *testing.T) {
			in := good()
			c.plant(&in)
			r := Check(in)
			if r.OK {
				t.Fatalf("not reported: %+v", r)
			}
			got := Report{
				Lost: r.Lost, DoubleCounted: r.DoubleCounted, MissingPrinted: r.MissingPrinted,
				MissingInState: r.MissingInState, TooHigh: r.TooHigh, ExtraKeys: r.ExtraKeys, Malformed: r.Malformed,
			}
			if got.Lost != c.want.Lost || got.DoubleCounted != c.want.DoubleCounted || got.MissingPrinted != c.want.MissingPrinted ||
				got.MissingInState != c.want.MissingInState || got.TooHigh != c.want.TooHigh || got.ExtraKeys != c.want.ExtraKeys ||
				got.Malformed != c.want.Malformed {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if all := strings.Join(r.Problems, "\n"); !strings.Contains(all, c.tell) {
				t.Errorf("the problems do not say %q:\n%s", c.tell, all)
			}
		})
	}
}

func TestCheck_ProblemsAreBounded(t *testing.T) {
	in := good()
	in.State = maps.Clone(in.State)
	for i := range 100 {
		in.State[strings.Repeat("x", i+1)] = 1
	}
	if r := Check(in); len(r.Problems) != maxProblems+1 || r.ExtraKeys != 100 {
		t.Fatalf("%d problems, %d extra keys", len(r.Problems), r.ExtraKeys)
	}
}

func TestParse_LinesOfOutput(t *testing.T) {
	for line, want := range map[string]struct {
		word string
		n    int64
		ok   bool
	}{
		"2017-03-17T08:21:51.249: (a,1)":        {"a", 1, true},
		"2017-03-17T08:21:51.249: (b,c,12)":     {"b,c", 12, true},
		"2017-03-17T08:21:51.249: (x: (y),3)":   {"x: (y)", 3, true},
		"2017-03-17T08:21:51.249: (a,)":         {},
		"2017-03-17T08:21:51.249: (a)":          {},
		"2017-03-17T08:21:51.249: (a,1":         {},
		"(a,1)":                                 {},
		"":                                      {},
		"panic: runtime error: (a,1)":           {},
		"2017-03-17T08:21:51.249: (a,one)":      {},
		"2017-13-17T08:21:51.249: (a,1)":        {},
		"2017-03-17T08:21:51.249123456: (a,77)": {"a", 77, true},
		"2017-03-17T08:21:51: (a,7)":            {"a", 7, true},
	} {
		word, n, ok := parse(line)
		if ok != want.ok || ok && (word != want.word || n != want.n) {
			t.Errorf("parse(%q) = %q, %d, %v", line, word, n, ok)
		}
	}
}

func TestPrinted_TornLastLineIsNoLine(t *testing.T) {
	in := Input{Printed: map[string]map[int64]int64{}}
	addOutput(&in, "2017-03-17T08:21:51.249: (a,1)\n2017-03-17T08:21:51.250: (a,")
	addOutput(&in, "2017-03-17T08:21:52.249: (a,1)\nboom\n")
	if in.Printed["a"][1] != 2 || len(in.Printed["a"]) != 1 || len(in.Malformed) != 1 || in.Malformed[0] != "boom" {
		t.Fatalf("%+v", in)
	}
}

func TestCount_FromStateBytes(t *testing.T) {
	if n, err := count([]byte{2, 1, 0, 0, 0, 0, 0, 0}); err != nil || n != 258 {
		t.Fatalf("%d, %v", n, err)
	}
	if _, err := count([]byte{1, 2, 3}); err == nil {
		t.Fatal("3 bytes are no int64")
	}
}
