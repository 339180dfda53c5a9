// Goroutines that were all parked at once and have ended: what is left of them after some idle seconds.
package main

import (
	"runtime"
	"sync"
	"time"

	"bench/report"
)

const idle = 15 * time.Second

func peer(there, back chan int) {
	runtime.LockOSThread()
	for value := range there {
		time.Sleep(300 * time.Microsecond)
		back <- value
	}
}

// best returns the shortest of 20 rounds of f.
func best(f func()) float64 {
	shortest := time.Hour
	for range 20 {
		start := time.Now()
		f()
		shortest = min(shortest, time.Since(start))
	}
	return shortest.Seconds()
}

func main() {
	n := report.Size(1_000_000)
	there, back := make(chan int), make(chan int)
	go peer(there, back)
	roundTrip := func() float64 {
		return best(func() {
			for i := range 50 {
				there <- i
				<-back
			}
		})
	}
	roundTrip()
	best(runtime.GC)
	memory, tables, trip, full := report.RSS(), report.PageTables(), roundTrip(), best(runtime.GC)
	start := time.Now()
	release := make(chan struct{})
	var done sync.WaitGroup
	for range n {
		done.Go(func() { <-release })
	}
	close(release)
	done.Wait()
	elapsed := time.Since(start)
	peak := report.RSS()
	time.Sleep(idle)
	mebibytes := func(bytes int) float64 { return float64(bytes) / (1 << 20) }
	report.Line("burst", n, elapsed, report.Figures{
		"peak_mib":   mebibytes(peak - memory),
		"rss_mib":    mebibytes(report.RSS() - memory),
		"tables_mib": mebibytes(report.PageTables() - tables),
		"trip_ratio": roundTrip() / trip,
		"full_ratio": best(runtime.GC) / full,
	})
}
