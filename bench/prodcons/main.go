// A producer and a consumer, joined by a channel of 128 elements.
package main

import (
	"sync"
	"time"

	"bench/report"
)

func produce(n int, ch chan int) {
	for i := range n {
		ch <- i
	}
	close(ch)
}

func consume(n int, ch chan int) {
	received := 0
	for range ch {
		received++
	}
	if received != n {
		panic("lost values")
	}
}

func run(n int) {
	ch := make(chan int, 128)
	var wg sync.WaitGroup
	wg.Go(func() { produce(n, ch) })
	wg.Go(func() { consume(n, ch) })
	wg.Wait()
}

func main() {
	n := report.Size(1_000_000)
	run(n / 10)
	start := time.Now()
	run(n)
	report.Line("prodcons", n, time.Since(start), nil)
}
