package authn

import (
	"context"
	"strconv"
)

// ExportUsers lists accounts for a file, newest first: those that come after
// the one with the id after. Without secrets they have no password hash. The
// first page is an event: hashes leave the house.
func (s *Service) ExportUsers(ctx context.Context, after string, limit int, secrets bool, a Actor) ([]User, error) {
	page, err := s.Users(ctx, UserQuery{After: after, Limit: limit})
	if err != nil {
		return nil, err
	}
	if after == "" {
		detail := map[string]string{"passwords": strconv.FormatBool(secrets)}
		if err := s.Record(ctx, UsersExported, a, detail); err != nil {
			return nil, err
		}
	}
	for i := range page.Users {
		if !secrets {
			page.Users[i].PasswordHash = ""
		}
	}
	return page.Users, nil
}
