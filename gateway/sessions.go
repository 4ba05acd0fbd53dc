package gateway

import (
	"net/http"

	"github.com/doorward/doorward/authn"
)

// sessionsBody is an answer that lists sessions.
type sessionsBody struct {
	Sessions []sessionJSON `json:"sessions"`
}

// sessions lists where the caller is signed in.
func (s *Server) sessions(w *answer, r *http.Request) error {
	me := exchangeOf(r).identity
	held, err := s.Authn.Sessions(r.Context(), me.User.ID)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, sessionsBody{shapeSessions(held, me.Session)})
}

// endSession ends one of the caller's sessions.
func (s *Server) endSession(w *answer, r *http.Request) error {
	if err := s.endOwn(w, r); err != nil {
		return err
	}
	return noContent(w)
}

// endOwn ends the session of the path. Somebody else's is as unknown as one that
// never was.
func (s *Server) endOwn(w *answer, r *http.Request) error {
	x, id := exchangeOf(r), r.PathValue("id")
	me := x.identity.User.ID
	if err := s.Authn.EndSession(r.Context(), me, id, authn.Actor{ID: me, Client: x.client(r)}); err != nil {
		return err
	}
	if id == x.identity.Session {
		s.clearShown(w, r)
	}
	return nil
}
