package bench

import (
	"strings"
	"testing"
)

// steady is the curve of 100,000 checkpoints that leave nothing behind.
func steady() *CheckpointsReport {
	r := &CheckpointsReport{Jobs: 1}
	for n := uint64(0); n <= 100; n++ {
		r.Curve = append(r.Curve, CheckpointRow{
			Checkpoints: n * 1000, Seconds: 3 * float64(n), LogIndex: n * 3000,
			LogBytes: min(n, 16) << 20, SnapshotFiles: 2 + n%2, SnapshotBytes: (2 + n%2) * 180 << 10,
			RecordBytes: 85<<10 + n*20, Versions: 1 + n%2, StateBytes: 70<<10 + n%7<<10, DirectoryBytes: min(n, 16)<<20 + 400<<10,
			Memory: Memory{Anonymous: 18<<20 + n%3<<20},
		})
	}
	return r
}

func TestBounds_SteadyCurveKeepsThem(t *testing.T) {
	r := steady()
	r.judge()
	if err := r.Verdict(); err != nil || !r.Level {
		t.Errorf("a curve that is level: level checked %v, %v", r.Level, err)
	}
}

// A leak of few bytes a checkpoint is found in every column, by its rise or by its
// bound, and named.
func TestBounds_LeakIsNamed(t *testing.T) {
	for curve, leak := range map[string]func(x *CheckpointRow){
		"raft.db":               func(x *CheckpointRow) { x.LogBytes += 600 * x.Checkpoints },
		"snapshot files":        func(x *CheckpointRow) { x.SnapshotFiles += x.Checkpoints / 20_000 },
		"snapshots":             func(x *CheckpointRow) { x.SnapshotBytes += 30 * x.Checkpoints },
		"coordinator's records": func(x *CheckpointRow) { x.RecordBytes += x.Checkpoints },
		"versions":              func(x *CheckpointRow) { x.Versions += x.Checkpoints / 50_000 },
		"keyed state":           func(x *CheckpointRow) { x.StateBytes += 8 * x.Checkpoints },
		"data directory":        func(x *CheckpointRow) { x.DirectoryBytes += 600 * x.Checkpoints },
		"anonymous memory":      func(x *CheckpointRow) { x.Anonymous += 250 * x.Checkpoints },
	} {
		r := steady()
		for i := range r.Curve {
			leak(&r.Curve[i])
		}
		r.judge()
		if err := r.Verdict(); err == nil || !strings.Contains(err.Error(), curve+":") {
			t.Errorf("a leak in %s: %v", curve, err)
		}
	}
}

// A run that gets slower keeps the file that it made when it was fast.
func TestBounds_LogAtTheHighestRate(t *testing.T) {
	r := steady()
	for i := range r.Curve {
		r.Curve[i].LogBytes = min(uint64(i), 32) << 20
		if i > 20 {
			r.Curve[i].Seconds = r.Curve[20].Seconds + 60*float64(i-20)
		} else {
			r.Curve[i].Seconds = 2 * float64(i)
		}
	}
	r.judge()
	if err := r.Verdict(); err != nil {
		t.Error(err)
	}
}

// A short run rises, because nothing has been cut yet: only the bounds count.
func TestBounds_ShortRunIsNotCalledLevel(t *testing.T) {
	r := steady()
	r.Curve = r.Curve[:12]
	r.judge()
	if err := r.Verdict(); err != nil || r.Level {
		t.Errorf("a short run: level checked %v, %v", r.Level, err)
	}
	r.Curve[3].Versions = 3
	r.Bounds = nil
	r.judge()
	if err := r.Verdict(); err == nil || !strings.Contains(err.Error(), "versions: 3 ") {
		t.Errorf("a version too many: %v", err)
	}
}
