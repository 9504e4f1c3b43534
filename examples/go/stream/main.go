// Shows a command's output as it comes, from Go. `go run ./stream`
//
// expect: line 3
// expect: a word of warning
// expect: exit code 7
package main

import (
	"fmt"
	"io"
	"os"

	"examples/orkestr"
)

const command = "for i in 1 2 3; do echo line $i; sleep 0.2; done; echo a word of warning >&2; exit 7"

func show(sandbox *orkestr.Sandbox) error {
	stream, err := sandbox.ExecStream(command)
	if err != nil {
		return err
	}
	defer stream.Free()
	for {
		piece, err := stream.Next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case piece.Exited:
			fmt.Println("exit code", piece.ExitCode)
		case piece.Stderr:
			os.Stderr.Write(piece.Data)
		default:
			os.Stdout.Write(piece.Data)
		}
	}
}

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
	err = show(sandbox)
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
