// Package democheck judges a run of the demo from the outside: it reads the
// topic, the state and the printed lines anew and shares no code with what
// counted.
package democheck

import (
	"fmt"
	"slices"
)

// Input is what was found, by word.
type Input struct {
	// Topic is how often a word stands in the topic.
	Topic map[string]int64
	// State is the count that the job keeps.
	State map[string]int64
	// Printed has for each word the numbers that were printed, and how often.
	Printed map[string]map[int64]int64
	// Malformed are printed lines that are not of the form "time: (word,n)".
	Malformed []string
}

// Report is the verdict. All but Records, Words, Printed and Reprinted must be
// 0 in a good run.
type Report struct {
	OK bool `json:"ok"`
	// Records and Words are those of the topic; Printed counts lines.
	Records int64 `json:"records"`
	Words   int   `json:"words"`
	Printed int64 `json:"printed"`
	// Lost are records that were not counted or not printed.
	Lost int64 `json:"lost"`
	// DoubleCounted is by how much counts in the state are too high.
	DoubleCounted int64 `json:"double_counted"`
	// Reprinted are lines whose number had been printed before: after a
	// rollback that is right.
	Reprinted int64 `json:"reprinted"`
	// MissingPrinted and MissingInState are the two ways to be lost.
	MissingPrinted int64 `json:"missing_printed"`
	MissingInState int64 `json:"missing_in_state"`
	// TooHigh are printed numbers that the topic does not bear out.
	TooHigh int64 `json:"too_high"`
	// ExtraKeys are words of the state or the output that nobody produced.
	ExtraKeys int64 `json:"extra_keys"`
	Malformed int64 `json:"malformed"`
	// Replicas and ReplicasEqual come from the cluster's own comparison.
	Replicas      int  `json:"replicas"`
	ReplicasEqual bool `json:"replicas_equal"`
	// Problems says in words what is wrong, at most maxProblems.
	Problems []string `json:"problems,omitempty"`
}

// maxProblems keeps the report readable when everything is wrong.
const maxProblems = 20

// Check compares the three. It judges all of Report but the replicas.
func Check(in Input) *Report {
	r := &Report{Words: len(in.Topic)}
	for _, word := range words(in) {
		r.checkWord(word, in.Topic[word], in.State, in.Printed[word])
	}
	for _, line := range in.Malformed {
		r.Malformed++
		r.problem("not a line of output: %q", line)
	}
	r.OK = r.Lost == 0 && r.DoubleCounted == 0 && r.TooHigh == 0 && r.ExtraKeys == 0 && r.Malformed == 0
	return r
}

func words(in Input) []string {
	var all []string
	for w := range in.Topic {
		all = append(all, w)
	}
	for w := range in.State {
		all = append(all, w)
	}
	for w := range in.Printed {
		all = append(all, w)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (r *Report) checkWord(word string, produced int64, state map[string]int64, printed map[int64]int64) {
	r.Records += produced
	if produced == 0 {
		r.ExtraKeys++
		r.problem("%q was never produced", word)
	}
	counted, there := state[word]
	if !there && produced > 0 {
		r.problem("the state has no %q", word)
	}
	var notCounted int64
	switch {
	case counted > produced:
		r.DoubleCounted += counted - produced
		r.problem("the state counts %d of %q; %d were produced", counted, word, produced)
	case counted < produced:
		notCounted = produced - counted
		r.MissingInState += notCounted
		r.problem("the state counts %d of %q; %d were produced", counted, word, produced)
	}
	notPrinted := r.checkPrinted(word, produced, printed)
	// A record that is missing in both places is lost once.
	r.Lost += max(notCounted, notPrinted)
}

// checkPrinted compares the printed numbers with 1..produced and returns how
// many are missing.
func (r *Report) checkPrinted(word string, produced int64, printed map[int64]int64) int64 {
	var covered int64
	for n, times := range printed {
		r.Printed += times
		r.Reprinted += times - 1
		if n < 1 || n > produced {
			r.TooHigh++
			r.problem("(%s,%d) was printed; %d were produced", word, n, produced)
			continue
		}
		covered++
	}
	missing := produced - covered
	r.MissingPrinted += missing
	if missing > 0 {
		r.problem("%d of the numbers 1 to %d of %q were never printed, the first of them %d", missing, produced, word, firstMissing(produced, printed))
	}
	return missing
}

func firstMissing(produced int64, printed map[int64]int64) int64 {
	for n := int64(1); n <= produced; n++ {
		if printed[n] == 0 {
			return n
		}
	}
	return 0
}

func (r *Report) problem(format string, args ...any) {
	switch {
	case len(r.Problems) < maxProblems:
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	case len(r.Problems) == maxProblems:
		r.Problems = append(r.Problems, "and more")
	}
}
