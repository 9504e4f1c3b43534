/* In a forked child the handles of the parent answer, and do nothing; whatever the parent's other threads were in the
 * middle of at the fork. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define ROUNDS 30
#if defined(__SANITIZE_ADDRESS__)
#define BUSY 0 /* ASan's own allocator may be locked at the fork */
#else
#define BUSY 4
#endif

struct things {
  orkestr_client* client;
  orkestr_sandbox* sandbox;
  orkestr_command* command;
  orkestr_stream* stream;
  orkestr_operation* operation;
  orkestr_error* error;
  orkestr_value* value;
  char id[64];
  int stop;
};

static void ignore(void* user, orkestr_status status) {
  (void)user;
  (void)status;
}

/* Takes every lock behind the handles, again and again. (No checks: printf, too, has a lock.) */
static void* keep_busy(void* user) {
  struct things* things = user;
  while (!__atomic_load_n(&things->stop, __ATOMIC_RELAXED)) {
    orkestr_value* info = NULL;
    orkestr_operation* operation = orkestr_client_limits(things->client);
    int i;
    orkestr_operation_notify(operation, ignore, NULL, NULL);
    orkestr_operation_free(operation);
    for (i = 0; i < 20; ++i) {
      orkestr_sandbox_info(things->sandbox, &info, NULL);
      orkestr_value_free(info);
      orkestr_command_info(things->command, &info, NULL);
      orkestr_value_free(info);
      orkestr_stream_pid(things->stream);
      orkestr_stream_fd(things->stream);
      orkestr_stream_resize(things->stream, 80, 24, NULL);
      orkestr_operation_wait(things->operation, 0, NULL);
      orkestr_operation_fd(things->operation);
    }
  }
  return NULL;
}

static int all_refused(struct things* things) {
  const char* argv[1] = {"/bin/true"};
  orkestr_value* value = NULL;
  orkestr_stream* stream = NULL;
  orkestr_sandbox* sandbox = NULL;
  orkestr_command* command = NULL;
  size_t written = 0;
#define NOT_HERE(call) \
  if ((call) != ORKESTR_NOT_READY) return __LINE__
  NOT_HERE(orkestr_client_close(things->client, NULL));
  NOT_HERE(orkestr_await(orkestr_client_limits(things->client), 1000, &value, NULL));
  NOT_HERE(orkestr_await(orkestr_host_gc(things->client), 1000, &value, NULL));
  NOT_HERE(orkestr_await(orkestr_template_list(things->client), 1000, &value, NULL));
  NOT_HERE(orkestr_await_sandbox(orkestr_sandbox_get(things->client, things->id), 1000, &sandbox, NULL));
  NOT_HERE(orkestr_sandbox_info(things->sandbox, &value, NULL));
  NOT_HERE(orkestr_await(orkestr_sandbox_exec(things->sandbox, "true", NULL), 1000, &value, NULL));
  NOT_HERE(orkestr_await(orkestr_sandbox_terminate(things->sandbox), 1000, &value, NULL));
  NOT_HERE(orkestr_await(orkestr_files_read(things->sandbox, "/etc/hosts"), 1000, &value, NULL));
  NOT_HERE(orkestr_await_command(orkestr_sandbox_start(things->sandbox, "true", NULL), 1000, &command, NULL));
  NOT_HERE(orkestr_sandbox_exec_stream(things->sandbox, "true", NULL, &stream, NULL));
  NOT_HERE(orkestr_sandbox_run_stream(things->sandbox, argv, 1, NULL, &stream, NULL));
  NOT_HERE(orkestr_await(orkestr_sandbox_run_code(things->sandbox, "1", NULL), 1000, &value, NULL));
  NOT_HERE(orkestr_sandbox_run_code_stream(things->sandbox, "1", NULL, &stream, NULL));
  NOT_HERE(orkestr_await(orkestr_sandbox_create_code_context(things->sandbox, NULL), 1000, &value, NULL));
  NOT_HERE(orkestr_await(orkestr_sandbox_code_contexts(things->sandbox), 1000, &value, NULL));
  NOT_HERE(orkestr_await(orkestr_code_context_restart(things->sandbox, "ctx_1"), 1000, &value, NULL));
  NOT_HERE(orkestr_await(orkestr_code_context_remove(things->sandbox, "ctx_1"), 1000, &value, NULL));
  NOT_HERE(orkestr_files_read_stream(things->sandbox, "/etc/hosts", &stream, NULL));
  NOT_HERE(orkestr_files_write_stream(things->sandbox, "/tmp/x", 0, &stream, NULL));
  NOT_HERE(orkestr_command_info(things->command, &value, NULL));
  NOT_HERE(orkestr_await(orkestr_command_refresh(things->command), 1000, &value, NULL));
  NOT_HERE(orkestr_await(orkestr_command_kill(things->command), 1000, &value, NULL));
  NOT_HERE(orkestr_await(orkestr_command_wait(things->command, 0), 1000, &value, NULL));
  NOT_HERE(orkestr_await(orkestr_command_logs(things->command, 0), 1000, &value, NULL));
  NOT_HERE(orkestr_command_stream(things->command, 0, 0, &stream, NULL));
  NOT_HERE(orkestr_stream_next(things->stream, 1000, &value, NULL));
  NOT_HERE(orkestr_stream_write(things->stream, "x", 1, 1000, &written, NULL));
  NOT_HERE(orkestr_stream_finish(things->stream, 1000, NULL));
  NOT_HERE(orkestr_stream_resize(things->stream, 80, 24, NULL));
  NOT_HERE(orkestr_stream_cancel(things->stream, NULL));
  NOT_HERE(orkestr_stream_notify(things->stream, ignore, NULL, NULL));
  NOT_HERE(orkestr_operation_wait(things->operation, 1000, NULL));
  NOT_HERE(orkestr_operation_cancel(things->operation, NULL));
  NOT_HERE(orkestr_operation_notify(things->operation, ignore, NULL, NULL));
  NOT_HERE(orkestr_await(things->operation, 1000, &value, NULL));
  return 0;
}

