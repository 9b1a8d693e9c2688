package store

// A Size is how large a store is.
type Size struct {
	Bytes int64 // that it takes on its disk
	Free  int64 // of them, those that hold nothing and are used again
}

// A Sizer is a [Store] that can tell its size at next to no cost.
type Sizer interface {
	Size() (Size, error)
}

// SizeOf is the size of s, or of a store that it wraps and tells by a method Unwrap() Store. ok is false if none is a [Sizer].
func SizeOf(s Store) (size Size, ok bool, err error) {
	for s != nil {
		if z, is := s.(Sizer); is {
			size, err = z.Size()
			return size, err == nil, err
		}
		w, wraps := s.(interface{ Unwrap() Store })
		if !wraps {
			break
		}
		s = w.Unwrap()
	}
	return Size{}, false, nil
}
