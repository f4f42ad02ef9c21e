package render

import (
	"bytes"
	"strings"
	"testing"
)

func TestTable_AlignsByRunes(t *testing.T) {
	tab := Table{Header: []string{"NAME", "N", "WHY"}}
	tab.Add("é", 10, "")
	tab.Add("longer", 2, "x")
	var b bytes.Buffer
	if err := tab.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := "NAME    N   WHY\né       10\nlonger  2   x\n"
	if b.String() != want {
		t.Fatalf("got\n%swant\n%s", b.String(), want)
	}
}

func TestTable_EmptyPrintsItsHeader(t *testing.T) {
	var b bytes.Buffer
	tab := Table{Header: []string{"A", "B"}}
	if err := tab.Write(&b); err != nil || b.String() != "A  B\n" {
		t.Fatalf("%q, %v", b.String(), err)
	}
}

func TestJSON_LeavesTextAsItIs(t *testing.T) {
	var b bytes.Buffer
	if err := JSONLine(&b, map[string]string{"a": "<&>"}); err != nil || b.String() != "{\"a\":\"<&>\"}\n" {
		t.Fatalf("%q, %v", b.String(), err)
	}
	b.Reset()
	if err := JSON(&b, []int{1}); err != nil || b.String() != "[\n  1\n]\n" {
		t.Fatalf("%q, %v", b.String(), err)
	}
}

func TestBytes_Units(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 5 << 20: "5.0 MiB", 3 << 30: "3.0 GiB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestTime_ZeroIsADash(t *testing.T) {
	if Time(0) != "-" || !strings.HasSuffix(Time(1489735311249), ".249") {
		t.Fatalf("%q %q", Time(0), Time(1489735311249))
	}
}

func TestParseFormat_Values(t *testing.T) {
	for _, s := range []string{"table", "json"} {
		if f, err := ParseFormat(s); err != nil || string(f) != s {
			t.Errorf("%q: %v, %v", s, f, err)
		}
	}
	if _, err := ParseFormat("yaml"); err == nil {
		t.Error("yaml is no format")
	}
}

func TestStyle_OnlyWhereItIsOn(t *testing.T) {
	if got := StyleFor(&bytes.Buffer{}).Red("x"); got != "x" {
		t.Fatalf("a buffer is no terminal: %q", got)
	}
	if got := (Style{on: true}).Red("x"); got != "\x1b[31mx\x1b[0m" {
		t.Fatalf("%q", got)
	}
}
