// Package flinkunits reads and writes durations and sizes as Flink's
// configuration does (TimeUtils and MemorySize), so that a value can be copied
// from one to the other.
package flinkunits

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// durationUnits are Flink's labels, the largest unit first. The first label of
// each is the one that FormatDuration writes.
var durationUnits = []struct {
	unit   time.Duration
	labels []string
}{
	{24 * time.Hour, []string{"d", "day", "days"}},
	{time.Hour, []string{"h", "hour", "hours"}},
	{time.Minute, []string{"min", "m", "minute", "minutes"}},
	{time.Second, []string{"s", "sec", "secs", "second", "seconds"}},
	{time.Millisecond, []string{"ms", "milli", "millis", "millisecond", "milliseconds"}},
	// The micro sign and the Greek letter look the same; keyboards have either.
	{time.Microsecond, []string{"µs", "μs", "us", "micro", "micros", "microsecond", "microseconds"}},
	{time.Nanosecond, []string{"ns", "nano", "nanos", "nanosecond", "nanoseconds"}},
}

// ParseDuration reads a whole number and a unit ("5 s", "10min"; case does not
// matter), a number alone, which is milliseconds, or an ISO 8601 duration
// ("PT1M30S"), as Flink 2 does.
func ParseDuration(text string) (time.Duration, error) {
	if d, ok, err := parseISO(text); ok {
		return d, err
	}
	number, label, err := split(text)
	if err != nil {
		return 0, err
	}
	if label == "" {
		return scale(text, number, time.Millisecond)
	}
	for _, u := range durationUnits {
		for _, l := range u.labels {
			if l == label {
				return scale(text, number, u.unit)
			}
		}
	}
	return 0, fmt.Errorf("%q has an unknown unit %q; the units are d, h, min, s, ms, µs and ns", text, label)
}

func scale(text string, number uint64, unit time.Duration) (time.Duration, error) {
	if number > math.MaxInt64/uint64(unit) {
		return 0, fmt.Errorf("%q is longer than the longest duration, 106751 d", text)
	}
	return time.Duration(number) * unit, nil
}

// FormatDuration writes d with the largest unit that loses nothing: "90 s",
// "1 d". Zero is "0 ms", as in Flink.
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0 ms"
	}
	for _, u := range durationUnits {
		if d%u.unit == 0 {
			return fmt.Sprintf("%d %s", d/u.unit, u.labels[0])
		}
	}
	return fmt.Sprintf("%d ns", d)
}

var isoPattern = regexp.MustCompile(`^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d{1,9}))?S)?)?$`)

// parseISO tells with ok whether the text means to be ISO 8601.
func parseISO(text string) (d time.Duration, ok bool, err error) {
	trimmed := strings.ToUpper(strings.TrimSpace(text))
	if !strings.HasPrefix(trimmed, "P") {
		return 0, false, nil
	}
	m := isoPattern.FindStringSubmatch(trimmed)
	if m == nil || strings.HasSuffix(trimmed, "T") || trimmed == "P" {
		return 0, true, fmt.Errorf("%q is not an ISO 8601 duration such as PT1M30S", text)
	}
	if m[5] != "" {
		m[5] += strings.Repeat("0", 9-len(m[5]))
	}
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second, time.Nanosecond} {
		if m[i+1] == "" {
			continue
		}
		n, err := strconv.ParseUint(m[i+1], 10, 63)
		if err != nil {
			n = math.MaxInt64
		}
		part, err := scale(text, n, unit)
		if err == nil && part > math.MaxInt64-d {
			_, err = scale(text, math.MaxInt64, time.Second)
		}
		if err != nil {
			return 0, true, err
		}
		d += part
	}
	return d, true, nil
}

// split cuts a text into its number and the label of its unit, in lower case.
func split(text string) (uint64, string, error) {
	trimmed := strings.TrimSpace(text)
	if trimmed == "" {
		return 0, "", fmt.Errorf("%q is empty", text)
	}
	end := 0
	for end < len(trimmed) && trimmed[end] >= '0' && trimmed[end] <= '9' {
		end++
	}
	label := strings.ToLower(strings.TrimSpace(trimmed[end:]))
	switch {
	case end == 0 && trimmed[0] == '-':
		return 0, "", fmt.Errorf("%q is negative; it must be 0 or more", text)
	case end == 0:
		return 0, "", fmt.Errorf("%q does not begin with a whole number", text)
	case strings.HasPrefix(label, ".") || strings.HasPrefix(label, ","):
		return 0, "", fmt.Errorf("%q is not a whole number; use a smaller unit", text)
	}
	number, err := strconv.ParseUint(trimmed[:end], 10, 63)
	if err != nil {
		return 0, "", fmt.Errorf("%q is above the largest number, %d", text, int64(math.MaxInt64))
	}
	return number, label, nil
}
