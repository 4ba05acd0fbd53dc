//go:build !linux

package authn

// beNice does nothing here: only Linux gives one thread a priority of its own.
func beNice() {}
