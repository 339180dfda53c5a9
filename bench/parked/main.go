// Goroutines that wait for a channel to be closed.
package main

import (
	"sync"
	"time"

	"bench/report"
)

func task(ready *sync.WaitGroup, release chan struct{}, done *sync.WaitGroup) {
	ready.Done()
	<-release
	done.Done()
}

func main() {
	n := report.Size(100_000)
	var ready, done sync.WaitGroup
	release := make(chan struct{})
	ready.Add(n)
	done.Add(n)
	before := report.RSS()
	start := time.Now()
	for range n {
		go task(&ready, release, &done)
	}
	ready.Wait()
	parked := time.Now()
	resident := report.RSS() - before
	woken := time.Now()
	close(release)
	done.Wait()
	end := time.Now()
	microseconds := func(d time.Duration) float64 { return d.Seconds() / float64(n) * 1e6 }
	report.Line("parked", n, end.Sub(start), report.Figures{
		"rss_bytes": float64(resident) / float64(n),
		"start_us":  microseconds(parked.Sub(start)),
		"wake_us":   microseconds(end.Sub(woken)),
	})
}
