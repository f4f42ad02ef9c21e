package config

import (
	"slices"
	"strings"
)

// nearest finds the candidate that was most likely meant, or "": one that ends
// with the whole of what was written, else the one with the fewest changed
// letters, if they are few.
func nearest(written string, candidates []string) string {
	lower := strings.ToLower(written)
	slices.Sort(candidates)
	best, changes := "", max(2, len(lower)/4)+1
	var endings []string
	for _, c := range candidates {
		folded := strings.ToLower(c)
		if d := distance(lower, folded); d < changes {
			best, changes = c, d
		}
		if strings.HasSuffix(folded, "."+lower) || strings.HasSuffix(folded, "_"+strings.TrimPrefix(lower, strings.ToLower(variablePrefix))) {
			endings = append(endings, c)
		}
	}
	if best == "" && len(endings) == 1 {
		return endings[0]
	}
	return best
}

// distance counts the letters to insert, delete, replace or swap with their
// neighbor to get from a to b (optimal string alignment).
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// longestKey bounds what is compared with the keys: a line of garbage is no
// misspelling.
const longestKey = 100

func didYouMean(written string, candidates []string) string {
	if len(written) > longestKey {
		return ""
	}
	if c := nearest(written, candidates); c != "" {
		return "; did you mean " + c + "?"
	}
	return ""
}
