package slot

import (
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// limits are docs/protocol.md, section 10.
type limits struct {
	message, key, value  int
	flush, inFlightBytes int
	inFlight, getKeys    int
	operatorState        int
}

func defaultLimits() limits {
	return limits{
		message: 4 << 20, key: 4 << 10, value: 128 << 10,
		flush: 192 << 10, inFlightBytes: 8 << 20, inFlight: 64, getKeys: 65536,
		operatorState: 128 << 10,
	}
}

// limitsFrom takes the defaults where a host says nothing.
func limitsFrom(l *holdfastv1.Limits) limits {
	out := defaultLimits()
	set := func(to *int, v uint32) {
		if v != 0 {
			*to = int(v)
		}
	}
	set(&out.message, l.GetMessageBytes())
	set(&out.key, l.GetKeyBytes())
	set(&out.value, l.GetValueBytes())
	set(&out.flush, l.GetFlushBytes())
	set(&out.inFlightBytes, l.GetFlushBytesInFlight())
	set(&out.inFlight, l.GetFlushesInFlight())
	set(&out.getKeys, l.GetGetKeys())
	set(&out.operatorState, l.GetOperatorStateBytes())
	return out
}
