/* Commands, their streams, and background commands. */
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#include "check.h"

#define EXEC_FIELDS                                                                                                   \
  "stdout stderr exit_code duration_ms stdout_total_bytes stderr_total_bytes truncated user_ms system_ms max_rss_kb " \
  "network_denied"

void test_exec(orkestr_client* client, orkestr_sandbox* sandbox) {
  orkestr_exec_options options = ORKESTR_EXEC_OPTIONS_INIT;
  const orkestr_pair env[2] = {{"A", "1"}, {"B", "two words"}};
  const char* argv[3] = {"/bin/echo", "a  b", "c"};
  orkestr_error* error = NULL;
  const orkestr_value* details;
  size_t length = 0;
  orkestr_value* value = GIVES(orkestr_sandbox_exec(sandbox, "printf 'a\\0b'; echo err >&2; exit 3", NULL));
  (void)client;

  HAS_FIELDS(value, EXEC_FIELDS);
  CHECK(memcmp(orkestr_value_bytes(value, "stdout", &length), "a\0b", 4) == 0 && length == 3);
  IS_TEXT(value, "stderr", "err\n");
  CHECK(orkestr_value_type(value, "stdout") == ORKESTR_TYPE_BYTES);
  CHECK(orkestr_value_integer(value, "exit_code") == 3);
  CHECK(orkestr_value_number(value, "exit_code") == 3);
  CHECK(orkestr_value_integer(value, "stdout") == 0 && orkestr_value_number(value, "stdout") == 0);
  CHECK(orkestr_value_type(value, "exit_kode") == ORKESTR_TYPE_NONE);
  orkestr_value_free(value);

  options.cwd = "/tmp";
  options.env = env;
  options.env_count = 2;
  options.stdin_data = "in\0put";
  options.stdin_length = 6;
  options.timeout_ms = 30000;
  value = GIVES(orkestr_sandbox_exec(sandbox, "pwd; echo $A $B; wc -c", &options));
  IS_TEXT(value, "stdout", "/tmp\n1 two words\n6\n");
  orkestr_value_free(value);
  value = GIVES(orkestr_sandbox_run(sandbox, argv, 3, NULL));
  IS_TEXT(value, "stdout", "a  b c\n");
  orkestr_value_free(value);

  /* A timeout, with the output so far. */
  options.timeout_ms = 2000; /* of which starting it may take a good part */
  CHECK(orkestr_await(orkestr_sandbox_exec(sandbox, "echo early; sleep 100", &options), WAIT_MS, &value, &error) ==
        ORKESTR_EXEC_TIMEOUT);
  details = orkestr_error_details(error);
  HAS_FIELDS(
      details,
      "code message hint status_code detail request_id retry_after signal oom stdout stderr host port rule stage "
      "console_tail");
  IS_TEXT(details, "stdout", "early\n");
  CHECK(strcmp(orkestr_error_request_id(error), "") == 0);
  orkestr_error_free(error);
  CHECK(orkestr_error_details(error) == NULL); /* freed lately */
  FAILS(orkestr_sandbox_exec(sandbox, "kill -9 $$", NULL), ORKESTR_EXEC_KILLED, "");
}

/* All of the stream; what it printed, in a buffer of the caller's. */
static orkestr_status drain(orkestr_stream* stream, char* out, size_t size, int* exit_code) {
  orkestr_value* piece = NULL;
  orkestr_status status;
  out[0] = '\0';
  while ((status = orkestr_stream_next(stream, WAIT_MS, &piece, NULL)) == ORKESTR_OK) {
    HAS_FIELDS(piece, "stream data exit_code duration_ms");
    strncat(out, orkestr_value_text(piece, "data"), size - strlen(out) - 1);
    if (orkestr_value_type(piece, "exit_code") == ORKESTR_TYPE_INTEGER) {
      *exit_code = (int)orkestr_value_integer(piece, "exit_code");
    }
    orkestr_value_free(piece);
  }
  CHECK(piece == NULL);
  return status;
}

