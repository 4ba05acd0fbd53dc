package authn

import (
	"context"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

// TestHashingIsNice: a worker has the lowest priority and this thread, which
// stands for those that carry traffic, has kept its own.
func TestHashingIsNice(t *testing.T) {
	niceness := func() int {
		raw, err := syscall.Getpriority(syscall.PRIO_PROCESS, syscall.Gettid())
		if err != nil {
			t.Error(err)
		}
		return 20 - raw // the kernel's answer is never negative
	}
	before := niceness()
	p := newHashPool(ignore)
	defer p.Close()
	var worker int
	if err := p.run(context.Background(), func() { worker = niceness() }); err != nil {
		t.Fatal(err)
	}
	if worker != 19 {
		t.Errorf("a worker has niceness %d, want 19", worker)
	}
	// Threads inherit the priority of the thread that makes them: those the
	// runtime makes now must not come from a worker.
	var all sync.WaitGroup
	gate := make(chan struct{})
	var holding sync.WaitGroup // a thread each
	holding.Add(16)
	for range 16 {
		all.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			holding.Done()
			<-gate
			if got := niceness(); got != before {
				t.Errorf("a thread that is no worker has niceness %d, want %d", got, before)
			}
		})
	}
	holding.Wait()
	close(gate)
	all.Wait()
}
