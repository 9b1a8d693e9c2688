package httpapi

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// streamsAtOnce is how many streams one caller reads at once: who takes them slowly holds no more.
const streamsAtOnce = 8

// streams are those under way, of each caller.
type streams struct {
	mu sync.Mutex
	m  map[string]int
}

// enter takes a place for one more, which leave gives back; there is none: 429.
func (s *streams) enter(who string) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[who] == streamsAtOnce {
		p := problem(http.StatusTooManyRequests, "", "Others of these are still being read.")
		p.after = 5 * time.Second
		return nil, p
	}
	if s.m == nil {
		s.m = map[string]int{}
	}
	s.m[who]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.m[who]--; s.m[who] == 0 {
			delete(s.m, who)
		}
	}, nil
}

// A leaving body does something as it is closed, which it is once.
type leaving struct {
	io.ReadCloser
	leave func()
}

func (l leaving) Close() error {
	defer l.leave()
	return l.ReadCloser.Close()
}
