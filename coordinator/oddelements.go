//go:build !bug_split_remainder

package coordinator

// oddElements is how many elements are over when n are dealt to p subtasks alike.
func oddElements(n, p int) int { return n % p }
