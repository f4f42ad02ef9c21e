package flinkunits

import (
	"fmt"
	"math"
)

// sizeUnits are Flink's labels, the smallest unit first. All are powers of
// 1024. The second label of each is the one that Size.String writes.
var sizeUnits = []struct {
	shift  uint
	labels []string
}{
	{0, []string{"b", "bytes"}},
	{10, []string{"k", "kb", "kibibytes"}},
	{20, []string{"m", "mb", "mebibytes"}},
	{30, []string{"g", "gb", "gibibytes"}},
	{40, []string{"t", "tb", "tebibytes"}},
}

// Size is a number of bytes, at most 2^63-1.
type Size uint64

// ParseSize reads a whole number and a unit ("64mb", "5 kb", "1 gibibytes";
// case does not matter), or a number alone, which is bytes.
func ParseSize(text string) (Size, error) {
	number, label, err := split(text)
	if err != nil {
		return 0, err
	}
	if label == "" {
		return Size(number), nil
	}
	for _, u := range sizeUnits {
		for _, l := range u.labels {
			if l != label {
				continue
			}
			if number > math.MaxInt64>>u.shift {
				return 0, fmt.Errorf("%q is more than the largest size, 8388607 tb", text)
			}
			return Size(number << u.shift), nil
		}
	}
	return 0, fmt.Errorf("%q has an unknown unit %q; the units are b, kb, mb, gb and tb", text, label)
}

// String writes the size with the largest unit that loses nothing: "64 mb".
func (s Size) String() string {
	if s == 0 {
		return "0 bytes"
	}
	for i := len(sizeUnits) - 1; ; i-- {
		if u := sizeUnits[i]; uint64(s)%(1<<u.shift) == 0 {
			return fmt.Sprintf("%d %s", uint64(s)>>u.shift, u.labels[1])
		}
	}
}
