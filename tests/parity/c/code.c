#define _GNU_SOURCE
#include "code.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "handles.h"

static void context_of(orkestr_sandbox* sandbox, orkestr_operation* operation) {
  struct context* context;
  orkestr_value* value = NULL;
  orkestr_error* error = NULL;
  if (orkestr_await(operation, ORKESTR_FOREVER, &value, &error) != ORKESTR_OK) {
    answer_error(error);
    return;
  }
  context = calloc(1, sizeof *context);
  context->sandbox = sandbox;
  context->id = strdup(orkestr_value_text(value, "id"));
  answer_value(value, keep(kContext, context));
}

static orkestr_code_options code_options(const struct call* call) {
  orkestr_code_options options = ORKESTR_CODE_OPTIONS_INIT;
  options.language = get_text(call, "language");
  options.context_id = get_text(call, "context_id");
  options.timeout_ms = get_integer(call, "timeout_ms");
  return options;
}

static void code_stream_read(const struct call* call) {
  orkestr_value** events = NULL;
  orkestr_value* event = NULL;
  orkestr_error* error = NULL;
  orkestr_status status;
  size_t count = 0, i;
  if (on(call) == NULL) impossible("a closed stream is freed in C");
  while ((status = orkestr_stream_next(on(call), ORKESTR_FOREVER, &event, &error)) == ORKESTR_OK) {
    events = realloc(events, (count + 1) * sizeof *events);
    events[count++] = event;
  }
  if (status == ORKESTR_END) {
    fputs("{\"value\": [", stdout);
    for (i = 0; i < count; ++i) {
      if (i > 0) fputs(", ", stdout);
      put_value(events[i]);
    }
    puts("]}");
  } else {
    answer_error(error);
  }
  for (i = 0; i < count; ++i) orkestr_value_free(events[i]);
  free(events);
}

int is_code_call(const struct call* call) { return strstr(call->name, "code") != NULL; }

void code_call(const struct call* call) {
  const struct context* context = on(call);
  orkestr_stream* stream = NULL;
  orkestr_error* error = NULL;
  if (is(call, "sandbox.run_code")) {
    orkestr_code_options options = code_options(call);
    value_of(orkestr_sandbox_run_code(on(call), get_text(call, "code"), &options));
  } else if (is(call, "sandbox.run_code_stream")) {
    orkestr_code_options options = code_options(call);
    const char* code = get_text(call, "code");
    const orkestr_status status = orkestr_sandbox_run_code_stream(on(call), code, &options, &stream, &error);
    stream_of(status, stream, error);
  } else if (is(call, "sandbox.create_code_context")) {
    context_of(on(call), orkestr_sandbox_create_code_context(on(call), get_text(call, "cwd")));
  } else if (is(call, "sandbox.code_contexts")) {
    value_of(orkestr_sandbox_code_contexts(on(call)));
  } else if (is(call, "code_stream.read")) {
    code_stream_read(call);
  } else if (is(call, "code_stream.close")) {
    release(call);
    answer_value(NULL, 0);
  } else if (is(call, "code_context.run_code")) {
    orkestr_code_options options = code_options(call);
    options.context_id = context->id;
    value_of(orkestr_sandbox_run_code(context->sandbox, get_text(call, "code"), &options));
  } else if (is(call, "code_context.restart")) {
    value_of(orkestr_code_context_restart(context->sandbox, context->id));
  } else if (is(call, "code_context.remove")) {
    value_of(orkestr_code_context_remove(context->sandbox, context->id));
  } else {
    impossible("this call is not known to the C driver");
  }
}
