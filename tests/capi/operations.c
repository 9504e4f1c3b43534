/* Operations: waiting, polling, cancelling, letting go; callbacks that take long, call back in and free things. */
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include "check.h"

/* What other threads do with an operation while one awaits it: one of them all has its end. (No error objects: so many
 * would push the freed handle out of those that are recognised.) */
static void* meddle(void* operation) {
  int i;
  for (i = 0; i < 1000000; ++i) {
    orkestr_value* value = NULL;
    if (orkestr_await(operation, 0, &value, NULL) == ORKESTR_CANCELLED) return operation;
    if (orkestr_operation_wait(operation, 0, NULL) == ORKESTR_INVALID_ARGUMENT) break; /* it was freed */
    if (i > 100 && orkestr_operation_cancel(operation, NULL) == ORKESTR_INVALID_ARGUMENT) break;
  }
  return NULL;
}

static void test_threads(orkestr_sandbox* sandbox) {
  int round, i;
  for (round = 0; round < 8; ++round) {
    pthread_t threads[3];
    orkestr_operation* operation = orkestr_sandbox_exec(sandbox, "sleep 100", NULL);
    int ends = 0;
    for (i = 0; i < 3; ++i) CHECK(pthread_create(&threads[i], NULL, meddle, operation) == 0);
    ends += orkestr_await(operation, WAIT_MS, NULL, NULL) == ORKESTR_CANCELLED;
    for (i = 0; i < 3; ++i) {
      void* end = NULL;
      CHECK(pthread_join(threads[i], &end) == 0);
      ends += end != NULL;
    }
    CHECK(ends == 1);
  }
}

void test_operations(orkestr_client* client, orkestr_sandbox* sandbox) {
  orkestr_operation* operation = orkestr_sandbox_exec(sandbox, "sleep 0.3", NULL);
  orkestr_value* value = NULL;
  orkestr_sandbox* none = (orkestr_sandbox*)&value;
  orkestr_command* no_command = NULL;
  struct pollfd ready = {0, POLLIN, 0};

  CHECK(orkestr_operation_wait(operation, 0, NULL) == ORKESTR_AGAIN);
  ready.fd = orkestr_operation_fd(operation);
  CHECK(ready.fd >= 0 && poll(&ready, 1, 0) == 0);
  CHECK(poll(&ready, 1, WAIT_MS) == 1);
  CHECK(orkestr_operation_wait(operation, 0, NULL) == ORKESTR_OK);
  CHECK(orkestr_operation_wait(operation, ORKESTR_FOREVER, NULL) == ORKESTR_OK);
  /* Awaited as something else it stays. */
  REFUSED(ORKESTR_INVALID_ARGUMENT, "orkestr_await()", orkestr_await_sandbox(operation, 0, &none, &error));
  CHECK(none == NULL);
  REFUSED(ORKESTR_INVALID_ARGUMENT, "orkestr_await()", orkestr_await_command(operation, 0, &no_command, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "sandbox is NULL", orkestr_await_sandbox(operation, 0, NULL, &error));
  WORKS(operation);
  operation = orkestr_sandbox_get(client, orkestr_sandbox_id(sandbox));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "orkestr_await_sandbox()", orkestr_await(operation, 0, &value, &error));
  orkestr_operation_free(operation);

  /* The deadline of the wait, and cancel(). */
  REFUSED(ORKESTR_CANCELLED, "", orkestr_await(orkestr_sandbox_exec(sandbox, "sleep 100", NULL), 100, &value, &error));
  operation = orkestr_sandbox_exec(sandbox, "sleep 100", NULL);
  OK(orkestr_operation_cancel(operation, &error));
  FAILS(operation, ORKESTR_CANCELLED, "");
  operation = orkestr_host_doctor(client, 0);
  OK(orkestr_operation_cancel(operation, &error));
  FAILS(operation, ORKESTR_CANCELLED, "");

  /* An operation that has failed before it began. */
  operation = orkestr_sandbox_exec(NULL, "true", NULL);
  ready.fd = orkestr_operation_fd(operation);
  CHECK(poll(&ready, 1, 0) == 1);
  CHECK(orkestr_operation_wait(operation, 0, NULL) == ORKESTR_OK);
  OK(orkestr_operation_cancel(operation, &error));
  FAILS(operation, ORKESTR_INVALID_ARGUMENT, "sandbox is NULL");

  test_threads(sandbox);

  /* Letting go leaves the work alone. */
  orkestr_operation_free(orkestr_files_write(sandbox, "/workspace/left", "x", 1, 0));
  for (int i = 0; i < 100; ++i) {
    value = GIVES(orkestr_files_exists(sandbox, "/workspace/left"));
    const int there = orkestr_value_integer(value, NULL) == 1;
    CHECK(orkestr_value_type(value, NULL) == ORKESTR_TYPE_FLAG);
    orkestr_value_free(value);
    if (there) break;
    CHECK(i < 99);
    usleep(20000);
  }
}

