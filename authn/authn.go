// Package authn knows who someone is. It keeps accounts, passwords, sessions,
// tokens, lockout and the security log, and it holds the rules that bind them;
// it knows no HTTP and no database.
//
// The gateway calls a Service; the Service calls a Store. Everything that must
// hold whatever happens (an address belongs to one account, the last admin
// stays, a refresh token has one successor) is decided here, inside one
// transaction of the store, so no handler and no second process can change a
// record around it.
//
// Read service.go for what can be asked, store.go for what must be kept, and
// then the file named for your question: password.go, lockout.go, token.go,
// refresh.go, identify.go, ticket.go, outbox.go.
package authn
