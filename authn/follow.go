package authn

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// follower is one open stream that wants to know when its holder changes.
type follower struct {
	fn    func()
	state atomic.Int32
}

const (
	followerIdle  = iota
	followerRuns  // fn is running
	followerAgain // and has to run once more
	followerGone
)

// notify runs fn on a goroutine of its own. However many changes come while it
// runs, it runs once more.
func (f *follower) notify() {
	for {
		switch old := f.state.Load(); old {
		case followerIdle:
			if f.state.CompareAndSwap(followerIdle, followerRuns) {
				go f.run()
				return
			}
		case followerRuns:
			if f.state.CompareAndSwap(followerRuns, followerAgain) {
				return
			}
		default:
			return
		}
	}
}

func (f *follower) run() {
	for {
		f.fn()
		if f.state.CompareAndSwap(followerRuns, followerIdle) {
			return
		}
		if !f.state.CompareAndSwap(followerAgain, followerRuns) {
			return // gone
		}
	}
}

// followers are found by the session and by the user they follow.
type followers struct {
	mu sync.Mutex
	by map[string]map[*follower]struct{}
}

func (f *followers) add(w *follower, ids ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.by == nil {
		f.by = make(map[string]map[*follower]struct{})
	}
	for _, id := range ids {
		if f.by[id] == nil {
			f.by[id] = make(map[*follower]struct{})
		}
		f.by[id][w] = struct{}{}
	}
}

func (f *followers) remove(w *follower, ids ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		delete(f.by[id], w)
		if len(f.by[id]) == 0 {
			delete(f.by, id)
		}
	}
}

func (f *followers) notify(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for w := range f.by[id] {
		w.notify()
	}
}

func (f *followers) notifyAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, set := range f.by {
		for w := range set {
			w.notify()
		}
	}
}

// Follow calls fn on a goroutine of its own whenever the session or its user may
// have changed, until stop is called; fn never runs twice at once. A call under
// way when stop is called may still finish. Register first, then ask Current:
// no change in between is missed.
func (s *Service) Follow(id Identity, fn func()) (stop func()) {
	w := &follower{fn: fn}
	s.followers.add(w, id.Session, id.User.ID)
	return func() {
		w.state.Store(followerGone)
		s.followers.remove(w, id.Session, id.User.ID)
	}
}

// How long to wait before asking for the feed again.
const (
	feedPause    = 50 * time.Millisecond
	feedPauseMax = 5 * time.Second
)

// watch keeps the change feed up until ctx ends, and tells up each time it is.
func (s *Service) watch(ctx context.Context, up func()) {
	pause := feedPause
	for ctx.Err() == nil {
		err := s.deps.Store.Watch(ctx, func() {
			pause = feedPause
			s.feedBegins()
			up()
		}, s.changed)
		s.feedEnds()
		if ctx.Err() != nil {
			return
		}
		s.deps.Log.Error("the change feed of the store failed; every request reads the store until it is back", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, feedPauseMax)
	}
}

// feedBegins opens the caches. What changed while the feed was down is unknown,
// so everything is looked at again.
func (s *Service) feedBegins() {
	s.sessions.open()
	s.users.open()
	s.tokens.open()
	s.feedUp.Store(true)
	s.changed(Change{All: true})
}

// feedEnds shuts the caches: nobody would tell them of a revocation.
func (s *Service) feedEnds() {
	s.feedUp.Store(false)
	s.sessions.shut()
	s.users.shut()
	s.tokens.shut()
	s.followers.notifyAll()
}

// changed forgets what a committed write touched and tells who follows it. It
// has run when the write returns, so a revocation holds from then on.
func (s *Service) changed(c Change) {
	if c.All {
		s.sessions.clear()
		s.users.clear()
	}
	if c.Session != "" {
		s.sessions.drop(c.Session)
	}
	if c.User != "" {
		s.users.drop(c.User)
	}
	if c.Keys || c.All {
		s.ringStale.Store(true)
		select {
		case s.reload <- struct{}{}:
		default:
		}
	}
	if c.Outbox || c.All {
		s.wakePostman()
	}
	switch {
	case c.All:
		s.followers.notifyAll()
	case c.Session != "":
		s.followers.notify(c.Session)
		fallthrough
	default:
		s.followers.notify(c.User)
	}
}
