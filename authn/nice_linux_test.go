package authn

import (
	"context"
	"syscall"
	"testing"
)

// TestHashingIsNice: a worker has the lowest priority and this thread, which
// stands for those that carry traffic, has kept its own.
func TestHashingIsNice(t *testing.T) {
	niceness := func() int {
		raw, err := syscall.Getpriority(syscall.PRIO_PROCESS, syscall.Gettid())
		if err != nil {
			t.Fatal(err)
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
	if after := niceness(); after != before {
		t.Errorf("the test has niceness %d, had %d", after, before)
	}
}
