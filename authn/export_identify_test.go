package authn

import "weak"

// TokensHeld is how many verified tokens are remembered.
func (s *Service) TokensHeld() int { return s.tokens.len() }

// CachedSession and CachedUser are what the caches hold, without holding it.
func (s *Service) CachedSession(id string) weak.Pointer[Session] {
	x, _, _ := s.sessions.get(id)
	return weak.Make(x)
}

func (s *Service) CachedUser(id string) weak.Pointer[User] {
	u, _, _ := s.users.get(id)
	return weak.Make(u)
}

// Following is how many are to be told of changes.
func (s *Service) Following() int {
	s.followers.mu.Lock()
	defer s.followers.mu.Unlock()
	return len(s.followers.by)
}