/* Calls that take long, for who comes meanwhile; again, when he was faster. */
struct long_calls {
  orkestr_stream* stream;
  int over;
};
static int is_over(struct long_calls* calls) { return __atomic_load_n(&calls->over, __ATOMIC_SEQ_CST); }

static void* read_long(void* user) {
  struct long_calls* calls = user;
  orkestr_value* piece = NULL;
  while (!is_over(calls)) {
    orkestr_stream_next(calls->stream, WAIT_MS, &piece, NULL);
    orkestr_value_free(piece);
  }
  return NULL;
}
static void* write_long(void* user) {
  static const char block[65536];
  struct long_calls* calls = user;
  size_t written = 0;
  while (!is_over(calls)) orkestr_stream_write(calls->stream, block, sizeof block, WAIT_MS, &written, NULL);
  return NULL;
}

/* One reader and one writer at a time: another one is told so. */
static void test_alone(orkestr_sandbox* sandbox) {
  orkestr_exec_options options = ORKESTR_EXEC_OPTIONS_INIT;
  orkestr_stream* stream = NULL;
  orkestr_value* piece = NULL;
  struct long_calls calls;
  pthread_t reader, writer;
  size_t written = 0;
  int turned_away = 0, i;
  options.stdin_open = 1;
  OK(orkestr_sandbox_exec_stream(sandbox, "sleep 100", &options, &stream, &error));
  calls.stream = stream;
  calls.over = 0;
  CHECK(pthread_create(&reader, NULL, read_long, &calls) == 0);
  CHECK(pthread_create(&writer, NULL, write_long, &calls) == 0);
  /* (The threads are there, and for good, when we have been refused for a while.) */
  for (i = 0; i < 10000 && turned_away < 200; ++i, usleep(1000)) {
    const int reading = orkestr_stream_next(stream, 0, &piece, NULL) == ORKESTR_NOT_READY;
    turned_away =
        reading && orkestr_stream_write(stream, "x", 1, 0, &written, NULL) == ORKESTR_NOT_READY ? turned_away + 1 : 0;
  }
  REFUSED(ORKESTR_NOT_READY, "another thread is reading", orkestr_stream_next(stream, 0, &piece, &error));
  REFUSED(ORKESTR_NOT_READY, "another thread is writing to", orkestr_stream_write(stream, "x", 1, 0, &written, &error));
  REFUSED(ORKESTR_NOT_READY, "another thread is writing to", orkestr_stream_finish(stream, 0, &error));
  __atomic_store_n(&calls.over, 1, __ATOMIC_SEQ_CST);
  OK(orkestr_stream_cancel(stream, &error));
  CHECK(pthread_join(reader, NULL) == 0 && pthread_join(writer, NULL) == 0);
  orkestr_stream_free(stream);
}

