/* The code interpreter: locally there is none; a service is played, with an answer for every field. (What a real
 * interpreter makes of code, tests/parity has for C as well.) */
#include <pthread.h>
#include <unistd.h>

#include "service.h"

#define CONTEXT "ctx_01ARZ3NDEKTSV4RRFFQ69G5FAV"
#define CONTEXT_FIELDS "id language cwd created_at last_used_at executions alive"
#define EXECUTION_FIELDS \
  "results stdout stderr error execution_count context_id duration_ms interrupted restarted truncated text"
#define EVENT_FIELDS "kind stream text result error execution"

#define RAISED "{\"name\": \"ZeroDivisionError\", \"value\": \"division by zero\", \"traceback\": [\"one\", \"two\"]}"
#define DONE                                                                                            \
  "\"error\": " RAISED                                                                                  \
  ", \"execution_count\": 7, \"context_id\": \"default\", \"duration_ms\": 12, \"interrupted\": true, " \
  "\"restarted\": true, \"truncated\": [\"stdout\"]"
#define RICH                                                                                                  \
  "{\"type\": \"chart\", \"text\": \"rich\", \"html\": \"<b>\", \"png\": \"iVBOR/8A\", \"json\": [1, null], " \
  "\"chart\": {\"type\": \"bar\"}}"
#define PLAIN "{\"type\": \"html\", \"html\": \"<i>\"}"

struct code {
  struct service service;
  char last[8192]; /* request */
  int go_on;       /* the stream has more than its first event */
  int gone;        /* the context was removed */
};

static void serve(struct service* service, int connection, const char* request) {
  struct code* code = (struct code*)service;
  snprintf(code->last, sizeof code->last, "%s", request);
  if (strstr(request, "\"stream\":true") != NULL) {
    answer(connection, "200 OK", "text/event-stream",
           "data: {\"kind\": \"stream\", \"stream\": \"stderr\", \"text\": \"first\"}\n\n");
    while (!__atomic_load_n(&code->go_on, __ATOMIC_SEQ_CST)) usleep(1000);
    answer_more(connection, "data: {\"kind\": \"result\", \"result\": " RICH
                            "}\n\n"
                            "data: {\"kind\": \"error\", \"error\": " RAISED
                            "}\n\n"
                            "data: {\"kind\": \"done\", " DONE "}\n\n");
  } else if (strncmp(request, "POST", 4) == 0 && strstr(request, "/code HTTP") != NULL) {
    answer(connection, "200 OK", "application/json",
           "{\"results\": [" RICH ", " PLAIN "], \"stdout\": \"out\", \"stderr\": \"err\", " DONE "}");
  } else if (strncmp(request, "GET", 3) == 0) {
    answer(connection, "200 OK", "application/json",
           code->gone ? "{\"contexts\": []}"
                      : "{\"contexts\": [{\"context_id\": \"default\"}, {\"context_id\": \"" CONTEXT
                        "\", \"alive\": false}]}");
  } else if (strncmp(request, "DELETE", 6) == 0) {
    code->gone = 1;
    answer(connection, "200 OK", "application/json", "{}");
  } else {
    answer(connection, "200 OK", "application/json",
           "{\"context_id\": \"" CONTEXT
           "\", \"language\": \"python\", \"cwd\": \"/tmp\", \"created_at\": \"2026-01-01T00:00:00Z\", "
           "\"last_used_at\": null, \"executions\": 3, \"alive\": true}");
  }
}

static void is_raised(const orkestr_value* error) {
  HAS_FIELDS(error, "name value traceback");
  IS_TEXT(error, "name", "ZeroDivisionError");
  IS_TEXT(error, "value", "division by zero");
  CHECK(orkestr_value_count(error, "traceback") == 2);
  IS_TEXT(orkestr_value_at(error, "traceback", 1), NULL, "two");
}

static void is_rich(const orkestr_value* result) {
  size_t length = 0;
  HAS_FIELDS(result, "type text html png json chart");
  IS_TEXT(result, "type", "chart");
  IS_TEXT(result, "text", "rich");
  IS_TEXT(result, "html", "<b>");
  CHECK(orkestr_value_type(result, "png") == ORKESTR_TYPE_BYTES);
  CHECK(memcmp(orkestr_value_bytes(result, "png", &length), "\x89PNG\xff\0", 7) == 0 && length == 6);
  IS_TEXT(result, "json", "[1,null]");
  IS_TEXT(result, "chart", "{\"type\":\"bar\"}");
}

