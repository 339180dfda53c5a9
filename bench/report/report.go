// Package report is what every Go program of the benchmark shares: its size, its durations and its
// line of JSON.
package report

import (
	"encoding/json"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Tick is the time between two ticks of the tickers.
const Tick = 5 * time.Millisecond

// Figures are the named results of a workload that is not measured in nanoseconds per operation.
type Figures map[string]float64

// Size returns the number of operations: the first argument of the program, else n.
func Size(n int) int {
	if len(os.Args) > 1 {
		var err error
		if n, err = strconv.Atoi(os.Args[1]); err != nil {
			panic(err)
		}
	}
	return n
}

// Line prints the program's only line. Without figures of its own it gets ns_per_op, from n and elapsed.
func Line(workload string, n int, elapsed time.Duration, figures Figures) {
	line := map[string]any{
		"workload":  workload,
		"contender": "go",
		"version":   strings.TrimPrefix(runtime.Version(), "go"),
		"n":         n,
		"seconds":   elapsed.Seconds(),
	}
	if os.Getenv("GOMAXPROCS") == "1" {
		line["contender"] = "go1"
	}
	if figures == nil {
		figures = Figures{"ns_per_op": float64(elapsed.Nanoseconds()) / float64(n)}
	}
	for name, value := range figures {
		line[name] = value
	}
	if err := json.NewEncoder(os.Stdout).Encode(line); err != nil {
		panic(err)
	}
}

// RSS returns the resident memory of this process in bytes.
func RSS() int {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		panic(err)
	}
	return pages * os.Getpagesize()
}

// PageTables returns the memory of this process's page tables in bytes.
func PageTables() int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		panic(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmPTE:")
	kibibytes, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		panic(err)
	}
	return kibibytes * 1024
}

// Durations returns n sleeps of up to one second, the same ones in Python and in Go.
func Durations(n int) []time.Duration {
	x, result := uint64(1), make([]time.Duration, n)
	for i := range result {
		x = x*6364136223846793005 + 1442695040888963407
		result[i] = time.Duration(float64(x>>33) / (1 << 31) * float64(time.Second))
	}
	return result
}

// SieveHops returns how many values pass through all channels of a sieve until it has found primes.
// Every number goes to the filter of each prime up to its own smallest factor, and to main if there is
// none.
func SieveHops(primes []int) int {
	hops := 0
	for number := 2; number <= primes[len(primes)-1]; number++ {
		for _, prime := range primes {
			hops++
			if number%prime == 0 {
				break
			}
		}
	}
	return hops
}
