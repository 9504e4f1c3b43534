// Runs untrusted code in a throwaway Linux computer of its own, from Go, through the C interface. `go run .`
//
// expect: 499999500000
package main

/*
#cgo pkg-config: orkestr
#include <orkestr/orkestr.h>
#include <stdlib.h>
*/
import "C"

import (
	"fmt"
	"os"
	"unsafe"
)

// The Go error of `status`; frees `failure`.
func check(status C.orkestr_status, failure *C.orkestr_error) error {
	if status == C.ORKESTR_OK {
		return nil
	}
	defer C.orkestr_error_free(failure)
	return fmt.Errorf("%s: %s", C.GoString(C.orkestr_status_name(status)), C.GoString(C.orkestr_error_message(failure)))
}

func open() (*C.orkestr_client, error) {
	var client *C.orkestr_client
	var failure *C.orkestr_error
	status := C.orkestr_client_open(nil, &client, &failure)
	return client, check(status, failure)
}

func create(client *C.orkestr_client, template string) (*C.orkestr_sandbox, error) {
	name := C.CString(template)
	defer C.free(unsafe.Pointer(name))
	// In C's memory: it holds a pointer.
	options := (*C.orkestr_create_options)(C.calloc(1, C.sizeof_orkestr_create_options))
	defer C.free(unsafe.Pointer(options))
	options.size = C.sizeof_orkestr_create_options
	options.template_name = name
	var sandbox *C.orkestr_sandbox
	var failure *C.orkestr_error
	status := C.orkestr_await_sandbox(C.orkestr_sandbox_create(client, options), C.ORKESTR_FOREVER, &sandbox, &failure)
	return sandbox, check(status, failure)
}

func field(value *C.orkestr_value, name string) []byte {
	key := C.CString(name)
	defer C.free(unsafe.Pointer(key))
	var length C.size_t
	data := C.orkestr_value_bytes(value, key, &length)
	return C.GoBytes(unsafe.Pointer(data), C.int(length))
}

func exec(sandbox *C.orkestr_sandbox, command string) ([]byte, error) {
	line := C.CString(command)
	defer C.free(unsafe.Pointer(line))
	var value *C.orkestr_value
	var failure *C.orkestr_error
	status := C.orkestr_await(C.orkestr_sandbox_exec(sandbox, line, nil), C.ORKESTR_FOREVER, &value, &failure)
	if err := check(status, failure); err != nil {
		return nil, err
	}
	defer C.orkestr_value_free(value)
	return field(value, "stdout"), nil
}

func terminate(sandbox *C.orkestr_sandbox) error {
	var failure *C.orkestr_error
	status := C.orkestr_await(C.orkestr_sandbox_terminate(sandbox), C.ORKESTR_FOREVER, nil, &failure)
	return check(status, failure)
}

func run() error {
	client, err := open()
	if err != nil {
		return err
	}
	defer C.orkestr_client_free(client)
	sandbox, err := create(client, "python-3.12-bare")
	if err != nil {
		return err
	}
	defer C.orkestr_sandbox_free(sandbox)
	stdout, err := exec(sandbox, "python3 -c 'print(sum(range(1_000_000)))'")
	if err == nil {
		fmt.Printf("stdout  %s", stdout)
	}
	if ended := terminate(sandbox); err == nil {
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
