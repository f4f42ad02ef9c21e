package backendtest

import "testing"

// TestSuite_PassesWhatIsRight: the simplest backend fails only for what it is too
// simple for: it reads a snapshot into memory as a whole.
func TestSuite_PassesWhatIsRight(t *testing.T) {
	for name, why := range Try(t.Context(), t.TempDir(), faults{}.factory) {
		if name != "ReadBounded" {
			t.Errorf("%s: %v", name, why)
		}
	}
}

// TestSuite_CatchesPlantedFaults: each fault fails the suite, and the check that is
// for it.
func TestSuite_CatchesPlantedFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		faults faults
		check  string
	}{
		{"a lost delete", faults{lostDelete: true}, "IncrementalSnapshots"},
		{"a delete that no snapshot is told", faults{lostTombstone: true}, "IncrementalSnapshots"},
		{"a cut that sees a later write", faults{lateCut: true}, "Cut"},
		{"a restore that keeps an old key", faults{keepsOldKey: true}, "IncrementalSnapshots"},
		{"a namespace mixed up between two states", faults{mixedNamespace: true}, "Namespaces"},
		{"a snapshot whose last block is missing", faults{lastBlock: true}, "FullSnapshots"},
		{"an iterator that skips a key under writes", faults{skipsUnderWrite: true}, "ScanUnderWrites"},
		{"a refused batch that is half applied", faults{partialBatch: true}, "Refusals"},
		{"damage that is not told", faults{silentDamage: true}, "Damage"},
		{"a checkpoint that was given up as a base", faults{abortedBase: true}, "GivenUpSnapshots"},
		{"a snapshot that is read into memory as a whole", faults{}, "ReadBounded"},
		{"sizes that are not told", faults{noSizes: true}, "Model"},
		{"a TTL that is forgotten", faults{forgetsTTL: true}, "Kinds"},
		{"a list without a bound", faults{growsForever: true}, "KindRefusals"},
		{"a write that failed and cannot be done again", faults{lostByFailure: true}, "WriteAgain"},
		{"a restored state that cannot end", faults{oneCutEach: true}, "AfterRestore"},
	} {
		t.Run(c.name, func(t *testing.T) {
			failed := Try(t.Context(), t.TempDir(), c.faults.factory, c.check)
			if len(failed[c.check]) == 0 {
				t.Fatalf("the check %s did not find it", c.check)
			}
			t.Log(failed[c.check][0])
		})
	}
}
