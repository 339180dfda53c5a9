// Ten producers, each with an unbuffered channel, and one consumer that selects over all ten.
package main

import (
	"sync"
	"time"

	"bench/report"
)

const channels = 10

func produce(n int, ch chan int) {
	for i := range n {
		ch <- i
	}
}

func consume(n int, chs []chan int) {
	for range n {
		ok := false
		select {
		case _, ok = <-chs[0]:
		case _, ok = <-chs[1]:
		case _, ok = <-chs[2]:
		case _, ok = <-chs[3]:
		case _, ok = <-chs[4]:
		case _, ok = <-chs[5]:
		case _, ok = <-chs[6]:
		case _, ok = <-chs[7]:
		case _, ok = <-chs[8]:
		case _, ok = <-chs[9]:
		}
		if !ok {
			panic("closed")
		}
	}
}

func run(n int) {
	chs := make([]chan int, channels)
	for i := range chs {
		chs[i] = make(chan int)
	}
	var wg sync.WaitGroup
	wg.Go(func() { consume(n, chs) })
	for _, ch := range chs {
		go produce(n/channels, ch)
	}
	wg.Wait()
}

func main() {
	n := report.Size(200_000)
	run(n / 10)
	start := time.Now()
	run(n)
	report.Line("select", n, time.Since(start), nil)
}
