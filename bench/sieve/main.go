// The concurrent prime sieve: a chain of goroutines, one for each prime, joined by unbuffered channels.
package main

import (
	"time"

	"bench/report"
)

func generate(out chan<- int) {
	for number := 2; ; number++ {
		out <- number
	}
}

func sift(source <-chan int, out chan<- int, prime int) {
	for {
		number := <-source
		if number%prime != 0 {
			out <- number
		}
	}
}

func sieve(n int) []int {
	var primes []int
	ch := make(chan int)
	go generate(ch)
	for range n {
		prime := <-ch
		primes = append(primes, prime)
		out := make(chan int)
		go sift(ch, out, prime)
		ch = out
	}
	return primes
}

func main() {
	n := report.Size(300)
	sieve(n / 10)
	start := time.Now()
	primes := sieve(n)
	elapsed := time.Since(start)
	perHop := float64(elapsed.Nanoseconds()) / float64(report.SieveHops(primes))
	report.Line("sieve", n, elapsed, report.Figures{"ns_per_hop": perHop})
}