struct calls {
  int pipe[2];
  int count, ends, again;
  orkestr_client* client;
  orkestr_sandbox* sandbox;
  orkestr_stream* stream;
  orkestr_operation* operation;
};

static void begin(struct calls* calls) { CHECK(pipe(calls->pipe) == 0); }
static void await_end(struct calls* calls) {
  struct pollfd ready = {0, POLLIN, 0};
  ready.fd = calls->pipe[0];
  CHECK(poll(&ready, 1, WAIT_MS) == 1);
  close(calls->pipe[0]);
  close(calls->pipe[1]);
}
static void count_call(struct calls* calls, orkestr_status status) {
  ++calls->count;
  if (status == ORKESTR_END) {
    ++calls->ends;
    CHECK(write(calls->pipe[1], "", 1) == 1);
  }
}

static void on_end(void* user, orkestr_status status) { count_call(user, status); }

/* Calls back in, and frees what it was called for. */
static void on_end_call_in(void* user, orkestr_status status) {
  struct calls* calls = user;
  orkestr_value* value = GIVES(orkestr_sandbox_exec(calls->sandbox, "echo from a callback", NULL));
  IS_TEXT(value, "stdout", "from a callback\n");
  orkestr_value_free(value);
  value = GIVES(calls->operation);
  IS_TEXT(value, "stdout", "called\n");
  orkestr_value_free(value);
  count_call(calls, status);
}

/* Frees the last handle of its client. */
static void on_end_free_all(void* user, orkestr_status status) {
  struct calls* calls = user;
  orkestr_operation_free(calls->operation);
  orkestr_sandbox_free(calls->sandbox);
  orkestr_client_free(calls->client);
  count_call(calls, status);
}

static void on_end_close(void* user, orkestr_status status) {
  struct calls* calls = user;
  OK(orkestr_client_close(calls->client, &error));
  count_call(calls, status);
}

static void on_end_slowly(void* user, orkestr_status status) {
  usleep(500000);
  count_call(user, status);
}

static void on_ready(void* user, orkestr_status status) {
  struct calls* calls = user;
  orkestr_value* piece = NULL;
  while (status == ORKESTR_OK && orkestr_stream_next(calls->stream, 0, &piece, NULL) == ORKESTR_OK) {
    calls->again += (int)strlen(orkestr_value_text(piece, "data"));
    orkestr_value_free(piece);
  }
  count_call(calls, status);
}

static void on_ready_free(void* user, orkestr_status status) {
  struct calls* calls = user;
  if (status == ORKESTR_OK) orkestr_stream_free(calls->stream);
  count_call(calls, status);
}

/* Read elsewhere than in the callback: it is not called on and on until that is done, and not forgotten after it. */
static void read_elsewhere(orkestr_stream* stream) {
  struct calls calls;
  struct pollfd ready = {0, POLLIN, 0};
  orkestr_value* piece = NULL;
  int looks = 0, over = 0, i;
  memset(&calls, 0, sizeof calls);
  begin(&calls);
  ready.fd = orkestr_stream_fd(stream);
  CHECK(poll(&ready, 1, WAIT_MS) == 1);
  OK(orkestr_stream_notify(stream, on_end, &calls, &error));
  usleep(500000);
  CHECK(__atomic_load_n(&calls.count, __ATOMIC_SEQ_CST) == 1);
  for (; !over; ++looks) {
    for (i = 0; i < 10000 && __atomic_load_n(&calls.count, __ATOMIC_SEQ_CST) <= looks; ++i) usleep(1000);
    CHECK(__atomic_load_n(&calls.count, __ATOMIC_SEQ_CST) == looks + 1);
    over = orkestr_stream_next(stream, WAIT_MS, &piece, NULL) != ORKESTR_OK ||
           orkestr_value_type(piece, "exit_code") == ORKESTR_TYPE_INTEGER;
    orkestr_value_free(piece);
  }
  await_end(&calls);
  CHECK(looks >= 2 && calls.ends == 1 && calls.count == looks + 1);
  CHECK(orkestr_stream_next(stream, WAIT_MS, &piece, NULL) == ORKESTR_END);
  orkestr_stream_free(stream);
}

static void test_read_elsewhere(orkestr_sandbox* sandbox) {
  orkestr_stream* stream = NULL;
  OK(orkestr_sandbox_exec_stream(sandbox, "echo a; sleep 0.1; echo b", NULL, &stream, &error));
  read_elsewhere(stream);
  OK(orkestr_files_read_stream(sandbox, "/etc/passwd", &stream, &error));
  read_elsewhere(stream);
}

static void another(orkestr_sandbox* sandbox, struct calls* calls) {
  OK(orkestr_client_open(NULL, &calls->client, &error));
  OK(orkestr_await_sandbox(orkestr_sandbox_get(calls->client, orkestr_sandbox_id(sandbox)), WAIT_MS, &calls->sandbox,
                           &error));
}

