// 200,000 goroutines that end at once, 1,000 alive at a time.
package main

import (
	"sync"
	"time"

	"bench/report"
)

const alive = 1000

func task(wg *sync.WaitGroup) {
	wg.Done()
}

func spawn(n int) {
	var wg sync.WaitGroup
	for range n / alive {
		wg.Add(alive)
		for range alive {
			go task(&wg)
		}
		wg.Wait()
	}
}

func main() {
	n := report.Size(200_000)
	spawn(n / 10)
	start := time.Now()
	spawn(n)
	report.Line("spawn", n, time.Since(start), nil)
}
