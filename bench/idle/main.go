// Goroutines that were all blocked in a system call at once and have ended: what their idle threads cost.
package main

import (
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"bench/report"
)

const idle = 5 * time.Second

func cpu() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func main() {
	n := report.Size(9_000)
	debug.SetMaxThreads(2 * n)
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil {
		panic(err)
	}
	start := time.Now()
	var done sync.WaitGroup
	for range n {
		done.Go(func() {
			var b [1]byte
			syscall.Read(pipe[0], b[:])
		})
	}
	time.Sleep(time.Second)
	syscall.Close(pipe[1])
	done.Wait()
	elapsed := time.Since(start)
	time.Sleep(time.Second)
	before := cpu()
	time.Sleep(idle)
	used := cpu() - before
	dump := time.Hour
	text := make([]byte, 1<<20)
	for range 3 {
		at := time.Now()
		runtime.Stack(text, true)
		dump = min(dump, time.Since(at))
	}
	report.Line("idle", n, elapsed, report.Figures{
		"cpu_percent": used.Seconds() / idle.Seconds() * 100,
		"dump_ms":     dump.Seconds() * 1e3,
	})
}
