// The text of many parked goroutines.
package main

import (
	"bytes"
	"runtime"
	"sync"
	"time"

	"bench/report"
)

func task(ready *sync.WaitGroup, release chan struct{}) {
	ready.Done()
	<-release
}

func main() {
	n := report.Size(100_000)
	var ready sync.WaitGroup
	release := make(chan struct{})
	ready.Add(n)
	for range n {
		go task(&ready, release)
	}
	ready.Wait()
	buf := make([]byte, n*1000+1<<20)
	start := time.Now()
	text := buf[:runtime.Stack(buf, true)]
	elapsed := time.Since(start)
	if bytes.Count(text, []byte("[chan receive")) < n {
		panic("goroutines are missing")
	}
	report.Line("dump", n, elapsed, report.Figures{"total_ms": elapsed.Seconds() * 1e3})
}
