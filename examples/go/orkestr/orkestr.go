// Package orkestr is what the examples need of the C interface, with Go's errors. Copy it, and add what you need more of; orkestr.h is
// the manual. Every Free is to be called once.
package orkestr

/*
#cgo pkg-config: orkestr
#include <orkestr/orkestr.h>
#include <stdlib.h>
*/
import "C"

import (
	"fmt"
	"io"
	"unsafe"
)

type (
	Client  struct{ handle *C.orkestr_client }
	Sandbox struct{ handle *C.orkestr_sandbox }
	Stream  struct{ handle *C.orkestr_stream }
)

// A Piece of a command's output, or its exit code.
type Piece struct {
	Data     []byte
	Stderr   bool
	Exited   bool
	ExitCode int
}

// The Go error of `status`; frees `failure`.
func check(status C.orkestr_status, failure *C.orkestr_error) error {
	if status == C.ORKESTR_OK {
		return nil
	}
	defer C.orkestr_error_free(failure)
	return fmt.Errorf("%s: %s", C.GoString(C.orkestr_status_name(status)), C.GoString(C.orkestr_error_message(failure)))
}

func Open() (*Client, error) {
	var client *C.orkestr_client
	var failure *C.orkestr_error
	status := C.orkestr_client_open(nil, &client, &failure)
	return &Client{client}, check(status, failure)
}

func (client *Client) Free() { C.orkestr_client_free(client.handle) }

func (client *Client) Create(template string) (*Sandbox, error) {
	name := C.CString(template)
	defer C.free(unsafe.Pointer(name))
	// In C's memory: it holds a pointer.
	options := (*C.orkestr_create_options)(C.calloc(1, C.sizeof_orkestr_create_options))
	defer C.free(unsafe.Pointer(options))
	options.size = C.sizeof_orkestr_create_options
	options.template_name = name
	var sandbox *C.orkestr_sandbox
	var failure *C.orkestr_error
	status := C.orkestr_await_sandbox(C.orkestr_sandbox_create(client.handle, options), C.ORKESTR_FOREVER, &sandbox, &failure)
	return &Sandbox{sandbox}, check(status, failure)
}

// Free ends nothing; Terminate does.
func (sandbox *Sandbox) Free() { C.orkestr_sandbox_free(sandbox.handle) }

func (sandbox *Sandbox) Exec(command string) (stdout []byte, err error) {
	line := C.CString(command)
	defer C.free(unsafe.Pointer(line))
	var value *C.orkestr_value
	var failure *C.orkestr_error
	status := C.orkestr_await(C.orkestr_sandbox_exec(sandbox.handle, line, nil), C.ORKESTR_FOREVER, &value, &failure)
	if err := check(status, failure); err != nil {
		return nil, err
	}
	defer C.orkestr_value_free(value)
	return field(value, "stdout"), nil
}

func (sandbox *Sandbox) ExecStream(command string) (*Stream, error) {
	line := C.CString(command)
	defer C.free(unsafe.Pointer(line))
	var stream *C.orkestr_stream
	var failure *C.orkestr_error
	status := C.orkestr_sandbox_exec_stream(sandbox.handle, line, nil, &stream, &failure)
	return &Stream{stream}, check(status, failure)
}

func (sandbox *Sandbox) Terminate() error {
	var failure *C.orkestr_error
	status := C.orkestr_await(C.orkestr_sandbox_terminate(sandbox.handle), C.ORKESTR_FOREVER, nil, &failure)
	return check(status, failure)
}

// Free before the end leaves the command running.
func (stream *Stream) Free() { C.orkestr_stream_free(stream.handle) }

// Next waits for the next piece; io.EOF: there is nothing more.
func (stream *Stream) Next() (Piece, error) {
	var value *C.orkestr_value
	var failure *C.orkestr_error
	status := C.orkestr_stream_next(stream.handle, C.ORKESTR_FOREVER, &value, &failure)
	if status == C.ORKESTR_END {
		return Piece{}, io.EOF
	}
	if err := check(status, failure); err != nil {
		return Piece{}, err
	}
	defer C.orkestr_value_free(value)
	exitCode, exited := integer(value, "exit_code")
	return Piece{field(value, "data"), string(field(value, "stream")) == "stderr", exited, exitCode}, nil
}

func field(value *C.orkestr_value, name string) []byte {
	key := C.CString(name)
	defer C.free(unsafe.Pointer(key))
	var length C.size_t
	data := C.orkestr_value_bytes(value, key, &length)
	return C.GoBytes(unsafe.Pointer(data), C.int(length))
}

func integer(value *C.orkestr_value, name string) (number int, there bool) {
	key := C.CString(name)
	defer C.free(unsafe.Pointer(key))
	return int(C.orkestr_value_integer(value, key)), C.orkestr_value_type(value, key) == C.ORKESTR_TYPE_INTEGER
}
