// Eight goroutines that take one mutex, and yield in one critical section of ten.
package main

import (
	"runtime"
	"sync"
	"time"

	"bench/report"
)

const (
	workers = 8
	every   = 10
)

func work(n int, mutex *sync.Mutex) {
	for range n / every {
		mutex.Lock()
		runtime.Gosched()
		mutex.Unlock()
		for range every - 1 {
			mutex.Lock()
			mutex.Unlock()
		}
	}
}

func run(n int) {
	var mutex sync.Mutex
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() { work(n/workers, &mutex) })
	}
	wg.Wait()
}

func main() {
	n := report.Size(400_000)
	run(n / 10)
	start := time.Now()
	run(n)
	report.Line("mutex", n, time.Since(start), nil)
}
