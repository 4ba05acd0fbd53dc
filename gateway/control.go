package gateway

import (
	"net/http"
	"path/filepath"
	"time"

	"github.com/doorward/doorward/authn"
)

// controlRoutes is what the command line may ask, over a socket only the
// operator can open, or in memory where no server runs. It is never mounted on
// a network: nobody is asked who they are here.
var controlRoutes = []endpoint{
	{method: "GET", path: "/admin/users", who: operator, serve: byOperator((*Server).listUsers)},
	{method: "POST", path: "/admin/users", who: operator, serve: byOperator((*Server).createUser)},
	{method: "GET", path: "/admin/users/{id}", who: operator, serve: byOperator((*Server).showUser)},
	{method: "PATCH", path: "/admin/users/{id}", who: operator, serve: byOperator((*Server).changeUser)},
	{method: "DELETE", path: "/admin/users/{id}", who: operator, serve: byOperator((*Server).deleteUser)},
	{method: "POST", path: "/admin/users/{id}/logout", who: operator, serve: byOperator((*Server).signOutUser)},
	{method: "POST", path: "/admin/users/{id}/unlock", who: operator, serve: byOperator((*Server).unlockUser)},
	{method: "POST", path: "/admin/users/{id}/reset-password", who: operator, serve: byOperator((*Server).mailReset)},
	{method: "GET", path: "/admin/users/{id}/sessions", who: operator, serve: byOperator((*Server).userSessions)},
	{method: "GET", path: "/admin/events", who: operator, serve: byOperator((*Server).allEvents)},
	{method: "POST", path: "/admin/users/{id}/password", who: operator, serve: byOperator((*Server).setPassword)},
	{method: "GET", path: "/control/users/{login}", who: operator, serve: (*Server).userByLogin},
	{method: "POST", path: "/control/import", who: operator, serve: byOperator((*Server).importUsers)},
	{method: "GET", path: "/control/export", who: operator, serve: byOperator((*Server).exportUsers)},
	{method: "GET", path: "/control/keys", who: operator, serve: (*Server).listKeys},
	{method: "POST", path: "/control/keys", who: operator, serve: byOperator((*Server).rotateKeys)},
	{method: "POST", path: "/control/reload", who: operator, serve: (*Server).reloadConfig},
	{method: "POST", path: "/control/backup", who: operator, serve: (*Server).backup},
}

// byOperator calls h in the name of the command line.
func byOperator(h adminHandler) func(*Server, *answer, *http.Request) error {
	return func(s *Server, w *answer, r *http.Request) error {
		return h(s, w, r, authn.Actor{ID: authn.ActorCLI, Client: exchangeOf(r).client(r)})
	}
}

// Control is the handler of the control socket. Whoever can reach it may do
// everything, so reaching it must take the operator's own file permissions.
func (s *Server) Control() http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		x := &exchange{live: s.live.Load(), start: s.Now(), route: noRoute}
		x.numbered(newRequestID())
		x.match.Rule = -1
		r = r.WithContext(withExchange(r.Context(), x))
		if r.RequestURI == "" { // made by a client and handed over in memory
			r.RequestURI = r.URL.RequestURI()
		}
		if r.Body == nil {
			r.Body = http.NoBody
		}
		w := new(answer)
		w.begin(rw, s, x)
		defer s.rescue(w, r)
		if err := s.serveControl(w, r); err != nil {
			s.fail(w, r, err)
		}
		w.finish(r)
	})
}

func (s *Server) serveControl(w *answer, r *http.Request) error {
	path, _ := below("", rawTarget(r))
	e, _, err := find(controlRoutes, r, path)
	if err != nil {
		return err
	}
	ownHeaders(w.Header())
	return e.serve(s, w, r)
}

// userByLogin finds an account by what its person would type to sign in.
func (s *Server) userByLogin(w *answer, r *http.Request) error {
	u, err := s.Authn.UserByLogin(r.Context(), r.PathValue("login"))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, struct {
		userBody
		Locked bool `json:"locked"`
	}{userBody{shapeUser(u)}, s.Authn.Locked(u.ID)})
}

// keyJSON is a signing key, without the key.
type keyJSON struct {
	ID        string     `json:"id"`
	Algorithm string     `json:"algorithm"`
	Signing   bool       `json:"signing"`    // it signs; the others only verify
	CreatedAt *time.Time `json:"created_at"` // null for the secret of HS256, which was not made here
	RetireAt  *time.Time `json:"retire_at"`
}

func shapeRingKey(k authn.Key) keyJSON {
	return keyJSON{
		ID: k.ID, Algorithm: k.Algorithm, Signing: k.RetireAt.IsZero(),
		CreatedAt: timeOrNull(k.CreatedAt), RetireAt: timeOrNull(k.RetireAt),
	}
}

func (s *Server) listKeys(w *answer, r *http.Request) error {
	ring, err := s.Authn.Keys(r.Context())
	if err != nil {
		return err
	}
	body := struct {
		Keys []keyJSON `json:"keys"`
	}{[]keyJSON{}}
	for _, k := range ring {
		body.Keys = append(body.Keys, shapeRingKey(k))
	}
	return writeJSON(w, http.StatusOK, body)
}

func (s *Server) rotateKeys(w *answer, r *http.Request, a authn.Actor) error {
	k, err := s.Authn.RotateKeys(r.Context(), a)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, struct {
		Key keyJSON `json:"key"`
	}{shapeRingKey(k)})
}

// reloadConfig reads the configuration again. What is wrong with it is the
// operator's to know, word for word.
func (s *Server) reloadConfig(w *answer, r *http.Request) error {
	if err := s.Deps.Reload(r.Context()); err != nil {
		return told(err)
	}
	return noContent(w)
}

// backup writes a copy of the store to a new file on the server's machine. The
// name must be absolute: the caller's working directory is not the server's.
func (s *Server) backup(w *answer, r *http.Request) error {
	var body struct {
		File string `json:"file"`
	}
	err := readJSON(w, r, &body)
	if err := require(err, field{"file", body.File}); err != nil {
		return err
	}
	if !filepath.IsAbs(body.File) {
		return invalid("file", "format", "an absolute path")
	}
	if err := s.Deps.Backup(r.Context(), body.File); err != nil {
		return told(err)
	}
	return noContent(w)
}

// told is an error whose text the operator gets to see.
func told(err error) error {
	return &refusal{code: "INVALID_INPUT", detail: err.Error(), cause: err}
}
