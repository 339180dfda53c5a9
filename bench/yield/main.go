// Two goroutines that yield to each other.
package main

import (
	"runtime"
	"sync"
	"time"

	"bench/report"
)

func task(n int, wg *sync.WaitGroup) {
	for range n {
		runtime.Gosched()
	}
	wg.Done()
}

func run(n int) {
	var wg sync.WaitGroup
	wg.Add(2)
	go task(n/2, &wg)
	go task(n/2, &wg)
	wg.Wait()
}

func main() {
	n := report.Size(1_000_000)
	run(n / 10)
	start := time.Now()
	run(n)
	report.Line("yield", n, time.Since(start), nil)
}
