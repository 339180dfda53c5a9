// A goroutine that writes lines to a file for a second, beside a ticker.
package main

import (
	"bufio"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"bench/report"
)

var (
	running atomic.Bool
	latest  time.Duration
)

func write(duration time.Duration) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	buffered := bufio.NewWriter(null)
	end := time.Now().Add(duration)
	for time.Now().Before(end) {
		fmt.Fprintln(buffered, "x")
	}
}

func tick() {
	for running.Load() {
		start := time.Now()
		time.Sleep(report.Tick)
		latest = max(latest, time.Since(start)-report.Tick)
	}
}

func main() {
	n := report.Size(1000)
	var writer, ticker sync.WaitGroup
	running.Store(true)
	ticker.Go(tick)
	time.Sleep(10 * report.Tick)
	start := time.Now()
	writer.Go(func() { write(time.Duration(n) * time.Millisecond) })
	writer.Wait()
	elapsed := time.Since(start)
	running.Store(false)
	ticker.Wait()
	report.Line("writing", n, elapsed, report.Figures{"latest_ms": latest.Seconds() * 1e3})
}