static void test_terminal(orkestr_sandbox* sandbox) {
  orkestr_exec_options options = ORKESTR_EXEC_OPTIONS_INIT;
  orkestr_stream* stream = NULL;
  char out[256];
  int exit_code = -1;
  size_t written = 0;
  options.tty = 1;
  options.cols = 90;
  options.rows = 30;
  OK(orkestr_sandbox_exec_stream(sandbox, "read line; stty size; exit 4", &options, &stream, &error));
  OK(orkestr_stream_resize(stream, 91, 31, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "5000", orkestr_stream_resize(stream, 5000, 31, &error));
  OK(orkestr_stream_write(stream, "go\n", 3, WAIT_MS, &written, &error));
  CHECK(written == 3);
  CHECK(drain(stream, out, sizeof out, &exit_code) == ORKESTR_END);
  CHECK(strstr(out, "31 91") != NULL);
  CHECK(exit_code == 4);
  orkestr_stream_free(stream);
}

void test_streams(orkestr_client* client, orkestr_sandbox* sandbox) {
  orkestr_exec_options options = ORKESTR_EXEC_OPTIONS_INIT;
  const char* argv[2] = {"/bin/echo", "argv"};
  orkestr_stream* stream = NULL;
  orkestr_value* piece = NULL;
  char out[256];
  int exit_code = -1;
  size_t written = 0, sent = 0;
  struct pollfd ready = {0, POLLIN, 0};
  orkestr_status status;
  (void)client;

  options.stdin_open = 1;
  OK(orkestr_sandbox_exec_stream(sandbox, "cat; exit 5", &options, &stream, &error));
  CHECK(orkestr_stream_next(stream, 0, &piece, NULL) == ORKESTR_AGAIN);
  CHECK(orkestr_stream_next(stream, 50, &piece, NULL) == ORKESTR_AGAIN);
  ready.fd = orkestr_stream_fd(stream);
  CHECK(poll(&ready, 1, 0) == 0);
  OK(orkestr_stream_write(stream, "hello", 5, WAIT_MS, &written, &error));
  CHECK(written == 5);
  OK(orkestr_stream_write(stream, NULL, 0, WAIT_MS, &written, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "data is NULL", orkestr_stream_write(stream, NULL, 1, 0, &written, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "length of data", orkestr_stream_write(stream, "x", SIZE_MAX, 0, &written, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "written is NULL", orkestr_stream_write(stream, "x", 1, 0, NULL, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "piece is NULL", orkestr_stream_next(stream, 0, NULL, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "terminal", orkestr_stream_resize(stream, 80, 24, &error));
  CHECK(poll(&ready, 1, WAIT_MS) == 1);
  CHECK(orkestr_stream_pid(stream) > 0);
  REFUSED(ORKESTR_INVALID_ARGUMENT, "callback is NULL", orkestr_stream_notify(stream, NULL, NULL, &error));
  OK(orkestr_stream_finish(stream, WAIT_MS, &error));
  OK(orkestr_stream_finish(stream, WAIT_MS, &error));
  CHECK(drain(stream, out, sizeof out, &exit_code) == ORKESTR_END);
  CHECK(strcmp(out, "hello") == 0 && exit_code == 5);
  CHECK(orkestr_stream_next(stream, 0, &piece, NULL) == ORKESTR_END);
  orkestr_stream_free(stream);

  OK(orkestr_sandbox_run_stream(sandbox, argv, 2, NULL, &stream, &error));
  CHECK(drain(stream, out, sizeof out, &exit_code) == ORKESTR_END);
  CHECK(strcmp(out, "argv\n") == 0 && exit_code == 0);
  REFUSED(ORKESTR_INVALID_ARGUMENT, "stdin_open", orkestr_stream_write(stream, "x", 1, 0, &written, &error));
  orkestr_stream_free(stream);

  /* A command that does not read: the write ends with its timeout, and the command with cancel(). */
  OK(orkestr_sandbox_exec_stream(sandbox, "sleep 100", &options, &stream, &error));
  do {
    static const char block[65536];
    status = orkestr_stream_write(stream, block, sizeof block, 300, &written, NULL);
    sent += written;
  } while (status == ORKESTR_OK && sent < (size_t)64 << 20);
  CHECK(status == ORKESTR_AGAIN && written == 0);
  OK(orkestr_stream_cancel(stream, &error));
  CHECK(drain(stream, out, sizeof out, &exit_code) == ORKESTR_CANCELLED);
  CHECK(orkestr_stream_next(stream, 0, &piece, NULL) == ORKESTR_END);
  orkestr_stream_free(stream);

  test_terminal(sandbox);
  test_alone(sandbox);
}

void test_background(orkestr_client* client, orkestr_sandbox* sandbox) {
  orkestr_command *command = NULL, *found = NULL;
  orkestr_stream *stream = NULL, *longest = NULL;
  orkestr_value *info = NULL, *value;
  char out[256], id[64];
  size_t count;
  int exit_code = -1;
  (void)client;

  OK(orkestr_await_command(orkestr_sandbox_start(sandbox, "echo one; sleep 0.5; echo two; exit 6", NULL), WAIT_MS,
                           &command, &error));
  OK(orkestr_command_info(command, &info, &error));
  HAS_FIELDS(info, "id command pid status exit_code started_at");
  IS_TEXT(info, "status", "running");
  CHECK(orkestr_value_type(info, "exit_code") == ORKESTR_TYPE_NULL);
  snprintf(id, sizeof id, "%s", orkestr_value_text(info, "id"));
  orkestr_value_free(info);
  REFUSED(ORKESTR_INVALID_ARGUMENT, "info is NULL", orkestr_command_info(command, NULL, &error));
  FAILS(orkestr_command_wait(command, 100), ORKESTR_EXEC_TIMEOUT, "100 ms");
  OK(orkestr_command_stream(command, 0, 0, &stream, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "stream", orkestr_command_stream(command, 0, 0, NULL, &error));
  OK(orkestr_command_stream(command, 0, ORKESTR_FOREVER, &longest, &error));
  orkestr_stream_free(longest);
  REFUSED(ORKESTR_INVALID_ARGUMENT, "-2 s", orkestr_command_stream(command, 0, -2000, &longest, &error));
  CHECK(orkestr_stream_fd(stream) >= 0);
  CHECK(drain(stream, out, sizeof out, &exit_code) == ORKESTR_END);
  CHECK(strcmp(out, "one\ntwo\n") == 0 && exit_code == 6);
  REFUSED(ORKESTR_INVALID_ARGUMENT, "orkestr_command_kill", orkestr_stream_cancel(stream, &error));
  orkestr_stream_free(stream);
  value = GIVES(orkestr_command_wait(command, ORKESTR_FOREVER));
  IS_TEXT(value, "status", "exited");
  CHECK(orkestr_value_integer(value, "exit_code") == 6);
  orkestr_value_free(value);
  value = GIVES(orkestr_command_logs(command, 4));
  HAS_FIELDS(value, "content start_offset size truncated next_offset");
  IS_TEXT(value, "content", "two\n");
  CHECK(orkestr_value_integer(value, "next_offset") == 8);
  orkestr_value_free(value);
  orkestr_command_free(command);
  FAILS(orkestr_command_refresh(command), ORKESTR_INVALID_ARGUMENT, "command was freed");

  OK(orkestr_await_command(orkestr_sandbox_command(sandbox, id), WAIT_MS, &found, &error));
  value = GIVES(orkestr_command_refresh(found));
  IS_TEXT(value, "id", id);
  orkestr_value_free(value);
  orkestr_command_free(found);
  REFUSED(ORKESTR_NOT_FOUND, "cmd_01",
          orkestr_await_command(orkestr_sandbox_command(sandbox, "cmd_01ARZ3NDEKTSV4RRFFQ69G5FAV"), WAIT_MS, &found,
                                &error));
  CHECK(found == NULL);

  OK(orkestr_await_command(orkestr_sandbox_start(sandbox, "sleep 1000", NULL), WAIT_MS, &command, &error));
  value = GIVES(orkestr_command_kill(command));
  IS_TEXT(value, "status", "killed");
  orkestr_value_free(value);
  orkestr_command_free(command);
  value = GIVES(orkestr_sandbox_commands(sandbox));
  count = orkestr_value_count(value, NULL);
  CHECK(orkestr_value_type(value, NULL) == ORKESTR_TYPE_LIST && count >= 2);
  IS_TEXT(orkestr_value_at(value, NULL, count - 2), "id", id);
  CHECK(orkestr_value_at(value, NULL, count) == NULL && orkestr_value_name(value, NULL, 0) == NULL);
  orkestr_value_free(value);
}
