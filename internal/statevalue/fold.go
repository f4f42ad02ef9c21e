package statevalue

// Fold makes one op of two on the same key, the first one first, where one can say
// both: combining with it is combining with one after the other. The operand is
// appended to dst, which shares no memory with the others, and the longer slice
// returned. ok is false where there is no such op: with a TTL each carries its own
// time, sums of float64 depend on their order, and no op both puts and removes
// entries. Both operands have passed CheckOperand.
func (s State) Fold(dst []byte, op1 Op, first []byte, op2 Op, second []byte) (op Op, operand []byte, ok bool) {
	switch {
	case op2 == OpPut || op2 == OpDelete:
		return op2, append(dst, second...), true
	case s.TTLMs > 0:
		return 0, dst, false
	case op1 == OpPut || op1 == OpDelete:
		value, kept, err := s.Combine(dst, op2, first, op1 == OpPut, second, 0)
		if err != nil || !kept {
			return OpDelete, dst, err == nil
		}
		return OpPut, value, true
	case op1 != op2:
		return 0, dst, false
	}
	return s.foldSame(dst, op1, first, second)
}

// foldSame is Fold of an op with itself, without a TTL and with a value before.
func (s State) foldSame(dst []byte, op Op, first, second []byte) (Op, []byte, bool) {
	var out []byte
	var err error
	switch {
	case op == OpAdd && s.Type == Float64:
		return 0, dst, false
	case op == OpAppend:
		return op, append(append(dst, first...), second...), true
	case op == OpMapDelete:
		out, err = MergeKeys(dst, first, second)
	default:
		out, _, err = s.Combine(dst, op, first, true, second, 0)
	}
	if err != nil {
		return 0, dst, false
	}
	return op, out, true
}
