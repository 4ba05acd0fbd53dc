package authn

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"
)

// Bringing in accounts from elsewhere, many at a time. An import adds: an
// account that is there stays as it is, so the same file may be given again,
// and one that stopped halfway goes on where it stopped.

// ImportRow is one account to bring in.
type ImportRow struct {
	Line int // of the file, for the report

	Username      string
	Email         string
	Name          string
	Roles         []string // nil: accounts.default_roles
	Active        bool
	EmailVerified bool
	CreatedAt     time.Time // zero: now

	// At most one of these. With neither nobody can sign in to the account
	// until a password is set or reset.
	Password     Secret
	PasswordHash Secret

	// Wrong is what was wrong with the line already when it was read.
	Wrong []FieldError
}

// ImportOutcome is what became of a row.
type ImportOutcome string

const (
	ImportCreated ImportOutcome = "created"
	ImportSkipped ImportOutcome = "skipped" // an account has the username or the address
	ImportRefused ImportOutcome = "refused"
)

// ImportResult says what became of a row, and why. It holds nothing of a
// password or a hash.
type ImportResult struct {
	Line    int
	Outcome ImportOutcome
	Fields  []FieldError
	Hashed  bool // its password takes a hash, which is slow; in a dry run, would take one

	// Of an account that was created or, in a dry run, would be.
	Login string
	Roles []string
}

const (
	// importBatch is how many accounts are stored in one transaction.
	importBatch = 500
	// importHashes is how many of them may take a hash: what was hashed should
	// not be lost by much when an import is ended.
	importHashes = 20
)

// ImportUsers brings in accounts, batch by batch, and calls report with what
// became of each row once that is certain, in the order of the rows. A dry run
// says the same and changes nothing. Nobody is sent a mail.
//
// The rules are those of CreateUser, and a password in clear has to satisfy
// them too. Hashes are taken in the schemes of digest.go. Passwords in clear
// and weak digests take a hash each, in the pool that serves those who sign
// in meanwhile.
//
// An error is of the store, ctx or report; what was reported before it is done.
func (s *Service) ImportUsers(ctx context.Context, rows iter.Seq[ImportRow], a Actor, dryRun bool, report func([]ImportResult) error) error {
	im := &importing{Service: s, actor: a, dryRun: dryRun, report: report, names: map[string]int{}}
	for row := range rows {
		im.add(row)
		if len(im.batch) < importBatch && im.toHash < importHashes {
			continue
		}
		if err := im.flush(ctx); err != nil {
			return err
		}
	}
	return im.flush(ctx)
}

// importing is one import under way.
type importing struct {
	*Service
	actor  Actor
	dryRun bool
	report func([]ImportResult) error

	names  map[string]int // names and addresses of the file so far -> line
	batch  []newcomer
	toHash int
}

// newcomer is a row on its way to be an account.
type newcomer struct {
	result   ImportResult
	user     User
	password Secret  // to be hashed
	wrap     *digest // to be wrapped
}

func (c *newcomer) end(o ImportOutcome, fields ...FieldError) {
	c.result.Outcome, c.result.Fields = o, fields
}

// open reports whether nothing has been decided yet.
func (c *newcomer) open() bool { return c.result.Outcome == "" }

func (c *newcomer) needsHash() bool { return c.password != "" || c.wrap != nil }

// add judges a row by itself and by those before it.
func (im *importing) add(row ImportRow) {
	c := newcomer{result: ImportResult{Line: row.Line}}
	e := InputError{Fields: row.Wrong}
	if len(row.Wrong) == 0 {
		im.check(&e, &c, row)
	}
	if len(e.Fields) == 0 {
		im.checkTwice(&e, c.user, row.Line)
	}
	if len(e.Fields) > 0 {
		c.end(ImportRefused, e.Fields...)
	} else if c.needsHash() {
		im.toHash++
	}
	im.batch = append(im.batch, c)
}

// check makes a user of a row, noting everything wrong with it.
func (im *importing) check(e *InputError, c *newcomer, row ImportRow) {
	now, accounts := im.deps.Now(), im.deps.Config.Accounts
	roles := row.Roles
	if roles == nil {
		roles = accounts.DefaultRoles
	}
	u := im.newPerson(e, NewUser{Username: row.Username, Email: row.Email, Name: row.Name, Roles: roles, EmailVerified: row.EmailVerified})
	u.Active, u.CreatedAt, u.UpdatedAt = row.Active, now, now
	switch {
	case row.CreatedAt.After(now):
		e.Add("created_at", "format", "give a time that has been")
	case row.CreatedAt.IsZero():
	case row.CreatedAt.Before(time.Unix(0, 0)):
		e.Add("created_at", "format", "give a time after 1970")
	default:
		u.CreatedAt = row.CreatedAt.UTC()
	}
	u.ID = newID(u.CreatedAt) // so that listings stay in the order of creation
	switch {
	case row.Password != "" && row.PasswordHash != "":
		e.Add("password", "duplicate", "give a password or a hash, not both")
	case row.Password != "":
		accounts.Password.checkNewPassword(e, "password", row.Password, u)
		c.password = row.Password
	case row.PasswordHash != "":
		var err error
		if u.PasswordHash, c.wrap, err = im.passwords.adopt(row.PasswordHash.Reveal()); err != nil {
			e.Add("password_hash", "format", err.Error())
		}
	}
	c.user = u
}

