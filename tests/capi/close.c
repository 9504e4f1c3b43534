/* Closing a client: what begins beside it, and what does not end. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Stands before the system's, and holds up a thread that is being started from where a pipe is set. */
static __thread int told_when_starting = -1;
int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*work)(void*), void* argument) {
  int (*next)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*) = NULL;
  void* found = dlsym(RTLD_NEXT, "pthread_create");
  memcpy(&next, &found, sizeof next);
  if (told_when_starting >= 0) {
    CHECK(write(told_when_starting, "", 1) == 1);
    usleep(100000);
  }
  return next(thread, attributes, work, argument);
}

struct beside {
  orkestr_client* client;
  orkestr_operation* operation;
  int starting[2];
};

static void* begin_beside(void* user) {
  struct beside* beside = user;
  told_when_starting = beside->starting[1];
  beside->operation = orkestr_host_doctor(beside->client, 0);
  return NULL;
}

/* What is in the middle of beginning is cancelled, too. */
static void test_begun_beside(void) {
  struct beside beside;
  struct pollfd starting = {0, POLLIN, 0};
  pthread_t thread;
  memset(&beside, 0, sizeof beside);
  CHECK(pipe(beside.starting) == 0);
  OK(orkestr_client_open(NULL, &beside.client, &error));
  CHECK(pthread_create(&thread, NULL, begin_beside, &beside) == 0);
  starting.fd = beside.starting[0];
  CHECK(poll(&starting, 1, WAIT_MS) == 1);
  OK(orkestr_client_close(beside.client, &error));
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(orkestr_operation_wait(beside.operation, 0, NULL) == ORKESTR_OK);
  FAILS(beside.operation, ORKESTR_CANCELLED, "");
  FAILS(orkestr_host_doctor(beside.client, 0), ORKESTR_NOT_READY, "closed");
  orkestr_client_free(beside.client);
  close(beside.starting[0]);
  close(beside.starting[1]);
}

/* Nothing begins with what a closed client has given. */
static void test_nothing_begins(orkestr_sandbox* running) {
  const char* argv[1] = {"/bin/true"};
  orkestr_client* client = NULL;
  orkestr_sandbox* sandbox = NULL;
  orkestr_command* command = NULL;
  orkestr_stream* stream = NULL;
  OK(orkestr_client_open(NULL, &client, &error));
  OK(orkestr_await_sandbox(orkestr_sandbox_get(client, orkestr_sandbox_id(running)), WAIT_MS, &sandbox, &error));
  OK(orkestr_await_command(orkestr_sandbox_start(sandbox, "true", NULL), WAIT_MS, &command, &error));
  OK(orkestr_client_close(client, &error));
  FAILS(orkestr_client_limits(client), ORKESTR_NOT_READY, "the client was closed");
  FAILS(orkestr_template_build(client, "x", NULL), ORKESTR_NOT_READY, "the client was closed");
  FAILS(orkestr_sandbox_exec(sandbox, "true", NULL), ORKESTR_NOT_READY, "the client was closed");
  FAILS(orkestr_files_read(sandbox, "/etc/hosts"), ORKESTR_NOT_READY, "the client was closed");
  FAILS(orkestr_command_refresh(command), ORKESTR_NOT_READY, "the client was closed");
  FAILS(orkestr_command_wait(command, 0), ORKESTR_NOT_READY, "the client was closed");
  REFUSED(ORKESTR_NOT_READY, "closed", orkestr_sandbox_exec_stream(sandbox, "true", NULL, &stream, &error));
  REFUSED(ORKESTR_NOT_READY, "closed", orkestr_sandbox_run_stream(sandbox, argv, 1, NULL, &stream, &error));
  REFUSED(ORKESTR_NOT_READY, "closed", orkestr_command_stream(command, 0, 0, &stream, &error));
  REFUSED(ORKESTR_NOT_READY, "closed", orkestr_files_read_stream(sandbox, "/etc/hosts", &stream, &error));
  REFUSED(ORKESTR_NOT_READY, "closed", orkestr_files_write_stream(sandbox, "/tmp/x", 0, &stream, &error));
  orkestr_command_free(command);
  orkestr_sandbox_free(sandbox);
  orkestr_client_free(client);
}

/* A callback of progress that stands still, as long as nobody lets it go on and for 20 s at most. */
struct still {
  int reached[2], go_on[2];
  int count;
};

static void stand_still(void* user, const orkestr_value* progress) {
  struct still* still = user;
  struct pollfd go_on = {0, POLLIN, 0};
  (void)progress;
  go_on.fd = still->go_on[0];
  CHECK(write(still->reached[1], "", 1) == 1);
  poll(&go_on, 1, 20000);
}

