package main

import (
	"context"
	"errors"
	"time"
)

// renewals keeps everybody's token in time, as clients do that know when it ends:
// the gateway takes none that was made out for longer than its own. With chance
// alone somebody would go without at a low rate.
func (k *soaking) renewals(ctx context.Context) {
	for {
		rest(ctx, k.ttl/4)
		if ctx.Err() != nil {
			return
		}
		if err := k.renew(context.WithoutCancel(ctx)); err != nil {
			k.tally.unasked("renewal", err)
		}
	}
}

// renew exchanges the tokens of whose time half is over. People take the next
// from the gateway; for the callers it is signed here.
func (k *soaking) renew(ctx context.Context) (err error) {
	old := func(issued time.Time) bool { return time.Since(issued) > k.ttl/2 }
	if t := k.callers.Load(); old(t.issued) {
		t, err = k.sign(t.signer, k.crowd.members[:soakTokens], time.Now())
		if err == nil {
			k.callers.Store(t)
			k.tally.asked("renewal", "callers")
		}
	}
	for _, p := range k.people {
		p.Lock()
		if old(p.issued) {
			_, failed := p.rotate(ctx)
			if err = errors.Join(err, failed); failed == nil {
				k.tally.asked("renewal", "somebody's own")
			}
		}
		p.Unlock()
	}
	return err
}