void test_callbacks(orkestr_client* client, orkestr_sandbox* sandbox) {
  struct calls calls;
  struct rlimit limit, few;
  int round;
  orkestr_operation* operation;
  (void)client;

  /* Called once, although the operation was freed. */
  memset(&calls, 0, sizeof calls);
  begin(&calls);
  operation = orkestr_sandbox_exec(sandbox, "sleep 0.1", NULL);
  REFUSED(ORKESTR_INVALID_ARGUMENT, "callback is NULL", orkestr_operation_notify(operation, NULL, &calls, &error));
  OK(orkestr_operation_notify(operation, on_end, &calls, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "already", orkestr_operation_notify(operation, on_end, &calls, &error));
  orkestr_operation_free(operation);
  await_end(&calls);
  CHECK(calls.count == 1 && calls.ends == 1);

  /* Refused: never called. */
  operation = orkestr_sandbox_exec(NULL, "true", NULL);
  REFUSED(ORKESTR_INVALID_ARGUMENT, "sandbox is NULL", orkestr_operation_notify(operation, on_end, &calls, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "operation is NULL", orkestr_operation_notify(NULL, on_end, &calls, &error));
  orkestr_operation_free(operation);
  CHECK(calls.count == 1);

  /* Refused too where there is no descriptor to wait with. */
  operation = orkestr_sandbox_exec(sandbox, "true", NULL);
  CHECK(orkestr_operation_wait(operation, WAIT_MS, NULL) == ORKESTR_OK);
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  few = limit;
  const int lowest = dup(0); /* that is free: with it as the limit there is none */
  close(lowest);
  few.rlim_cur = (rlim_t)lowest;
  CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
  const int fd = orkestr_operation_fd(operation);
  REFUSED(ORKESTR_INTERNAL, "ulimit -n", orkestr_operation_notify(operation, on_end, &calls, &error));
  CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  CHECK(fd == -1);
  WORKS(operation);
  CHECK(calls.count == 1);

  memset(&calls, 0, sizeof calls);
  begin(&calls);
  calls.sandbox = sandbox;
  calls.operation = orkestr_sandbox_exec(sandbox, "echo called", NULL);
  OK(orkestr_operation_notify(calls.operation, on_end_call_in, &calls, &error));
  await_end(&calls);
  CHECK(calls.count == 1);

  /* The last handle goes in a callback; a client is closed in one; a slow one is waited for. */
  memset(&calls, 0, sizeof calls);
  begin(&calls);
  another(sandbox, &calls);
  calls.operation = orkestr_sandbox_exec(calls.sandbox, "true", NULL);
  OK(orkestr_operation_notify(calls.operation, on_end_free_all, &calls, &error));
  await_end(&calls);

  memset(&calls, 0, sizeof calls);
  begin(&calls);
  another(sandbox, &calls);
  operation = orkestr_sandbox_exec(calls.sandbox, "true", NULL);
  OK(orkestr_operation_notify(operation, on_end_close, &calls, &error));
  await_end(&calls);
  REFUSED(ORKESTR_NOT_READY, "closed", orkestr_operation_notify(operation, on_end, &calls, &error));
  orkestr_operation_free(operation);
  orkestr_sandbox_free(calls.sandbox);
  orkestr_client_free(calls.client);

  memset(&calls, 0, sizeof calls);
  begin(&calls);
  another(sandbox, &calls);
  operation = orkestr_sandbox_exec(calls.sandbox, "sleep 100", NULL);
  OK(orkestr_operation_notify(operation, on_end_slowly, &calls, &error));
  orkestr_sandbox_free(calls.sandbox);
  orkestr_client_free(calls.client); /* kept open by the operation */
  orkestr_operation_free(operation); /* the last handle: the client ends, and with it the wait */
  CHECK(calls.count == 1 && calls.ends == 1);
  await_end(&calls);

  /* Streams: again and again, and once at the end; and freed by the callback. */
  memset(&calls, 0, sizeof calls);
  begin(&calls);
  OK(orkestr_sandbox_exec_stream(sandbox, "for i in 1 2 3 4; do echo $i; sleep 0.1; done", NULL, &calls.stream,
                                 &error));
  OK(orkestr_stream_notify(calls.stream, on_ready, &calls, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "already", orkestr_stream_notify(calls.stream, on_ready, &calls, &error));
  await_end(&calls);
  CHECK(calls.ends == 1 && calls.count >= 2 && calls.again == 8);
  orkestr_stream_free(calls.stream);

  test_read_elsewhere(sandbox);

  /* (At once, and so perhaps before notify() has returned.) */
  for (round = 0; round < 20; ++round) {
    struct pollfd ready = {0, POLLIN, 0};
    memset(&calls, 0, sizeof calls);
    begin(&calls);
    OK(orkestr_sandbox_exec_stream(sandbox, "yes | head -c 100000", NULL, &calls.stream, &error));
    ready.fd = orkestr_stream_fd(calls.stream);
    CHECK(poll(&ready, 1, WAIT_MS) == 1);
    OK(orkestr_stream_notify(calls.stream, on_ready_free, &calls, &error));
    await_end(&calls);
    CHECK(calls.ends == 1 && calls.count == 2);
  }
}
