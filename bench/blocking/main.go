// 100 goroutines, each five times in a system call that blocks for 10 ms, beside a ticker.
package main

import (
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"bench/report"
)

const calls = 5

var (
	running atomic.Bool
	latest  time.Duration
)

func block() {
	for range calls {
		left := syscall.NsecToTimespec(int64(10 * time.Millisecond))
		for syscall.Nanosleep(&left, &left) == syscall.EINTR {
		}
	}
}

func tick() {
	for running.Load() {
		start := time.Now()
		time.Sleep(report.Tick)
		latest = max(latest, time.Since(start)-report.Tick)
	}
}

func main() {
	n := report.Size(100)
	var blockers, ticker sync.WaitGroup
	running.Store(true)
	ticker.Go(tick)
	time.Sleep(10 * report.Tick)
	start := time.Now()
	for range n {
		blockers.Go(block)
	}
	blockers.Wait()
	elapsed := time.Since(start)
	running.Store(false)
	ticker.Wait()
	report.Line("blocking", n, elapsed, report.Figures{
		"total_ms":  elapsed.Seconds() * 1e3,
		"latest_ms": latest.Seconds() * 1e3,
	})
}