static void test_close_beside_progress(orkestr_sandbox* running) {
  orkestr_template_options options = ORKESTR_TEMPLATE_OPTIONS_INIT;
  orkestr_client* client = NULL;
  orkestr_sandbox* sandbox = NULL;
  orkestr_operation *build, *exec;
  struct still still;
  struct pollfd reached = {0, POLLIN, 0};
  double start;
  CHECK(pipe(still.reached) == 0 && pipe(still.go_on) == 0);
  OK(orkestr_client_open(NULL, &client, &error));
  OK(orkestr_await_sandbox(orkestr_sandbox_get(client, orkestr_sandbox_id(running)), WAIT_MS, &sandbox, &error));
  exec = orkestr_sandbox_exec(sandbox, "sleep 1000", NULL);
  enter_home();
  options.recipe = SMALL_RECIPE;
  options.on_progress = stand_still;
  options.progress_user = &still;
  build = orkestr_template_build(client, NULL, &options);
  reached.fd = still.reached[0];
  CHECK(poll(&reached, 1, WAIT_MS) == 1);

  start = now();
  OK(orkestr_client_close(client, &error));
  CHECK(now() - start < 8);
  CHECK(orkestr_operation_wait(exec, 0, NULL) == ORKESTR_OK);
  FAILS(exec, ORKESTR_CANCELLED, "");
  CHECK(write(still.go_on[1], "", 1) == 1);
  FAILS(build, ORKESTR_CANCELLED, "");
  orkestr_sandbox_free(sandbox);
  orkestr_client_free(client);
  leave_home();
  close(still.reached[0]);
  close(still.reached[1]);
  close(still.go_on[0]);
  close(still.go_on[1]);
}

/* Nor does one on the client's own thread: nobody waits for it longer than close() does. */
static void stand_still_once(void* user, orkestr_status status) {
  struct still* still = user;
  struct pollfd go_on = {0, POLLIN, 0};
  go_on.fd = still->go_on[0];
  if (still->count++ > 0) return;
  CHECK(status == ORKESTR_END && write(still->reached[1], "", 1) == 1);
  poll(&go_on, 1, 20000);
  CHECK(write(still->reached[1], "", 1) == 1);
}

static void test_close_beside_callback(orkestr_sandbox* running) {
  orkestr_client* client = NULL;
  orkestr_sandbox* sandbox = NULL;
  orkestr_operation *exec, *other;
  orkestr_stream* stream = NULL;
  struct still still;
  struct pollfd reached = {0, POLLIN, 0};
  char byte;
  double start;
  memset(&still, 0, sizeof still);
  CHECK(pipe(still.reached) == 0 && pipe(still.go_on) == 0);
  OK(orkestr_client_open(NULL, &client, &error));
  OK(orkestr_await_sandbox(orkestr_sandbox_get(client, orkestr_sandbox_id(running)), WAIT_MS, &sandbox, &error));
  exec = orkestr_sandbox_exec(sandbox, "true", NULL);
  OK(orkestr_operation_notify(exec, stand_still_once, &still, &error));
  reached.fd = still.reached[0];
  CHECK(poll(&reached, 1, WAIT_MS) == 1 && read(still.reached[0], &byte, 1) == 1);

  start = now();
  WORKS(orkestr_sandbox_exec(sandbox, "true", NULL));
  WORKS(exec);
  other = orkestr_sandbox_exec(sandbox, "sleep 1000", NULL);
  OK(orkestr_operation_notify(other, stand_still_once, &still, &error));
  OK(orkestr_operation_cancel(other, &error));
  orkestr_operation_free(other);
  OK(orkestr_sandbox_exec_stream(sandbox, "sleep 1000", NULL, &stream, &error));
  OK(orkestr_stream_notify(stream, stand_still_once, &still, &error));
  OK(orkestr_stream_cancel(stream, &error));
  orkestr_stream_free(stream);
  CHECK(now() - start < 8);
  start = now();
  OK(orkestr_client_close(client, &error));
  orkestr_sandbox_free(sandbox);
  orkestr_client_free(client);
  CHECK(now() - start < 8);
  CHECK(poll(&reached, 1, 0) == 0); /* all this time */
  CHECK(write(still.go_on[1], "", 1) == 1);
  CHECK(poll(&reached, 1, WAIT_MS) == 1);
  usleep(300000); /* for the last calls of the two others */
  close(still.reached[0]);
  close(still.reached[1]);
  close(still.go_on[0]);
  close(still.go_on[1]);
}

static double closed_in;
static void close_in_progress(void* user, const orkestr_value* progress) {
  const double start = now();
  (void)progress;
  OK(orkestr_client_close(user, &error));
  closed_in = now() - start;
}

static void test_close_in_progress(void) {
  orkestr_template_options options = ORKESTR_TEMPLATE_OPTIONS_INIT;
  orkestr_client* client = NULL;
  OK(orkestr_client_open(NULL, &client, &error));
  enter_home();
  options.recipe = SMALL_RECIPE;
  options.on_progress = close_in_progress;
  options.progress_user = client;
  closed_in = 1e9;
  FAILS(orkestr_template_build(client, NULL, &options), ORKESTR_CANCELLED, "");
  CHECK(closed_in < 3);
  orkestr_client_free(client);
  leave_home();
}

void test_close(orkestr_client* client, orkestr_sandbox* sandbox) {
  (void)client;
  test_begun_beside();
  test_nothing_begins(sandbox);
  test_close_beside_progress(sandbox);
  test_close_beside_callback(sandbox);
  test_close_in_progress();
}
