package authn

import (
	"runtime"
	"syscall"
)

// beNice binds the calling goroutine to its thread and gives that thread the
// lowest priority, so that hashing takes only what proxied traffic leaves. A
// priority can be lowered and, without privileges, not raised again: the
// goroutine must end still locked, and the runtime then ends the thread.
func beNice() {
	runtime.LockOSThread()
	// On Linux the priority belongs to the thread. A refusal (seccomp) costs
	// nothing but the niceness.
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), 19)
}
