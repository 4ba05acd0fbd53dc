package authn

import "context"

// Events lists the security log, newest first. A limit of 0 means ten.
func (s *Service) Events(ctx context.Context, q EventQuery) (events []Event, err error) {
	if q.Limit <= 0 {
		q.Limit = 10
	}
	err = s.deps.Store.View(ctx, func(tx Tx) (err error) {
		events, err = tx.Events(q)
		return err
	})
	return events, err
}