// checkTwice notes names that a line before had: which of the two is meant is
// not ours to say.
func (im *importing) checkTwice(e *InputError, u User, line int) {
	keys := []struct{ field, key string }{{"username", strings.ToLower(u.Username)}, {"email", u.Email}}
	for _, k := range keys {
		if first, twice := im.names[k.key]; twice && k.key != "" {
			e.Add(k.field, "duplicate", fmt.Sprintf("line %d has the same", first))
		}
	}
	if len(e.Fields) > 0 {
		return
	}
	for _, k := range keys {
		im.names[k.key] = line // no username can be taken for an address
	}
}

// flush stores the batch and reports it. Who is there already is looked up
// first, since a hash takes long, and again as the accounts are stored.
func (im *importing) flush(ctx context.Context) error {
	if len(im.batch) == 0 {
		return nil
	}
	batch := im.batch
	im.batch, im.toHash = nil, 0
	err := im.deps.Store.View(ctx, func(tx Tx) error { return lookUp(tx, batch) })
	if err == nil && !im.dryRun {
		if err = im.hash(ctx, batch); err == nil {
			batch, err = im.store(ctx, batch)
		}
	}
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	results := make([]ImportResult, len(batch))
	for i := range batch {
		if batch[i].open() { // of a dry run
			batch[i].end(ImportCreated)
		}
		r := batch[i].result
		if r.Outcome == ImportCreated {
			r.Hashed, r.Login, r.Roles = batch[i].needsHash(), batch[i].user.Login(), batch[i].user.Roles
		}
		results[i] = r
	}
	return im.report(results)
}

// lookUp skips those who are there and refuses names nobody can have any more.
func lookUp(tx Tx, batch []newcomer) error {
	for i := range batch {
		c := &batch[i]
		if !c.open() {
			continue
		}
		if err := c.lookUp(tx); err != nil {
			return err
		}
	}
	return nil
}

func (c *newcomer) lookUp(tx Tx) error {
	for _, name := range []struct {
		field, value string
		find         func(string) (User, error)
	}{
		{"username", c.user.Username, tx.UserByUsername},
		{"email", c.user.Email, tx.UserByEmail},
	} {
		if name.value == "" {
			continue
		}
		_, err := name.find(name.value)
		if err == nil {
			c.end(ImportSkipped, FieldError{name.field, "taken", "an account has it already"})
			return nil
		}
		if !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	const gone = "it was that of an account which was deleted or renamed"
	switch err := tx.NamesFree(c.user.Username, c.user.Email); {
	case errors.Is(err, ErrUsernameTaken):
		c.end(ImportRefused, FieldError{"username", "taken", gone})
	case errors.Is(err, ErrEmailTaken):
		c.end(ImportRefused, FieldError{"email", "taken", gone})
	case err != nil:
		return err
	}
	return nil
}

// hash hashes what has to be, as many at a time as the pool works on, so that
// those who sign in meanwhile wait for one turn and not for the import.
func (im *importing) hash(ctx context.Context, batch []newcomer) error {
	var work sync.WaitGroup
	errs := make([]error, len(batch))
	turn := make(chan struct{}, im.hashes.workers)
	for i := range batch {
		c := &batch[i]
		if !c.open() || !c.needsHash() {
			continue
		}
		turn <- struct{}{}
		work.Go(func() {
			errs[i] = im.hashOne(ctx, c)
			<-turn
		})
	}
	work.Wait()
	return errors.Join(errs...)
}

// hashOne waits for as long as it takes: an import has time.
func (im *importing) hashOne(ctx context.Context, c *newcomer) error {
	for {
		err := im.hashes.run(ctx, func() {
			var err error
			if c.wrap != nil {
				c.user.PasswordHash, err = im.passwords.wrap(*c.wrap)
			} else {
				c.user.PasswordHash, err = im.passwords.hash(c.password)
			}
			if err != nil {
				c.end(ImportRefused, FieldError{"password", "format", "it cannot be hashed"})
			}
		})
		var full *RetryError
		if !errors.As(err, &full) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(full.After):
		}
	}
}

// store writes the accounts that are still to be made, each with its event, in
// one transaction, and returns the batch with what became of it.
func (im *importing) store(ctx context.Context, before []newcomer) (batch []newcomer, err error) {
	now := im.deps.Now()
	err = im.deps.Store.Update(ctx, func(tx Tx) error {
		batch = append([]newcomer(nil), before...)
		if err := lookUp(tx, batch); err != nil {
			return err
		}
		for i := range batch {
			c := &batch[i]
			if !c.open() {
				continue
			}
			if err := tx.PutUser(c.user); err != nil {
				return err
			}
			detail := map[string]string{"import": "true", "roles": strings.Join(c.user.Roles, ",")}
			if err := im.addEvent(tx, UserCreated, im.actor, c.user.ID, "", now, detail); err != nil {
				return err
			}
			c.end(ImportCreated)
		}
		return nil
	})
	return batch, err
}