static void is_done(const orkestr_value* execution) {
  HAS_FIELDS(execution, EXECUTION_FIELDS);
  is_rich(orkestr_value_at(execution, "results", 0));
  CHECK(orkestr_value_type(execution, "error") == ORKESTR_TYPE_RECORD);
  CHECK(orkestr_value_integer(execution, "execution_count") == 7);
  IS_TEXT(execution, "context_id", "default");
  CHECK(orkestr_value_integer(execution, "duration_ms") == 12);
  CHECK(orkestr_value_integer(execution, "interrupted") == 1 && orkestr_value_integer(execution, "restarted") == 1);
  CHECK(orkestr_value_count(execution, "truncated") == 1);
  IS_TEXT(execution, "text", "rich");
}

static void test_run(struct code* code) {
  orkestr_code_options options = ORKESTR_CODE_OPTIONS_INIT;
  orkestr_value* value = GIVES(orkestr_sandbox_run_code(code->service.sandbox, "1 / 0", NULL));
  const orkestr_value* plain = orkestr_value_at(value, "results", 1);
  is_done(value);
  IS_TEXT(value, "stdout", "out");
  IS_TEXT(value, "stderr", "err");
  CHECK(orkestr_value_count(value, "results") == 2);
  IS_TEXT(plain, "html", "<i>");
  CHECK(orkestr_value_type(plain, "text") == ORKESTR_TYPE_NULL);
  CHECK(orkestr_value_type(plain, "png") == ORKESTR_TYPE_NULL);
  CHECK(orkestr_value_type(plain, "chart") == ORKESTR_TYPE_NULL);
  orkestr_value_free(value);
  CHECK(strstr(code->last, "\"code\":\"1 / 0\",\"language\":\"python\",\"context_id\":null,\"timeout_seconds\":60") !=
        NULL);

  options.language = "r";
  options.context_id = CONTEXT;
  options.timeout_ms = 1500;
  WORKS(orkestr_sandbox_run_code(code->service.sandbox, "x", &options));
  CHECK(strstr(code->last, "\"language\":\"r\",\"context_id\":\"" CONTEXT "\",\"timeout_seconds\":1.5") != NULL);
}

