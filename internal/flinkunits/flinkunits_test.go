package flinkunits

import (
	"math"
	"testing"
	"time"
)

func TestParseDuration_Table(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"5 s": 5 * time.Second, "10 min": 10 * time.Minute, "100 ms": 100 * time.Millisecond,
		"1 h": time.Hour, "1 d": day, "1min": time.Minute, "1234": 1234 * time.Millisecond, "0": 0,
		" 7 \t days ": 7 * day, "2DAY": 2 * day, "3 hour": 3 * time.Hour, "3hours": 3 * time.Hour,
		"4m": 4 * time.Minute, "4 minute": 4 * time.Minute, "4 Minutes": 4 * time.Minute,
		"1sec": time.Second, "2 secs": 2 * time.Second, "1 second": time.Second, "2 seconds": 2 * time.Second,
		"1 milli": time.Millisecond, "2 millis": 2 * time.Millisecond, "3 milliseconds": 3 * time.Millisecond,
		"1 µs": time.Microsecond, "1 μs": time.Microsecond, "1 us": time.Microsecond, "2 micros": 2 * time.Microsecond,
		"1ns": 1, "2 nano": 2, "3 nanoseconds": 3, "106751 d": 106751 * day,
		"PT10S": 10 * time.Second, "pt1m30s": 90 * time.Second, "P1DT2H": 26 * time.Hour, "PT0.25S": 250 * time.Millisecond,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %s, %v; want %s", text, got, err, want)
		}
	}
}

func TestParseDuration_Errors(t *testing.T) {
	for text, want := range map[string]string{
		"":                     `"" is empty`,
		"  ":                   `"  " is empty`,
		"s":                    `"s" does not begin with a whole number`,
		"-5 s":                 `"-5 s" is negative; it must be 0 or more`,
		"1.5 s":                `"1.5 s" is not a whole number; use a smaller unit`,
		"5 parsecs":            `"5 parsecs" has an unknown unit "parsecs"; the units are d, h, min, s, ms, µs and ns`,
		"1m30s":                `"1m30s" has an unknown unit "m30s"; the units are d, h, min, s, ms, µs and ns`,
		"106752 d":             `"106752 d" is longer than the longest duration, 106751 d`,
		"9223372036854775808":  `"9223372036854775808" is above the largest number, 9223372036854775807`,
		"9223372036854775807":  `"9223372036854775807" is longer than the longest duration, 106751 d`,
		"P":                    `"P" is not an ISO 8601 duration such as PT1M30S`,
		"PT":                   `"PT" is not an ISO 8601 duration such as PT1M30S`,
		"P1M":                  `"P1M" is not an ISO 8601 duration such as PT1M30S`,
		"P99999999999999999DT": `"P99999999999999999DT" is not an ISO 8601 duration such as PT1M30S`,
		"P106751DT99999H":      `"P106751DT99999H" is longer than the longest duration, 106751 d`,
		"PT99999999999999999H": `"PT99999999999999999H" is longer than the longest duration, 106751 d`,
	} {
		if got, err := ParseDuration(text); err == nil || err.Error() != want {
			t.Errorf("ParseDuration(%q) = %s, %v; want %s", text, got, err, want)
		}
	}
}

func TestFormatDuration_Table(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 1: "1 ns", time.Microsecond: "1 µs", 1500 * time.Millisecond: "1500 ms", 90 * time.Second: "90 s",
		time.Minute: "1 min", 25 * time.Hour: "25 h", 48 * time.Hour: "2 d",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%s) = %q, want %q", d, got, want)
		}
	}
}

func TestParseSize_Table(t *testing.T) {
	for text, want := range map[string]Size{
		"64mb": 64 << 20, "5 mb": 5 << 20, "1 gb": 1 << 30, "64 kb": 64 << 10, "1024": 1024, "64 mebibytes": 64 << 20,
		"0": 0, "12b": 12, "12 bytes": 12, "3k": 3 << 10, "3 kibibytes": 3 << 10, "3M": 3 << 20, "3 G": 3 << 30,
		"3 gibibytes": 3 << 30, "2t": 2 << 40, "2TB": 2 << 40, "2 tebibytes": 2 << 40, "9223372036854775807": math.MaxInt64,
	} {
		if got, err := ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestParseSize_Errors(t *testing.T) {
	for text, want := range map[string]string{
		"":                    `"" is empty`,
		"mb":                  `"mb" does not begin with a whole number`,
		"-1":                  `"-1" is negative; it must be 0 or more`,
		"1.5 gb":              `"1.5 gb" is not a whole number; use a smaller unit`,
		"5 mib":               `"5 mib" has an unknown unit "mib"; the units are b, kb, mb, gb and tb`,
		"8388608 tb":          `"8388608 tb" is more than the largest size, 8388607 tb`,
		"9223372036854775808": `"9223372036854775808" is above the largest number, 9223372036854775807`,
	} {
		if got, err := ParseSize(text); err == nil || err.Error() != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %s", text, got, err, want)
		}
	}
}

func TestSize_String(t *testing.T) {
	for size, want := range map[Size]string{
		0: "0 bytes", 1: "1 bytes", 1024: "1 kb", 1025: "1025 bytes", 64 << 20: "64 mb", 5 << 30: "5 gb", 1 << 40: "1 tb",
	} {
		if got := size.String(); got != want {
			t.Errorf("%d is %q, want %q", uint64(size), got, want)
		}
	}
}

// FuzzParse: what is read and written is read the same.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"5 s", "10min", "PT1.5S", "64 mb", "1024", "-1", "9223372036854775807 ns"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d, err := ParseDuration(text); err == nil {
			if again, err := ParseDuration(FormatDuration(d)); err != nil || again != d {
				t.Errorf("duration %q: %s, then %s, %v", text, d, again, err)
			}
		}
		if s, err := ParseSize(text); err == nil {
			if again, err := ParseSize(s.String()); err != nil || again != s {
				t.Errorf("size %q: %d, then %d, %v", text, s, again, err)
			}
		}
	})
}
