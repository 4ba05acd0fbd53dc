package authn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Deps is everything a Service needs. All fields but Mail, MailLater and
// Observe must be set.
type Deps struct {
	Config Config
	Store  Store
	Now    func() time.Time
	Log    *slog.Logger

	// Mail delivers letters; nil means that there are no mails. With MailLater
	// they are only put into the outbox until SendMails is called: a process
	// that lives for a single command leaves them to the server.
	Mail      Mailer
	MailLater bool

	// Observe receives measurements; nil means nobody is interested. It must be
	// quick and safe for concurrent use.
	Observe func(m Metric, label string, value float64)
}

// Metric names a measurement. Counters are observed with value 1, gauges with
// their new value, durations in seconds.
type Metric string

const (
	MetricSignIns   Metric = "sign_ins"        // counter; label: succeeded failed locked overloaded disabled unverified
	MetricRefreshes Metric = "refreshes"       // counter; label: rotated repeated reused invalid limited
	MetricHashQueue Metric = "hash_queue"      // gauge: hashes waiting or running
	MetricHashWait  Metric = "hash_wait"       // seconds one hash waited for its turn
	MetricSessions  Metric = "sessions_cached" // gauge
	MetricMailQueue Metric = "mail_queue"      // gauge: mails that wait to be sent
	MetricMails     Metric = "mails"           // counter; label: sent failed given_up
)

// SignIn is a session just started or continued, with what its holder keeps.
// Only the fields of its mode are set.
type SignIn struct {
	// Pending means that there is no session, and perhaps no account, yet: the
	// address has to be proven first. Nothing else is set then.
	Pending bool

	User    User
	Session Session

	AccessToken      Secret
	AccessExpiresIn  time.Duration
	RefreshToken     Secret
	RefreshExpiresIn time.Duration // until the session's idle end, or its end if that is sooner

	Cookie          Secret        // the session cookie's value
	CookieExpiresIn time.Duration // until the session's end, which no use moves
}

// Registration is what a person sends to get an account.
type Registration struct {
	Email    string
	Username string
	Name     string
	Password Secret
	Mode     Mode
}

// LoginAttempt is what a person sends to sign in. Login is a username or an
// email address in any spelling.
type LoginAttempt struct {
	Login    string
	Password Secret
	Mode     Mode
}

// Credential is what a request carries to say who it is from. A bearer decides
// alone, good or bad; else the first cookie that verifies.
type Credential struct {
	Bearer  Secret   // an access token of ours; "" for none
	Cookies []Secret // every session cookie value, in order
}

// Empty reports whether the request carries nothing of ours.
func (c Credential) Empty() bool { return c.Bearer == "" && len(c.Cookies) == 0 }

// NewUser is an account made by an admin or on the command line.
type NewUser struct {
	Username      string
	Email         string
	Name          string
	Password      Secret
	Roles         []string // nil: accounts.default_roles
	EmailVerified bool
}

// UserChange is an admin's change to an account; nil fields stay as they are.
type UserChange struct {
	Username      *string
	Email         *string
	Name          *string
	Roles         *[]string
	Active        *bool
	EmailVerified *bool
}

// Actor is who does something to an account: a user, or the command line.
type Actor struct {
	ID       string   // user id, or ActorCLI
	SignedIn Identity // whom the gateway let in, where a user acts on another's account
	Client   Client
}

// ActorCLI is the actor of what is done on the command line.
const ActorCLI = "cli"

// Service answers for who someone is. It is made by New and safe for
// concurrent use.
type Service struct {
	deps Deps // out of sight: nobody may change a record around the rules here

	// Accounts.
	hashes    *hashPool
	passwords *passwords
	lockout   *lockout

	// Keys, and what was verified with them.
	loading   sync.Mutex
	ring      atomic.Pointer[keyring]
	ringStale atomic.Bool
	reload    chan struct{}
	tokens    *cache[[32]byte, *verified]

	// Current records, true while the feed is up.
	feedUp    atomic.Bool
	sessions  *cache[string, *Session]
	users     *cache[string, *User]
	followers followers

	// Sessions to write: used, and rotated.
	touches marks
	rotated marks

	// Mails.
	outbox    outbox
	mailLimit *mailLimiter
	post      func() // starts the postman, once

	stop func()
	work sync.WaitGroup
}

