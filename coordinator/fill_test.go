package coordinator

import "google.golang.org/protobuf/reflect/protoreflect"

// fillMessage sets every field of a message, so that one that is forgotten shows.
func fillMessage(m protoreflect.Message) { fillDeep(m, 3) }

func fillDeep(m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch {
		case f.IsMap():
		case f.IsList() && f.Message() != nil:
			if depth > 0 {
				fillDeep(m.Mutable(f).List().AppendMutable().Message(), depth-1)
			}
		case f.IsList():
			m.Mutable(f).List().Append(someValue(f))
		case f.Message() != nil:
			if depth > 0 {
				fillDeep(m.Mutable(f).Message(), depth-1)
			}
		default:
			m.Set(f, someValue(f))
		}
	}
}

func someValue(f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString("x")
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte("x"))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(1)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(1)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(1)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(1)
	default:
		return protoreflect.ValueOfUint64(1)
	}
}
