// Package render prints results as tables for people or JSON for programs,
// and progress while something takes its time.
package render

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mattn/go-isatty"
)

// Format says how results are printed.
type Format string

// The formats of -o.
const (
	FormatTable Format = "table"
	FormatJSON  Format = "json"
)

// ParseFormat reads a value of -o.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case FormatTable, FormatJSON:
		return f, nil
	}
	return "", fmt.Errorf("--output is table or json, not %q", s)
}

// Table is rows under a header. A row may have fewer cells than the header.
type Table struct {
	Header []string
	Rows   [][]string
	// Style colours the header and the words that stand for a condition.
	Style Style
}

// Add appends a row of cells, each printed with %v.
func (t *Table) Add(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = fmt.Sprint(c)
	}
	t.Rows = append(t.Rows, row)
}

// Write prints the columns two spaces apart, without trailing spaces. A table
// without rows prints its header, so that "nothing" looks different from a
// failure.
func (t *Table) Write(w io.Writer) error {
	widths := make([]int, len(t.Header))
	lines := append([][]string{t.Header}, t.Rows...)
	for _, line := range lines {
		for i, cell := range line {
			if i < len(widths) {
				widths[i] = max(widths[i], utf8.RuneCountInString(cell))
			}
		}
	}
	for i, line := range lines {
		paint := t.Style.Word
		if i == 0 {
			paint = t.Style.Bold
		}
		if _, err := fmt.Fprintln(w, joinCells(line, widths, paint)); err != nil {
			return err
		}
	}
	return nil
}

func joinCells(line []string, widths []int, paint func(string) string) string {
	var b strings.Builder
	for i, cell := range line {
		b.WriteString(paint(cell))
		if i < len(line)-1 && i < len(widths) {
			b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// JSON prints v indented, with a newline at the end.
func JSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// JSONLine prints v on one line.
func JSONLine(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// Time prints milliseconds since 1970 in local time; 0 is "-".
func Time(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).Format("2006-01-02 15:04:05.000")
}

// Bytes prints a number of bytes in the largest binary unit below it.
func Bytes(n uint64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, suffix := float64(n), ""
	for _, s := range []string{"KiB", "MiB", "GiB", "TiB"} {
		f /= unit
		suffix = s
		if f < unit {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", f, suffix)
}

// IsTerminal reports whether w is a terminal.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
