package main

import (
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// How far garbage may grow before it is collected, in percent of what is in use
// and in bytes. A gateway keeps little and throws away much for every request:
// collecting is a tenth of what a request costs, and with garbage of four times
// what is in use a quarter of that. But thousands of open connections are in use
// as well, and four times those would be a gigabyte: past the bytes the share
// shrinks, down to Go's own.
const (
	mostGarbage  = 400
	leastGarbage = 100
	garbageBytes = 128 << 20

	// collectPause is how often is looked what is in use.
	collectPause = time.Second
)

// collectLess has garbage collected less often than Go would by itself, until
// the function it returns is called. Whoever sets GOGC is obeyed, and so is
// GOMEMLIMIT.
func collectLess(gogc string) (stop func()) {
	if gogc != "" {
		return func() {}
	}
	percent := mostGarbage
	before := debug.SetGCPercent(percent)
	end := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		look := time.NewTicker(collectPause)
		defer look.Stop()
		for {
			select {
			case <-end:
				debug.SetGCPercent(before)
				return
			case <-look.C:
				if now := garbageShare(inUse()); now != percent {
					debug.SetGCPercent(now)
					percent = now
				}
			}
		}
	})
	return func() {
		close(end)
		watching.Wait()
	}
}

// garbageShare is how much garbage there may be beside so many bytes in use, in
// percent of them. It goes in steps, for each change stops the world a moment.
func garbageShare(inUse uint64) int {
	if inUse == 0 {
		return mostGarbage
	}
	share := int(min(garbageBytes*100/inUse, mostGarbage))
	return max(share-share%50, leastGarbage)
}

// inUse is what the last collection found in use: of the heap, and of stacks,
// which count alike.
func inUse() uint64 {
	found := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}}
	metrics.Read(found)
	var sum uint64
	for _, s := range found {
		if s.Value.Kind() == metrics.KindUint64 {
			sum += s.Value.Uint64()
		}
	}
	return sum
}
