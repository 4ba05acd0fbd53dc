package bolt

// Apart is how many entries stand apart from where they belong.
func (s *Store) Apart() int {
	s.beginning.Lock()
	defer s.beginning.Unlock()
	return s.states.now.Len()
}
