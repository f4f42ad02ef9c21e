package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-io/holdfast/clients/go/source"
)

func write(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lines")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// lines reads a file from an offset, and the position behind each line.
func lines(path string, from int64, max int) (values []string, positions []int64, err error) {
	r, err := NewSource(path).Open(context.Background(), source.OpenOptions{
		Splits: []source.Split{{Topic: path, StartOffset: from, Resolved: true}},
	})
	if err != nil {
		return nil, nil, err
	}
	defer r.Close()
	for {
		var b source.Batch
		err := r.Poll(context.Background(), &b, max)
		for i := range b.Len() {
			values = append(values, string(b.Value(i)))
			positions = append(positions, b.Offset(i)+1)
		}
		if n := len(positions); n > 0 && r.Positions(nil)[0].NextOffset != positions[n-1] {
			return nil, nil, fmt.Errorf("position %v behind %d", r.Positions(nil), positions[n-1])
		}
		if errors.Is(err, io.EOF) {
			return values, positions, nil
		}
		if err != nil {
			return nil, nil, err
		}
	}
}

func TestSource_Lines(t *testing.T) {
	for content, want := range map[string]string{
		"":             `[]`,
		"a\nb":         `["a" "b"]`,
		"a\n\nb\n":     `["a" "" "b"]`,
		"a\r\nb\r\n":   `["a" "b"]`,
		"\n":           `[""]`,
		"one\ntwo\n\n": `["one" "two" ""]`,
	} {
		got, _, err := lines(write(t, content), 0, 2)
		if err != nil || fmt.Sprintf("%q", got) != want {
			t.Errorf("%q: %q, %v, want %s", content, got, err, want)
		}
	}
}

func TestSource_GoesOnFromEachPosition(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		content := strings.Join(rapid.SliceOfN(rapid.StringMatching(`[a-z]{0,9}\r?`), 0, 20).Draw(rt, "lines"), "\n")
		path := write(t, content)
		all, positions, err := lines(path, 0, 7)
		if err != nil {
			rt.Fatal(err)
		}
		for i, p := range positions {
			rest, _, err := lines(path, p, 3)
			if err != nil || fmt.Sprint(rest) != fmt.Sprint(all[i+1:]) {
				rt.Fatalf("from %d: %q, %v, want %q", p, rest, err, all[i+1:])
			}
		}
	})
}

func TestSource_LongLines(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	got, _, err := lines(write(t, long+"\nend\n"), 0, 10)
	if err != nil || len(got) != 2 || got[0] != long {
		t.Fatalf("%d lines, %v", len(got), err)
	}
	_, _, err = lines(write(t, string(bytes.Repeat([]byte("x"), MaxLine+1))), 0, 10)
	if err == nil {
		t.Fatal("a line above the limit was read")
	}
}

func TestSource_MissingAndShortFiles(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "no-such-file")
	if _, err := NewSource(missing).DiscoverSplits(context.Background(), source.DiscoverOptions{}); !errors.Is(err, source.ErrSourceNotFound) {
		t.Errorf("discover returned %v", err)
	}
	if _, _, err := lines(missing, 0, 1); !errors.Is(err, source.ErrSourceNotFound) {
		t.Errorf("open returned %v", err)
	}
	var gap *source.OffsetOutOfRangeError
	if _, _, err := lines(write(t, "abc"), 4, 1); !errors.As(err, &gap) {
		t.Errorf("open beyond the end returned %v", err)
	}
}

func TestSource_SeveralFiles(t *testing.T) {
	a, b := write(t, "a1\na2\n"), write(t, "b1\n")
	s := NewSource(a, b)
	splits, err := s.DiscoverSplits(context.Background(), source.DiscoverOptions{ResolveOffsets: true})
	if err != nil || len(splits) != 2 || splits[1].Topic != b || !splits[1].Resolved {
		t.Fatalf("splits %v, %v", splits, err)
	}
	r, err := s.Open(context.Background(), source.OpenOptions{Splits: splits})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var batch source.Batch
	if err := r.Poll(context.Background(), &batch, 10); !errors.Is(err, io.EOF) || batch.Len() != 3 {
		t.Fatalf("poll returned %v, %d records", err, batch.Len())
	}
	if p := r.Positions(nil); p[0].NextOffset != 6 || p[1].NextOffset != 3 {
		t.Fatalf("positions %v", p)
	}
}