/* The line of what is wrong; 0: nothing is. */
static int in_child(struct things* things) {
  orkestr_client* client = NULL;
  orkestr_sandbox* sandbox = NULL;
  orkestr_value* info = NULL;
  orkestr_error* error = NULL;
  char owner[32];
  int twice;
#define GOOD(condition) \
  if (!(condition)) return __LINE__
  for (twice = 0; twice < 2; ++twice) {
    const int line = all_refused(things);
    if (line != 0) return line;
    GOOD(orkestr_stream_fd(things->stream) == -1);
    GOOD(orkestr_stream_pid(things->stream) == 0);
    GOOD(orkestr_operation_fd(things->operation) == -1);
    orkestr_command_free(things->command);
    orkestr_stream_free(things->stream);
    orkestr_operation_free(things->operation);
    orkestr_sandbox_free(things->sandbox);
    orkestr_client_free(things->client);
  }
  snprintf(owner, sizeof owner, "process %d", (int)getppid());
  GOOD(orkestr_sandbox_info(things->sandbox, &info, &error) == ORKESTR_NOT_READY);
  GOOD(strstr(orkestr_error_message(error), owner) != NULL);
  orkestr_error_free(error);

  /* What needs no client can be read and freed. */
  GOOD(strcmp(orkestr_sandbox_id(things->sandbox), things->id) == 0);
  GOOD(strstr(orkestr_error_message(things->error), "NULL") != NULL);
  GOOD(strcmp(orkestr_value_text(things->value, "status"), "running") == 0);
  orkestr_error_free(things->error);
  orkestr_value_free(things->value);

  /* As the error says. */
  GOOD(orkestr_client_open(NULL, &client, NULL) == ORKESTR_OK);
  GOOD(orkestr_await_sandbox(orkestr_sandbox_get(client, things->id), WAIT_MS, &sandbox, NULL) == ORKESTR_OK);
  GOOD(orkestr_await(orkestr_sandbox_refresh(sandbox), WAIT_MS, NULL, NULL) == ORKESTR_OK);
  orkestr_sandbox_free(sandbox);
  orkestr_client_free(client);
  return 0;
}

/* (It tells by a pipe: what a memory checker makes of the child's end is not the question.) */
static int fork_once(struct things* things) {
  int answer[2], line = -1, status = 0;
  pid_t child;
  if (!CHECK(pipe(answer) == 0)) return 0;
  child = fork();
  if (child == 0) {
    signal(SIGALRM, SIG_DFL);
    alarm(60); /* ends it where it waits for a lock */
    line = in_child(things);
    _exit(write(answer[1], &line, sizeof line) == sizeof line ? 0 : 1);
  }
  CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
  close(answer[1]);
  CHECK(read(answer[0], &line, sizeof line) == sizeof line && line == 0);
  if (line != 0) printf("  in the child: fork.c:%d\n", line);
  close(answer[0]);
  return line == 0;
}

void test_fork(orkestr_client* client, orkestr_sandbox* sandbox) {
  struct things things;
  pthread_t busy[BUSY + 1];
  orkestr_exec_options terminal = ORKESTR_EXEC_OPTIONS_INIT;
  int i;
  memset(&things, 0, sizeof things);
  things.client = client;
  things.sandbox = sandbox;
  terminal.tty = 1;
  snprintf(things.id, sizeof things.id, "%s", orkestr_sandbox_id(sandbox));
  OK(orkestr_await_command(orkestr_sandbox_start(sandbox, "sleep 1000", NULL), WAIT_MS, &things.command, &error));
  OK(orkestr_sandbox_exec_stream(sandbox, "sleep 1000", &terminal, &things.stream, &error));
  things.operation = orkestr_sandbox_exec(sandbox, "sleep 1000", NULL);
  CHECK(orkestr_sandbox_info(NULL, &things.value, &things.error) == ORKESTR_INVALID_ARGUMENT);
  OK(orkestr_sandbox_info(sandbox, &things.value, &error));

  for (i = 0; i < BUSY; ++i) CHECK(pthread_create(&busy[i], NULL, keep_busy, &things) == 0);
  for (i = 0; i < ROUNDS; ++i) {
    if (!fork_once(&things)) break;
  }
  __atomic_store_n(&things.stop, 1, __ATOMIC_RELAXED);
  for (i = 0; i < BUSY; ++i) CHECK(pthread_join(busy[i], NULL) == 0);

  /* The parent's are as they were. */
  WORKS(orkestr_command_kill(things.command));
  OK(orkestr_stream_cancel(things.stream, &error));
  OK(orkestr_operation_cancel(things.operation, &error));
  FAILS(things.operation, ORKESTR_CANCELLED, "");
  orkestr_command_free(things.command);
  orkestr_stream_free(things.stream);
  orkestr_error_free(things.error);
  orkestr_value_free(things.value);
}
