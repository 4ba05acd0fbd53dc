package authn

// TokensHeld is how many verified tokens are remembered.
func (s *Service) TokensHeld() int { return s.tokens.len() }
