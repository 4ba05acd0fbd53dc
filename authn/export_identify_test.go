package authn

// TokensHeld is how many verified tokens are remembered.
func (s *Service) TokensHeld() int { return s.tokens.len() }

// Following is how many are to be told of changes.
func (s *Service) Following() int {
	s.followers.mu.Lock()
	defer s.followers.mu.Unlock()
	return len(s.followers.by)
}
