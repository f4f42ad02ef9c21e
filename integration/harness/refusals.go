package harness

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// Refusals are counts of what nodes refused, from their metrics: commands that
// the log refused ("flush/FENCED"), late frames that a host dropped
// ("late-frame/flush"), streams told that they are fenced ("told/fenced"), and
// proposals without a result ("proposal/unknown").
type Refusals map[string]uint64

// Since subtracts earlier counts and leaves out what stayed the same.
func (r Refusals) Since(before Refusals) Refusals {
	out := Refusals{}
	for k, n := range r {
		if n > before[k] {
			out[k] = n - before[k]
		}
	}
	return out
}

// Of adds up the counts of some.
func (r Refusals) Of(keys ...string) uint64 {
	sum := uint64(0)
	for _, k := range keys {
		sum += r[k]
	}
	return sum
}

// Only leaves out all but some.
func (r Refusals) Only(keys ...string) Refusals {
	out := Refusals{}
	for _, k := range keys {
		if r[k] > 0 {
			out[k] = r[k]
		}
	}
	return out
}

// Add adds other counts.
func (r Refusals) Add(other Refusals) {
	for k, n := range other {
		r[k] += n
	}
}

// The series that Refusals reads.
var refusalSeries = regexp.MustCompile(`^(?:` +
	`holdfast_coordinator_commands_refused_total\{command="(\w+)",reason="(\w+)"\}|` +
	`holdfast_stateserver_late_frames_total\{(kind)="(\w+)"\}|` +
	`holdfast_stateserver_sent_frames_total\{kind="(fenced)"\}|` +
	`holdfast_raft_proposals_total\{(outcome)="(not_applied|unknown)"\})$`)

// Refusals asks a node what it has refused since it started.
func (c *Cluster) Refusals(i int) (Refusals, error) {
	all, err := c.readMetrics(i)
	if err != nil {
		return nil, err
	}
	out := Refusals{}
	for series, n := range all {
		m := refusalSeries.FindStringSubmatch(series)
		switch {
		case m == nil:
		case m[1] != "":
			out[m[1]+"/"+m[2]] = uint64(n)
		case m[3] != "":
			out["late-frame/"+m[4]] = uint64(n)
		case m[5] != "":
			out["told/fenced"] = uint64(n)
		case m[6] != "":
			out["proposal/"+m[7]] = uint64(n)
		}
	}
	return out, nil
}

// Unread is how many bytes operators have sent to a node's port that the node
// has not read: what a stopped process finds when it goes on. Linux only.
func (c *Cluster) Unread(i int) (int, error) {
	_, port, _ := strings.Cut(c.nodes[i].ListenAddress, ":")
	number, err := strconv.Atoi(port)
	if err != nil {
		return 0, err
	}
	raw, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0, err
	}
	const established, local, state, queues = "01", 1, 3, 4
	sum := 0
	for line := range strings.Lines(string(raw)) {
		w := strings.Fields(line)
		if len(w) <= queues || !strings.HasSuffix(w[local], fmt.Sprintf(":%04X", number)) || w[state] != established {
			continue
		}
		_, rx, _ := strings.Cut(w[queues], ":")
		n, err := strconv.ParseInt(rx, 16, 64)
		if err != nil {
			return 0, err
		}
		sum += int(n)
	}
	return sum, nil
}
