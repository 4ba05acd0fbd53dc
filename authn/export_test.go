package authn

import (
	"context"
	"time"
)

// What the tests, which live outside because the store imports this package,
// reach into.
func (s *Service) Sweep(ctx context.Context, now time.Time) error { return s.sweep(ctx, now) }
func (s *Service) Flush(ctx context.Context) error                { return s.flush(ctx, beside, s.deps.Now()) }
func (s *Service) Waiting(sid string) bool                        { _, ok := s.touches.last(sid); return ok }

const (
	MaxToken = maxToken
	MaxLinks = maxLinks
	Leeway   = leeway
)
