#include "handles.h"

#include <stdlib.h>
#include <string.h>

#include "answer.h"

struct handle {
  enum kind kind;
  void* pointer;
};

static struct handle* handles = NULL; /* number 1 is the first */
static int handle_count = 0;
static orkestr_client* default_client = NULL;

int keep(enum kind kind, void* pointer) {
  handles = realloc(handles, (size_t)(handle_count + 1) * sizeof *handles);
  handles[handle_count].kind = kind;
  handles[handle_count].pointer = pointer;
  return ++handle_count;
}

void* on(const struct call* call) {
  const struct argument* number = get(call, "on");
  return number == NULL ? NULL : handles[atoi(number->value) - 1].pointer;
}

orkestr_client* client_of(const struct call* call) {
  const struct argument* number = get(call, "client");
  if (number != NULL) return handles[atoi(number->value) - 1].pointer;
  if (default_client == NULL) orkestr_client_open(NULL, &default_client, NULL);
  return default_client;
}

void release(const struct call* call) {
  struct handle* handle = &handles[atoi(get(call, "on")->value) - 1];
  if (handle->kind == kClient) orkestr_client_free(handle->pointer);
  if (handle->kind == kSandbox) orkestr_sandbox_free(handle->pointer);
  if (handle->kind == kCommand) orkestr_command_free(handle->pointer);
  if (handle->kind == kStream) orkestr_stream_free(handle->pointer);
  if (handle->kind == kContext) {
    free(((struct context*)handle->pointer)->id);
    free(handle->pointer);
  }
  handle->kind = kGone;
  handle->pointer = NULL;
}

void free_default_client(void) { orkestr_client_free(default_client); }

int is(const struct call* call, const char* name) { return strcmp(call->name, name) == 0; }

void nothing(orkestr_status status, orkestr_error* error) {
  status == ORKESTR_OK ? answer_value(NULL, 0) : answer_error(error);
}

void value_of(orkestr_operation* operation) {
  orkestr_value* value = NULL;
  orkestr_error* error = NULL;
  const orkestr_status status = orkestr_await(operation, ORKESTR_FOREVER, &value, &error);
  status == ORKESTR_OK ? answer_value(value, 0) : answer_error(error);
}

void stream_of(orkestr_status status, orkestr_stream* stream, orkestr_error* error) {
  status == ORKESTR_OK ? answer_value(NULL, keep(kStream, stream)) : answer_error(error);
}
