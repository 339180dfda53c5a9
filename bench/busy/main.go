// A goroutine that computes for a second without ever yielding, beside a ticker.
package main

import (
	"sync"
	"sync/atomic"
	"time"

	"bench/report"
)

var (
	running atomic.Bool
	latest  time.Duration
	sink    int
)

func compute(duration time.Duration) {
	end := time.Now().Add(duration)
	x := 0
	for time.Now().Before(end) {
		x++
	}
	sink = x
}

func tick() {
	for running.Load() {
		start := time.Now()
		time.Sleep(report.Tick)
		latest = max(latest, time.Since(start)-report.Tick)
	}
}

func main() {
	n := report.Size(1000)
	var computer, ticker sync.WaitGroup
	running.Store(true)
	ticker.Go(tick)
	time.Sleep(10 * report.Tick)
	start := time.Now()
	computer.Go(func() { compute(time.Duration(n) * time.Millisecond) })
	computer.Wait()
	elapsed := time.Since(start)
	running.Store(false)
	ticker.Wait()
	report.Line("busy", n, elapsed, report.Figures{"latest_ms": latest.Seconds() * 1e3})
}