static void test_events(struct code* code) {
  orkestr_stream* stream = NULL;
  orkestr_value* event = NULL;
  size_t written = 0;
  OK(orkestr_sandbox_run_code_stream(code->service.sandbox, "1 / 0", NULL, &stream, &error));
  CHECK(orkestr_stream_fd(stream) >= 0 && orkestr_stream_pid(stream) == 0);
  OK(orkestr_stream_next(stream, WAIT_MS, &event, &error));
  HAS_FIELDS(event, EVENT_FIELDS);
  IS_TEXT(event, "kind", "stream");
  IS_TEXT(event, "stream", "stderr");
  IS_TEXT(event, "text", "first");
  CHECK(orkestr_value_type(event, "result") == ORKESTR_TYPE_NULL);
  CHECK(orkestr_value_type(event, "error") == ORKESTR_TYPE_NULL);
  CHECK(orkestr_value_type(event, "execution") == ORKESTR_TYPE_NULL);
  orkestr_value_free(event);
  CHECK(orkestr_stream_next(stream, 0, &event, NULL) == ORKESTR_AGAIN && event == NULL);
  CHECK(orkestr_stream_next(stream, 50, &event, NULL) == ORKESTR_AGAIN && event == NULL);
  REFUSED(ORKESTR_INVALID_ARGUMENT, "only read", orkestr_stream_write(stream, "x", 1, 0, &written, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "only read", orkestr_stream_finish(stream, 0, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "no terminal", orkestr_stream_resize(stream, 80, 24, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "free it", orkestr_stream_cancel(stream, &error));
  __atomic_store_n(&code->go_on, 1, __ATOMIC_SEQ_CST);

  OK(orkestr_stream_next(stream, WAIT_MS, &event, &error));
  IS_TEXT(event, "kind", "result");
  CHECK(orkestr_value_type(event, "stream") == ORKESTR_TYPE_NULL);
  CHECK(orkestr_value_type(event, "text") == ORKESTR_TYPE_NULL);
  is_rich(orkestr_value_field(event, "result"));
  orkestr_value_free(event);
  OK(orkestr_stream_next(stream, WAIT_MS, &event, &error));
  IS_TEXT(event, "kind", "error");
  is_raised(orkestr_value_field(event, "error"));
  orkestr_value_free(event);
  OK(orkestr_stream_next(stream, WAIT_MS, &event, &error));
  IS_TEXT(event, "kind", "done");
  is_done(orkestr_value_field(event, "execution"));
  IS_TEXT(orkestr_value_field(event, "execution"), "stderr", "first");
  orkestr_value_free(event);
  CHECK(orkestr_stream_next(stream, WAIT_MS, &event, NULL) == ORKESTR_END && event == NULL);
  orkestr_stream_free(stream);

  OK(orkestr_sandbox_run_code_stream(code->service.sandbox, "1", NULL, &stream, &error));
  OK(orkestr_stream_next(stream, WAIT_MS, &event, &error));
  orkestr_value_free(event);
  orkestr_stream_free(stream); /* before its end */
}

static void test_contexts(struct code* code) {
  orkestr_sandbox* sandbox = code->service.sandbox;
  const orkestr_value* one;
  orkestr_value* value = GIVES(orkestr_sandbox_create_code_context(sandbox, "/tmp"));
  CHECK(strstr(code->last, "{\"cwd\":\"/tmp\"}") != NULL);
  HAS_FIELDS(value, CONTEXT_FIELDS);
  IS_TEXT(value, "id", CONTEXT);
  IS_TEXT(value, "language", "python");
  IS_TEXT(value, "cwd", "/tmp");
  CHECK(orkestr_value_type(value, "created_at") == ORKESTR_TYPE_TIME);
  CHECK(orkestr_value_type(value, "last_used_at") == ORKESTR_TYPE_NULL);
  CHECK(orkestr_value_integer(value, "executions") == 3 && orkestr_value_integer(value, "alive") == 1);
  orkestr_value_free(value);
  WORKS(orkestr_sandbox_create_code_context(sandbox, NULL));
  CHECK(strstr(code->last, "\r\n\r\n{}") != NULL);

  value = GIVES(orkestr_sandbox_code_contexts(sandbox));
  CHECK(orkestr_value_count(value, NULL) == 2);
  one = orkestr_value_at(value, NULL, 1);
  HAS_FIELDS(one, CONTEXT_FIELDS);
  CHECK(orkestr_value_integer(one, "alive") == 0);
  orkestr_value_free(value);

  value = GIVES(orkestr_code_context_restart(sandbox, CONTEXT));
  CHECK(strstr(code->last, "/code/contexts/" CONTEXT "/restart ") != NULL);
  IS_TEXT(value, "id", CONTEXT);
  CHECK(orkestr_value_integer(value, "alive") == 1);
  orkestr_value_free(value);
  FAILS(orkestr_code_context_restart(sandbox, "../.."), ORKESTR_NOT_FOUND, "\"../..\"");
  FAILS(orkestr_code_context_remove(sandbox, ""), ORKESTR_NOT_FOUND, "orkestr_sandbox_code_contexts()");
  CHECK(strstr(code->last, "GET ") == code->last); /* nothing was asked for but the list */
  WORKS(orkestr_code_context_remove(sandbox, CONTEXT));
  CHECK(strstr(code->last, "DELETE ") == code->last && strstr(code->last, "/code/contexts/" CONTEXT " ") != NULL);
  FAILS(orkestr_code_context_remove(sandbox, CONTEXT), ORKESTR_NOT_FOUND, CONTEXT);
}

void test_code(orkestr_client* client, orkestr_sandbox* sandbox) {
  struct code code;
  orkestr_stream* stream = NULL;
  orkestr_value* info = NULL;
  (void)client;

  FAILS(orkestr_sandbox_run_code(sandbox, "1", NULL), ORKESTR_INTERPRETER_UNAVAILABLE, "local");
  REFUSED(ORKESTR_INTERPRETER_UNAVAILABLE, "local",
          orkestr_sandbox_run_code_stream(sandbox, "1", NULL, &stream, &error));
  CHECK(stream == NULL);
  FAILS(orkestr_sandbox_create_code_context(sandbox, NULL), ORKESTR_INTERPRETER_UNAVAILABLE, "local");
  FAILS(orkestr_sandbox_create_code_context(sandbox, "tmp"), ORKESTR_INVALID_ARGUMENT, "cwd is 'tmp'");
  FAILS(orkestr_sandbox_code_contexts(sandbox), ORKESTR_INTERPRETER_UNAVAILABLE, "local");
  FAILS(orkestr_code_context_restart(sandbox, "default"), ORKESTR_INTERPRETER_UNAVAILABLE, "local");
  FAILS(orkestr_code_context_remove(sandbox, "default"), ORKESTR_INTERPRETER_UNAVAILABLE, "local");

  memset(&code, 0, sizeof code);
  code.service.serve = serve;
  begin_service(&code.service);
  test_run(&code);
  test_events(&code);
  test_contexts(&code);
  end_service(&code.service);

  /* A record in a record; what is none has no fields. */
  OK(orkestr_sandbox_info(sandbox, &info, &error));
  IS_TEXT(orkestr_value_field(info, "metadata"), "part", "capi");
  CHECK(orkestr_value_field(info, "nothing") == NULL && orkestr_value_field(info, NULL) == NULL);
  CHECK(orkestr_value_field(NULL, "id") == NULL);
  CHECK(orkestr_value_field(orkestr_value_field(info, "id"), "id") == NULL);
  orkestr_value_free(info);
}
