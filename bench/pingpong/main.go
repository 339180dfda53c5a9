// Round trips over two unbuffered channels, between two goroutines or, with "main", main and one.
package main

import (
	"os"
	"slices"
	"sync"
	"time"

	"bench/report"
)

func ping(n int, a, b chan int) {
	for range n {
		a <- 1
		<-b
	}
}

func pong(n int, a, b chan int) {
	for range n {
		b <- <-a
	}
}

func run(n int, inMain bool) {
	a, b := make(chan int), make(chan int)
	var wg sync.WaitGroup
	wg.Go(func() { pong(n, a, b) })
	if inMain {
		ping(n, a, b)
	} else {
		wg.Go(func() { ping(n, a, b) })
	}
	wg.Wait()
}

func main() {
	n := report.Size(300_000)
	inMain := slices.Contains(os.Args, "main")
	run(n/10, inMain)
	start := time.Now()
	run(n, inMain)
	elapsed := time.Since(start)
	if inMain {
		report.Line("pingpong-main", n, elapsed, nil)
	} else {
		report.Line("pingpong", n, elapsed, nil)
	}
}
