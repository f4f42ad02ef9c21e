//go:build !bug_down_no_token

package slot

// current tells whether a message down is about what the slot holds now (rule
// 3.8).
func (a *attempt) current(token uint64) bool { return token == a.token }
