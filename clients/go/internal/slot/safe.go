//go:build !bug_ready_before_sink

package slot

import "slices"

// safe tells whether what was put out before the marks cannot be lost (rule 6.2).
func safe(marks []mark) bool {
	return !slices.ContainsFunc(marks, func(m mark) bool {
		g, err := m.sink.Safe()
		return err != nil || g < m.generation
	})
}
