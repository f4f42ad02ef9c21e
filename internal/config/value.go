package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/internal/flinkunits"
)

// parse reads a text in the key's syntax into a value of the field's type, and
// checks its bounds.
func (k *Key) parse(text string) (reflect.Value, error) {
	v, err := k.read(text)
	if err != nil {
		return v, err
	}
	if d, ok := v.Interface().(time.Duration); ok && d%time.Millisecond != 0 {
		return v, fmt.Errorf("%s is not in whole milliseconds", text)
	}
	return v, k.checkBounds(v)
}

func (k *Key) read(text string) (reflect.Value, error) {
	t := reflect.TypeFor[Config]().FieldByIndex(k.index).Type
	v := reflect.New(t).Elem()
	var err error
	switch k.Type {
	case "text":
		text, err = k.word(text)
		v.SetString(text)
	case "bool":
		var b bool
		b, err = readBool(text)
		v.SetBool(b)
	case "number":
		var n uint64
		n, err = readNumber(text, t.Bits())
		v.SetUint(n)
	case "decimal":
		var f float64
		f, err = strconv.ParseFloat(strings.TrimSpace(text), 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			err = fmt.Errorf("%q is not a number", text)
		}
		v.SetFloat(f)
	case "duration":
		var d time.Duration
		d, err = flinkunits.ParseDuration(text)
		v.SetInt(int64(d))
	case "size":
		var s flinkunits.Size
		s, err = flinkunits.ParseSize(text)
		v.SetUint(uint64(s))
	}
	return v, err
}

// parseFlag is parse for what flags have always taken too: Go's durations
// (1m30s, 1.5s) and spellings of true and false.
func (k *Key) parseFlag(text string) (reflect.Value, error) {
	v, err := k.parse(text)
	if err == nil {
		return v, nil
	}
	switch k.Type {
	case "duration":
		if d, goErr := time.ParseDuration(text); goErr == nil && d >= 0 {
			return k.parse(flinkunits.FormatDuration(d))
		}
	case "bool":
		if b, goErr := strconv.ParseBool(text); goErr == nil {
			return k.parse(strconv.FormatBool(b))
		}
	}
	return v, err
}

func readBool(text string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", text)
}

func readNumber(text string, bits int) (uint64, error) {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, bits)
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%s is above the largest value, %d", text, uint64(math.MaxUint64)>>(64-bits))
	}
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number from 0", text)
	}
	return n, nil
}

// word finds the one of Values that the text spells.
func (k *Key) word(text string) (string, error) {
	if k.syntax == "directory" {
		return text, checkDirectory(text)
	}
	if k.Values == nil {
		return text, nil
	}
	trimmed := strings.TrimSpace(text)
	var names []string
	for _, w := range k.Values {
		for _, s := range append([]string{w.Name}, w.Aliases...) {
			if strings.EqualFold(s, trimmed) {
				return w.Name, nil
			}
		}
		names = append(names, w.Name)
	}
	for _, p := range k.planned {
		if strings.EqualFold(p, trimmed) {
			return "", fmt.Errorf("%q is not supported yet; this version has %s", text, strings.ReplaceAll(either(names), " or ", " and "))
		}
	}
	if k.Open == "" {
		return "", fmt.Errorf("%q is unknown; use %s", text, either(names))
	}
	if !openRE.MatchString(trimmed) {
		return "", fmt.Errorf("%q is unknown; use %s: a letter and up to 31 letters, digits, - and _, all of them lower case", text, either(append(names, k.Open)))
	}
	return trimmed, nil
}

// openRE is how factories are named (stateserver/backend).
var openRE = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,31}$`)

// checkDirectory looks at what is before the path of a directory. The rest is
// judged by the nodes, which know what they allow.
func checkDirectory(text string) error {
	scheme, rest, ok := strings.Cut(text, ":")
	switch scheme = strings.ToLower(scheme); {
	case strings.HasPrefix(text, "/"):
		return fmt.Errorf("%q has no scheme; a mount that every node has at the same path is written file://%s", text, text)
	case !ok || scheme != "file" && scheme != "s3" && scheme != "hdfs" || !strings.HasPrefix(rest, "/"):
		return fmt.Errorf("%q is no directory; it is written like file:///path, s3://bucket/path or hdfs://host:port/path", text)
	}
	return nil
}

func either(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

func (k *Key) checkBounds(v reflect.Value) error {
	if k.zero && v.IsZero() {
		return nil
	}
	if k.Min != "" && less(v, k.bound(k.Min)) {
		return fmt.Errorf("%s is below the least value, %s", k.format(v), k.Min)
	}
	if k.Max != "" && less(k.bound(k.Max), v) {
		why := ""
		if k.why != "" {
			why = ": " + k.why
		}
		return fmt.Errorf("%s is above the largest value, %s%s", k.format(v), k.Max, why)
	}
	return nil
}

// bound reads a min or max tag, which a test has checked.
func (k *Key) bound(text string) reflect.Value {
	v, _ := k.read(text)
	return v
}

func less(a, b reflect.Value) bool {
	switch {
	case a.CanInt():
		return a.Int() < b.Int()
	case a.CanUint():
		return a.Uint() < b.Uint()
	}
	return a.Float() < b.Float()
}

// format writes a value so that parse reads the same.
func (k *Key) format(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return flinkunits.FormatDuration(x)
	case float64:
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	return fmt.Sprint(v.Interface())
}
