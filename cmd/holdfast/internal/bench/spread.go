package bench

import "slices"

// Spread is what the rounds of a measurement gave. Rounds of peers take turns, so
// that other work on the machine makes all of them slower, and a ratio is of two
// rounds that followed each other.
type Spread struct {
	Rounds int     `json:"rounds"`
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	s := slices.Sorted(slices.Values(values))
	return Spread{Rounds: len(s), Median: quantile(s, 0.5), Min: s[0], Max: s[len(s)-1]}
}

// quantile is the smallest of sorted values that has at least the part q of them at
// or below it.
func quantile(sorted []float64, q float64) float64 {
	at := 0
	for at < len(sorted)-1 && float64(at+1) < q*float64(len(sorted)) {
		at++
	}
	return sorted[at]
}

// each turns two lists into the list of f of their pairs.
func each(a, b []float64, f func(a, b float64) float64) []float64 {
	out := make([]float64, 0, len(a))
	for i := range a {
		out = append(out, f(a[i], b[i]))
	}
	return out
}

func ratio(a, b float64) float64 { return a / b }

func sumOf(values []float64) (sum float64) {
	for _, v := range values {
		sum += v
	}
	return sum
}
