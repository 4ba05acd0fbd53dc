package gateway

import (
	"time"

	"github.com/doorward/doorward/authn"
)

// The shapes of the API. They are written out rather than taken from authn, so
// that a field added there appears here only when someone means it to.

// userJSON is an account. All keys are always there, null where there is
// nothing.
type userJSON struct {
	ID            string     `json:"id"`
	Username      *string    `json:"username"`
	Email         *string    `json:"email"`
	Name          *string    `json:"name"`
	Roles         []string   `json:"roles"`
	Active        bool       `json:"active"`
	EmailVerified bool       `json:"email_verified"`
	CreatedAt     time.Time  `json:"created_at"`
	UpdatedAt     time.Time  `json:"updated_at"`
	LastLoginAt   *time.Time `json:"last_login_at"`
}

func shapeUser(u authn.User) userJSON {
	return userJSON{
		ID: u.ID, Username: orNull(u.Username), Email: orNull(u.Email), Name: orNull(u.Name),
		Roles: append([]string{}, u.Roles...), Active: u.Active, EmailVerified: u.EmailVerified,
		CreatedAt: shapeTime(u.CreatedAt), UpdatedAt: shapeTime(u.UpdatedAt), LastLoginAt: timeOrNull(u.LastLoginAt),
	}
}

// sessionJSON is one sign-in on one device.
type sessionJSON struct {
	ID         string    `json:"id"`
	Current    bool      `json:"current"` // the one this request came by
	Mode       string    `json:"mode"`
	ClientIP   *string   `json:"client_ip"`
	UserAgent  *string   `json:"user_agent"`
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at"`
	ExpiresAt  time.Time `json:"expires_at"`
}

func shapeSession(x authn.Session, current string) sessionJSON {
	return sessionJSON{
		ID: x.ID, Current: x.ID == current, Mode: string(x.Mode),
		ClientIP: orNull(x.ClientIP), UserAgent: orNull(x.UserAgent),
		CreatedAt: shapeTime(x.CreatedAt), LastUsedAt: shapeTime(x.LastUsedAt), ExpiresAt: shapeTime(x.Expires()),
	}
}

func shapeSessions(held []authn.Session, current string) []sessionJSON {
	out := make([]sessionJSON, len(held))
	for i, x := range held {
		out[i] = shapeSession(x, current)
	}
	return out
}

// eventJSON is one line of the security log.
type eventJSON struct {
	ID        string            `json:"id"`
	Time      time.Time         `json:"time"`
	Kind      string            `json:"kind"`
	Actor     *string           `json:"actor"`
	Subject   *string           `json:"subject"`
	Session   *string           `json:"session"`
	ClientIP  *string           `json:"client_ip"`
	RequestID *string           `json:"request_id"`
	Detail    map[string]string `json:"detail"`
}

func shapeEvent(e authn.Event) eventJSON {
	detail := e.Detail
	if detail == nil {
		detail = map[string]string{}
	}
	return eventJSON{
		ID: e.ID, Time: shapeTime(e.Time), Kind: string(e.Kind), Actor: orNull(e.Actor), Subject: orNull(e.Subject),
		Session: orNull(e.Session), ClientIP: orNull(e.ClientIP), RequestID: orNull(e.RequestID), Detail: detail,
	}
}

// signInJSON is the answer to a sign-in. Which fields are there depends on the
// mode: what travels in a cookie is not in the body.
type signInJSON struct {
	AccessToken      string   `json:"access_token,omitempty"`
	TokenType        string   `json:"token_type,omitempty"`
	ExpiresIn        int      `json:"expires_in"` // seconds
	RefreshToken     string   `json:"refresh_token,omitempty"`
	RefreshExpiresIn int      `json:"refresh_expires_in,omitempty"` // seconds
	User             userJSON `json:"user"`
}

// shapeSignIn is what a client keeps of a sign-in that travels by mode.
func shapeSignIn(in authn.SignIn, mode authn.Mode) signInJSON {
	if mode == authn.ModeSessionCookie {
		return signInJSON{User: shapeUser(in.User), ExpiresIn: seconds(in.CookieExpiresIn)}
	}
	out := signInJSON{
		AccessToken: in.AccessToken.Reveal(), TokenType: "Bearer", ExpiresIn: seconds(in.AccessExpiresIn),
		RefreshExpiresIn: seconds(in.RefreshExpiresIn), User: shapeUser(in.User),
	}
	if mode == authn.ModeToken {
		out.RefreshToken = in.RefreshToken.Reveal()
	}
	return out
}

// problemJSON is RFC 9457, with what we add to it.
type problemJSON struct {
	Type      string      `json:"type"`
	Title     string      `json:"title"`
	Status    int         `json:"status"`
	Detail    string      `json:"detail"`
	Code      Code        `json:"code"`
	RequestID string      `json:"request_id"`
	Errors    []fieldJSON `json:"errors,omitempty"`
}

type fieldJSON struct {
	Field  string `json:"field"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func shapeProblem(f failure, requestID string) *problemJSON {
	out := &problemJSON{Type: "about:blank", Title: f.title, Status: f.status, Detail: f.detail, Code: f.code, RequestID: requestID}
	for _, e := range f.fields {
		out.Errors = append(out.Errors, fieldJSON{e.Field, e.Code, e.Detail})
	}
	return out
}

// paginationJSON says where in a listing a page is. Total and pages are null
// where only a lower bound is known.
type paginationJSON struct {
	Page         int  `json:"page"`
	Limit        int  `json:"limit"`
	Total        *int `json:"total,omitempty"`
	TotalAtLeast *int `json:"total_at_least,omitempty"`
	Pages        *int `json:"pages,omitempty"`
}

func shapePagination(page, limit int, found authn.UserPage) paginationJSON {
	out := paginationJSON{Page: page, Limit: limit}
	if found.AtLeast {
		out.TotalAtLeast = &found.Total
		return out
	}
	pages := (found.Total + limit - 1) / limit
	out.Total, out.Pages = &found.Total, &pages
	return out
}

// shapeTime is RFC 3339 in UTC, to the millisecond.
func shapeTime(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = shapeTime(t)
	return &t
}

func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// seconds rounds down: a client must not think it has longer than it has.
func seconds(d time.Duration) int { return int(d.Seconds()) }
