package keyed

import (
	"errors"

	"github.com/holdfast-io/holdfast/internal/statevalue"
)

// Combining is what every backend does with a key: a stored value, an op and its
// operand make another stored value. It is one set of functions, so that a key has
// the same value wherever it is kept. internal/statevalue has them, since the client's
// working copy uses them too; here they are for backends, with the errors of this
// package.
//
// A stored value is as Get returns it: with a TTL, a time stands before the value,
// or before each element of a list or entry of a map (docs/protocol.md, 5.10). An
// empty list or map is no value: the key is absent.

// rules are what of the configuration the functions need.
func (c *StateConfig) rules() statevalue.State {
	return statevalue.State{Kind: c.Kind, Type: c.Type, TTLMs: c.TTLMs}
}

// CheckOperand checks an operand by itself. What passes can be combined with any
// value that a state holds. Errors: ErrMalformed, ErrTypeMismatch.
func (c *StateConfig) CheckOperand(op Op, operand []byte) error {
	_, err := c.checkOperand(op, operand)
	return err
}

// checkOperand is CheckOperand, and tells how many bytes the operand can add to a
// stored value: its own, and the times where there is a TTL.
func (c *StateConfig) checkOperand(op Op, operand []byte) (size int, err error) {
	size, err = c.rules().CheckOperand(op, operand)
	switch {
	case err == nil:
		return size, nil
	case errors.Is(err, statevalue.ErrType), errors.Is(err, statevalue.ErrSize):
		return 0, wrapf(ErrTypeMismatch, "state %d: %v", c.ID, err)
	}
	return 0, wrapf(ErrMalformed, "state %d: %v", c.ID, err)
}

// CheckStored checks a stored value, as it comes from a snapshot. Errors:
// ErrMalformed.
func (c *StateConfig) CheckStored(stored []byte) error {
	if err := c.rules().CheckStored(stored); err != nil {
		return wrapf(ErrMalformed, "state %d: %v", c.ID, err)
	}
	return nil
}

// Combine appends to dst the stored value that an op makes of old, and returns the
// longer slice. found tells that the key has old; kept is false where the key is
// absent afterwards. nowMs is the time of the op: what has a TTL and is over acts as
// absent, and what is written carries it. dst must not share memory with old or
// operand. The operand has passed CheckOperand; old is what the state holds, and
// ErrMalformed says that it is not of its kind.
func (c *StateConfig) Combine(dst []byte, op Op, old []byte, found bool, operand []byte, nowMs int64) (value []byte, kept bool, err error) {
	if value, kept, err = c.rules().Combine(dst, op, old, found, operand, nowMs); err != nil {
		return value, false, wrapf(ErrMalformed, "state %d: %v", c.ID, err)
	}
	return value, kept, nil
}

// Fold makes one op of two on the same key, the first one first, where one can say
// both: combining with it is combining with one after the other. The operand is
// appended to dst, which shares no memory with the others, and the longer slice
// returned. ok is false where there is no such op: with a TTL each carries its own
// time, sums of float64 depend on their order, and no op both puts and removes
// entries. Both operands have passed CheckOperand.
func (c *StateConfig) Fold(dst []byte, op1 Op, first []byte, op2 Op, second []byte) (op Op, operand []byte, ok bool) {
	return c.rules().Fold(dst, op1, first, op2, second)
}

// Live returns what of a stored value is not over at nowMs: stored itself where all
// of it is, else what is left, appended to dst. found is false where nothing is.
// What is malformed is not over.
func (c *StateConfig) Live(dst, stored []byte, nowMs int64) (value []byte, found bool) {
	return c.rules().Live(dst, stored, nowMs)
}

// Visible is Live for a reader: with ReturnExpired it sees what is over until it is
// cleaned up.
func (c *StateConfig) Visible(dst, stored []byte, nowMs int64) (value []byte, found bool) {
	if c.ReturnExpired {
		return stored, true
	}
	return c.Live(dst, stored, nowMs)
}
