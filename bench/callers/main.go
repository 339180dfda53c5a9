// The PCs of a stack twenty calls deep.
package main

import (
	"runtime"
	"time"

	"bench/report"
)

//go:noinline
func deep(calls, n int) time.Duration {
	if calls > 0 {
		return deep(calls-1, n)
	}
	pcs := make([]uintptr, 20)
	start := time.Now()
	for range n {
		runtime.Callers(1, pcs)
	}
	return time.Since(start)
}

func main() {
	n := report.Size(100_000)
	deep(20, n/10)
	report.Line("callers", n, deep(20, n), nil)
}
