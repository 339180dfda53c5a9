// Goroutines that sleep up to one second each.
package main

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bench/report"
)

var latest atomic.Int64

func task(duration time.Duration, wg *sync.WaitGroup) {
	start := time.Now()
	time.Sleep(duration)
	late := int64(time.Since(start) - duration)
	for old := latest.Load(); late > old && !latest.CompareAndSwap(old, late); old = latest.Load() {
	}
	wg.Done()
}

func main() {
	n := report.Size(100_000)
	sleeps := report.Durations(n)
	var wg sync.WaitGroup
	wg.Add(n)
	start := time.Now()
	for _, duration := range sleeps {
		go task(duration, &wg)
	}
	wg.Wait()
	elapsed := time.Since(start)
	report.Line("timers", n, elapsed, report.Figures{
		"overrun_ms": (elapsed - slices.Max(sleeps)).Seconds() * 1e3,
		"latest_ms":  time.Duration(latest.Load()).Seconds() * 1e3,
	})
}
