package gateway

import (
	"context"
	"net"
	"testing"
	"time"
)

// Whoever leaves ends the connection their request is on, and no other; and that
// one is not used again, also if the backend has answered meanwhile.
func TestWhoLeavesTakesTheConnectionAlong(t *testing.T) {
	for gone := range 3 { // the last to come, one between, and the first
		var list askers
		var conns [3]*directConn
		var ends [3]context.CancelFunc
		for i := range conns {
			ours, theirs := net.Pipe()
			t.Cleanup(func() { theirs.Close() })
			var ctx context.Context
			ctx, ends[i] = context.WithCancel(t.Context())
			defer ends[i]()
			conns[i] = &directConn{Conn: ours}
			list.enter(conns[i], ctx)
		}
		ends[gone]()
		list.look()
		for i, c := range conns {
			err := c.Conn.SetDeadline(time.Time{})
			if closed := err != nil; closed != (i == gone) {
				t.Errorf("%d of 3 has left, and of %d: closed is %v", gone, i, closed)
			}
		}
		for i, c := range conns {
			if free := list.leave(c); free == (i == gone) {
				t.Errorf("%d of 3 has left, and of %d: free is %v", gone, i, free)
			}
			if c.asks != (asker{}) {
				t.Errorf("%d still holds %+v", i, c.asks)
			}
		}
		if list.first != nil {
			t.Error("somebody is under way still")
		}
	}
}
