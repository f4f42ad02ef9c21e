package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzLoad reads any file, environment and flag together: nothing falls over,
// what is wrong is told in lines that name a source, and what is right can be
// written as flags and read again.
func FuzzLoad(f *testing.F) {
	f.Add([]byte("name: n1\nsession-timeout: 15 s\n"), "HOLDFAST_LOG_LEVEL=debug", "data-dir", "/d")
	f.Add([]byte("restart-strategy: {type: fixed-delay, fixed-delay: {attempts: 3, delay: 10 s}}"), "HOLDFAST_SESION_TIMEOUT=1", "name", "\xff")
	f.Add([]byte("execution.checkpointing.interval: 5 s\nexecution:\n  checkpointing:\n    interval: 6 s\n"), "HOLDFAST_=x", "session-timeout", "1m30s")
	f.Add([]byte("state.memory.max-size: 1 gb"), "=", "listen", "")
	f.Fuzz(func(t *testing.T, file []byte, variable, key, text string) {
		name := filepath.Join(t.TempDir(), "f.yaml")
		if err := os.WriteFile(name, file, 0o600); err != nil {
			t.Fatal(err)
		}
		from := Sources{File: name, Environ: []string{variable}}
		if bySpelling()[key] != nil {
			from.Flags = []FlagValue{{Key: key, Text: text}}
		}
		for _, reader := range []Reader{ForNode, ForProgram, ForCheck} {
			from.Reader = reader
			r := Load(from)
			if (r.Err() == nil) != (len(r.Problems) == 0) {
				t.Fatalf("%d problems and the error %v", len(r.Problems), r.Err())
			}
			for _, p := range r.Problems {
				if p.Message == "" || strings.Contains(p.Message, "\n") {
					t.Errorf("problem %+v", p)
				}
			}
			if r.Err() == nil {
				sameAgain(t, r, reader)
			}
		}
	})
}

// sameAgain gives every setting as a flag and compares what comes out.
func sameAgain(t *testing.T, r *Result, reader Reader) {
	t.Helper()
	from := Sources{Reader: reader}
	for _, s := range r.Settings() {
		if s.Source.Kind != SourceDefault {
			from.Flags = append(from.Flags, FlagValue{Key: s.Key.Name, Text: s.Value})
		}
	}
	again := Load(from)
	if again.Err() != nil || again.Config != r.Config {
		t.Errorf("%+v is read again as %+v, %v", r.Config, again.Config, again.Err())
	}
}
