// Runs untrusted code in a throwaway Linux computer of its own, from Go, through the C interface. `go run .`
//
// expect: 499999500000
package main

import (
	"fmt"
	"os"

	"examples/orkestr"
)

func run() error {
	client, err := orkestr.Open()
	if err != nil {
		return err
	}
	defer client.Free()
	sandbox, err := client.Create("python-3.12-bare")
	if err != nil {
		return err
	}
	defer sandbox.Free()
	stdout, err := sandbox.Exec("python3 -c 'print(sum(range(1_000_000)))'")
	if err == nil {
		fmt.Printf("stdout  %s", stdout)
	}
	if ended := sandbox.Terminate(); err == nil {
		err = ended
	}
	return err
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
