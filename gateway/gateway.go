// Package gateway is everything in Doorward that knows HTTP: the outer chain
// every request passes, our own endpoints, and the proxy.
//
// A request meets, in this order: the chain in server.go; then either the
// table in routes.go, if it is literally under our prefix, or admit.go, which
// turns a credential into an identity and an identity into a decision, and
// proxy.go, which forwards what was allowed. Whatever goes wrong anywhere is a
// returned error that ends in problem.go, and every such end is a refusal.
//
// It refuses to know how someone is known (package authn) and what a path
// means (package policy), and it never sees the store.
//
// Files are named for the question they answer. Which headers reach the
// backend: identity.go. What is in the cookie: credential.go. Which status for
// this error: problem.go. What URLs exist and who may call them: routes.go.
package gateway
