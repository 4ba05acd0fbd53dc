package gateway

import (
	"context"
	"sync"
	"time"
)

// askers are the connections of a direct that have a request under way. The
// goroutine of such a request waits for the backend and cannot also wait for its
// client to leave. context.AfterFunc would do that, and costs a fiftieth of a
// request: four pieces of memory and the locks of two contexts. So all that are
// under way are looked at now and then.
type askers struct {
	mu      sync.Mutex
	first   *directConn
	timer   *time.Timer
	looking bool // the timer runs
}

// lookPause is how long a backend may go on with a request whose client is known to
// have left; a request that has just begun is not watched yet: watchPause.
const lookPause = 20 * time.Millisecond

// asker is a connection's place among them.
type asker struct {
	ctx        context.Context // of the request under way; nil for none
	prev, next *directConn
	ended      bool // by us, since the request is over
}

// enter lists a connection as long as its request is under way.
func (a *askers) enter(c *directConn, ctx context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c.asks = asker{ctx: ctx, next: a.first}
	if a.first != nil {
		a.first.asks.prev = c
	}
	a.first = c
	if a.looking {
		return
	}
	a.looking = true
	if a.timer == nil {
		a.timer = time.AfterFunc(lookPause, a.look)
	} else {
		a.timer.Reset(lookPause)
	}
}

// leave takes it off again, and reports whether it may be used further.
func (a *askers) leave(c *directConn) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.asks.prev != nil {
		c.asks.prev.asks.next = c.asks.next
	} else {
		a.first = c.asks.next
	}
	if c.asks.next != nil {
		c.asks.next.asks.prev = c.asks.prev
	}
	ended := c.asks.ended
	c.asks = asker{} // it would hold all that is in the request's context
	return !ended
}

// look ends the connections whose request is over, and comes again while any is
// under way.
func (a *askers) look() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c := a.first; c != nil; c = c.asks.next {
		if !c.asks.ended && c.asks.ctx.Err() != nil {
			c.asks.ended = true
			c.Close()
		}
	}
	if a.looking = a.first != nil; a.looking {
		a.timer.Reset(lookPause)
	}
}
