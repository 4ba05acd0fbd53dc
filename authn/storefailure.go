package authn

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"
)

// noticing is the store as the Service uses it. A store that fails cannot be
// told so; the first write that works again carries the news into the security
// log, and until then the failure stands in the log of the process.
type noticing struct {
	Store
	log       *slog.Logger
	now       func() time.Time
	retention time.Duration
	failed    atomic.Pointer[time.Time] // since when; nil while it works
}

// Update is the store's own, with an ear for failures that are not fn's.
func (n *noticing) Update(ctx context.Context, fn func(Tx) error) error {
	var agreed bool // fn wanted what the store then could not keep
	err := n.Store.Update(ctx, func(tx Tx) error {
		err := fn(tx)
		agreed = err == nil
		return err
	})
	switch {
	case err == nil:
		n.recovered(ctx)
	case agreed && ctx.Err() == nil:
		now := n.now()
		if n.failed.CompareAndSwap(nil, &now) {
			n.log.Error("the store failed: nothing can be changed until it works again", "error", err)
		}
	}
	return err
}

// recovered writes the event of a failure that is over.
func (n *noticing) recovered(ctx context.Context) {
	since := n.failed.Load()
	if since == nil || !n.failed.CompareAndSwap(since, nil) {
		return
	}
	now := n.now()
	err := n.Store.Update(ctx, func(tx Tx) error {
		return tx.AddEvent(Event{
			Time: now, Kind: StoreFailed,
			Detail: map[string]string{"since": since.UTC().Format(time.RFC3339)},
		}, now.Add(n.retention))
	})
	if err != nil {
		n.failed.CompareAndSwap(nil, since)
		return
	}
	n.log.Info("the store works again", "failed_since", *since)
}