// New opens the key ring (making the first key), reads the lockout counters,
// starts the change feed and waits until it is up. Close it when done.
func New(ctx context.Context, d Deps) (*Service, error) {
	if d.Config.Tokens.Issuer == "" || d.Config.Tokens.Audience == "" {
		return nil, errors.New("tokens.issuer and tokens.audience must be set")
	}
	d.Store = &noticing{Store: d.Store, log: d.Log, now: d.Now, retention: d.Config.Events.Retention}
	s := &Service{
		deps:     d,
		reload:   make(chan struct{}, 1),
		tokens:   newCache[[32]byte, *verified](),
		sessions: newCache[string, *Session](),
		users:    newCache[string, *User](),

		outbox:    newOutbox(),
		mailLimit: newMailLimiter(d.Config.Mail.Limit),
	}
	if err := s.openRing(ctx); err != nil {
		return nil, err
	}
	if err := s.openAccounts(ctx); err != nil {
		return nil, err
	}
	if err := s.begin(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Mails reports whether mails are sent.
func (s *Service) Mails() bool { return s.deps.Mail != nil }

// Lockout is the rule by which ErrTooManyAttempts comes and goes.
func (s *Service) Lockout() LockoutConfig { return s.deps.Config.Accounts.Lockout }

// RefreshGrace is the time by which ErrRefreshTooMany comes and goes.
func (s *Service) RefreshGrace() time.Duration { return s.deps.Config.Tokens.RefreshGrace }

// openAccounts makes what passwords and lockout need.
func (s *Service) openAccounts(ctx context.Context) (err error) {
	c := s.deps.Config.Accounts
	s.lockout, err = loadLockout(ctx, s.deps.Store, c.Lockout, c.Password.Pepper, s.deps.Now())
	if err != nil {
		return err
	}
	s.hashes = newHashPool(s.observe)
	if s.passwords, err = newPasswords(ctx, c.Password, s.hashes); err != nil {
		s.hashes.Close()
	}
	return err
}

// begin starts the background work and waits until the feed is up.
func (s *Service) begin(ctx context.Context) error {
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	up := make(chan struct{})
	s.work.Go(func() { s.watch(running, sync.OnceFunc(func() { close(up) })) })
	s.work.Go(func() { s.background(running) })
	s.post = sync.OnceFunc(func() { s.work.Go(func() { s.postman(running) }) })
	if !s.deps.MailLater {
		s.SendMails()
	}
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the change feed of the store: %w", ctx.Err())
	}
}

// SendMails begins to send mails, if there are any, with those that wait in the
// outbox already. Calling it again does nothing.
func (s *Service) SendMails() {
	if s.deps.Mail != nil {
		s.post()
	}
}

// Close ends the background work, waiting a moment for mails that are just
// being sent, and writes what waits to be written. The store is the caller's to
// close.
func (s *Service) Close() error {
	s.stop()
	s.work.Wait()
	s.hashes.Close()
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	return s.flush(ctx, last, s.deps.Now())
}

// closeLimit is how long the last writes may take: a stuck disk must not keep
// the process.
const closeLimit = 5 * time.Second

// Ready returns, by name, nil while the store works and feeds its changes, and
// while the ring can sign.
func (s *Service) Ready(ctx context.Context) map[string]error {
	checks := map[string]error{"store": s.deps.Store.Check(ctx), "keys": nil}
	if checks["store"] == nil && !s.feedUp.Load() {
		checks["store"] = errors.New("the change feed is down")
	}
	if s.ringStale.Load() {
		checks["keys"] = s.loadRing(ctx)
	}
	return checks
}

// Record writes an event that is not about an account: config.loaded,
// config.rejected, store.failed.
func (s *Service) Record(ctx context.Context, k Kind, a Actor, detail map[string]string) error {
	now := s.deps.Now()
	return s.deps.Store.Update(ctx, func(tx Tx) error { return s.addEvent(tx, k, a, "", "", now, detail) })
}

// observe reports a measurement, if anybody is interested.
func (s *Service) observe(m Metric, label string, v float64) {
	if s.deps.Observe != nil {
		s.deps.Observe(m, label, v)
	}
}
