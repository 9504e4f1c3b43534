/* Arguments that are wrong: each is an error that names it, never a crash. */
#include <stdint.h>

#include "check.h"

/* Every function of a handle, for each way in which that can be wrong. Each table frees fewer handles than are
 * recognised after their end (64), so that one freed just before it is still known at its last call. */
#define CLIENT_CALLS(client, text)                                                        \
  do {                                                                                    \
    CHECK(strcmp(orkestr_client_backend(client), "") == 0);                               \
    FAILS(orkestr_client_limits(client), ORKESTR_INVALID_ARGUMENT, text);                 \
    FAILS(orkestr_sandbox_create(client, NULL), ORKESTR_INVALID_ARGUMENT, text);          \
    FAILS(orkestr_sandbox_get(client, "sbx_1"), ORKESTR_INVALID_ARGUMENT, text);          \
    FAILS(orkestr_sandbox_resume(client, "sbx_1", NULL), ORKESTR_INVALID_ARGUMENT, text); \
    FAILS(orkestr_sandbox_list(client, NULL), ORKESTR_INVALID_ARGUMENT, text);            \
    FAILS(orkestr_snapshot_list(client), ORKESTR_INVALID_ARGUMENT, text);                 \
    FAILS(orkestr_snapshot_get(client, "snp_1"), ORKESTR_INVALID_ARGUMENT, text);         \
    FAILS(orkestr_snapshot_remove(client, "snp_1"), ORKESTR_INVALID_ARGUMENT, text);      \
    FAILS(orkestr_template_list(client), ORKESTR_INVALID_ARGUMENT, text);                 \
    FAILS(orkestr_template_inspect(client, "x"), ORKESTR_INVALID_ARGUMENT, text);         \
    FAILS(orkestr_template_remove(client, "x"), ORKESTR_INVALID_ARGUMENT, text);          \
    FAILS(orkestr_template_build(client, "x", NULL), ORKESTR_INVALID_ARGUMENT, text);     \
    FAILS(orkestr_template_prepare(client, "x", NULL), ORKESTR_INVALID_ARGUMENT, text);   \
    FAILS(orkestr_host_doctor(client, 0), ORKESTR_INVALID_ARGUMENT, text);                \
    FAILS(orkestr_host_gc(client), ORKESTR_INVALID_ARGUMENT, text);                       \
    FAILS(orkestr_pool_set(client, NULL), ORKESTR_INVALID_ARGUMENT, text);                \
    FAILS(orkestr_pool_list(client), ORKESTR_INVALID_ARGUMENT, text);                     \
    FAILS(orkestr_pool_clear(client, NULL), ORKESTR_INVALID_ARGUMENT, text);              \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_client_close(client, &error));        \
  } while (0)

#define SANDBOX_CALLS(sandbox, text)                                                                                  \
  do {                                                                                                                \
    orkestr_value* no_value = NULL;                                                                                   \
    orkestr_stream* no_stream = NULL;                                                                                 \
    CHECK(strcmp(orkestr_sandbox_id(sandbox), "") == 0);                                                              \
    FAILS(orkestr_sandbox_refresh(sandbox), ORKESTR_INVALID_ARGUMENT, text);                                          \
    FAILS(orkestr_sandbox_set_timeout(sandbox, 60000), ORKESTR_INVALID_ARGUMENT, text);                               \
    FAILS(orkestr_sandbox_terminate(sandbox), ORKESTR_INVALID_ARGUMENT, text);                                        \
    FAILS(orkestr_sandbox_pause(sandbox), ORKESTR_INVALID_ARGUMENT, text);                                            \
    FAILS(orkestr_sandbox_events(sandbox, 0, 0), ORKESTR_INVALID_ARGUMENT, text);                                     \
    FAILS(orkestr_sandbox_metrics(sandbox, 0), ORKESTR_INVALID_ARGUMENT, text);                                       \
    FAILS(orkestr_sandbox_snapshot(sandbox, NULL), ORKESTR_INVALID_ARGUMENT, text);                                   \
    FAILS(orkestr_sandbox_get_host(sandbox, 80), ORKESTR_INVALID_ARGUMENT, text);                                     \
    FAILS(orkestr_sandbox_exec(sandbox, "true", NULL), ORKESTR_INVALID_ARGUMENT, text);                               \
    FAILS(orkestr_sandbox_run(sandbox, NULL, 0, NULL), ORKESTR_INVALID_ARGUMENT, text);                               \
    FAILS(orkestr_sandbox_start(sandbox, "true", NULL), ORKESTR_INVALID_ARGUMENT, text);                              \
    FAILS(orkestr_sandbox_commands(sandbox), ORKESTR_INVALID_ARGUMENT, text);                                         \
    FAILS(orkestr_sandbox_command(sandbox, "cmd_1"), ORKESTR_INVALID_ARGUMENT, text);                                 \
    FAILS(orkestr_sandbox_run_code(sandbox, "1", NULL), ORKESTR_INVALID_ARGUMENT, text);                              \
    FAILS(orkestr_sandbox_create_code_context(sandbox, NULL), ORKESTR_INVALID_ARGUMENT, text);                        \
    FAILS(orkestr_sandbox_code_contexts(sandbox), ORKESTR_INVALID_ARGUMENT, text);                                    \
    FAILS(orkestr_code_context_restart(sandbox, "ctx_1"), ORKESTR_INVALID_ARGUMENT, text);                            \
    FAILS(orkestr_code_context_remove(sandbox, "ctx_1"), ORKESTR_INVALID_ARGUMENT, text);                             \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_sandbox_run_code_stream(sandbox, "1", NULL, &no_stream, &error)); \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_sandbox_info(sandbox, &no_value, &error));                        \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_sandbox_exec_stream(sandbox, "true", NULL, &no_stream, &error));  \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_sandbox_run_stream(sandbox, NULL, 0, NULL, &no_stream, &error));  \
  } while (0)

#define FILES_CALLS(sandbox, text)                                                                                 \
  do {                                                                                                             \
    orkestr_stream* no_stream = NULL;                                                                              \
    FAILS(orkestr_files_read(sandbox, "/tmp/x"), ORKESTR_INVALID_ARGUMENT, text);                                  \
    FAILS(orkestr_files_write(sandbox, "/tmp/x", NULL, 0, 0), ORKESTR_INVALID_ARGUMENT, text);                     \
    FAILS(orkestr_files_list(sandbox, "/tmp"), ORKESTR_INVALID_ARGUMENT, text);                                    \
    FAILS(orkestr_files_stat(sandbox, "/tmp"), ORKESTR_INVALID_ARGUMENT, text);                                    \
    FAILS(orkestr_files_exists(sandbox, "/tmp"), ORKESTR_INVALID_ARGUMENT, text);                                  \
    FAILS(orkestr_files_remove(sandbox, "/tmp/x"), ORKESTR_INVALID_ARGUMENT, text);                                \
    FAILS(orkestr_files_mkdir(sandbox, "/tmp/x", 0), ORKESTR_INVALID_ARGUMENT, text);                              \
    FAILS(orkestr_files_move(sandbox, "/tmp/x", "/tmp/y"), ORKESTR_INVALID_ARGUMENT, text);                        \
    FAILS(orkestr_files_write_batch(sandbox, NULL, 0), ORKESTR_INVALID_ARGUMENT, text);                            \
    FAILS(orkestr_files_presign_download(sandbox, "/tmp/x", 0), ORKESTR_INVALID_ARGUMENT, text);                   \
    FAILS(orkestr_files_presign_upload(sandbox, "/tmp/x", 0), ORKESTR_INVALID_ARGUMENT, text);                     \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_files_read_stream(sandbox, "/tmp/x", &no_stream, &error));     \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_files_write_stream(sandbox, "/tmp/x", 0, &no_stream, &error)); \
  } while (0)

#define COMMAND_CALLS(command, text)                                                                    \
  do {                                                                                                  \
    orkestr_value* no_value = NULL;                                                                     \
    orkestr_stream* no_stream = NULL;                                                                   \
    FAILS(orkestr_command_refresh(command), ORKESTR_INVALID_ARGUMENT, text);                            \
    FAILS(orkestr_command_kill(command), ORKESTR_INVALID_ARGUMENT, text);                               \
    FAILS(orkestr_command_wait(command, 0), ORKESTR_INVALID_ARGUMENT, text);                            \
    FAILS(orkestr_command_logs(command, 0), ORKESTR_INVALID_ARGUMENT, text);                            \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_command_info(command, &no_value, &error));          \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_command_stream(command, 0, 0, &no_stream, &error)); \
  } while (0)

#define STREAM_CALLS(stream, text)                                                                           \
  do {                                                                                                       \
    orkestr_value* no_value = NULL;                                                                          \
    size_t none_written = 1;                                                                                 \
    CHECK(orkestr_stream_fd(stream) == -1 && orkestr_stream_pid(stream) == 0);                               \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_stream_next(stream, 0, &no_value, &error));              \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_stream_write(stream, "x", 1, 0, &none_written, &error)); \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_stream_finish(stream, 0, &error));                       \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_stream_resize(stream, 80, 24, &error));                  \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_stream_cancel(stream, &error));                          \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_stream_notify(stream, never_called, NULL, &error));      \
  } while (0)

#define OPERATION_CALLS(operation, text)                                                                      \
  do {                                                                                                        \
    orkestr_value* no_value = NULL;                                                                           \
    orkestr_sandbox* no_sandbox = NULL;                                                                       \
    orkestr_command* no_command = NULL;                                                                       \
    CHECK(orkestr_operation_fd(operation) == -1);                                                             \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_await(operation, 0, &no_value, &error));                  \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_await_sandbox(operation, 0, &no_sandbox, &error));        \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_await_command(operation, 0, &no_command, &error));        \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_operation_wait(operation, 0, &error));                    \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_operation_cancel(operation, &error));                     \
    REFUSED(ORKESTR_INVALID_ARGUMENT, text, orkestr_operation_notify(operation, never_called, NULL, &error)); \
  } while (0)

static void never_called(void* user, orkestr_status status) {
  (void)user;
  (void)status;
  CHECK(!"a callback that was refused");
}

static void test_null_handles(void) {
  CLIENT_CALLS(NULL, "client is NULL");
  REFUSED(ORKESTR_INVALID_ARGUMENT, "client is NULL", orkestr_client_open(NULL, NULL, &error));
  SANDBOX_CALLS(NULL, "sandbox is NULL");
  FILES_CALLS(NULL, "sandbox is NULL");
  COMMAND_CALLS(NULL, "command is NULL");
  STREAM_CALLS(NULL, "stream is NULL");
  OPERATION_CALLS(NULL, "operation is NULL");
  CHECK(orkestr_await(NULL, 0, NULL, NULL) == ORKESTR_INVALID_ARGUMENT);

  orkestr_client_free(NULL);
  orkestr_sandbox_free(NULL);
  orkestr_command_free(NULL);
  orkestr_stream_free(NULL);
  orkestr_operation_free(NULL);
  orkestr_value_free(NULL);
  orkestr_error_free(NULL);
}

static void test_null_texts(orkestr_client* client, orkestr_sandbox* sandbox) {
  const char* argv[2] = {"true", NULL};
  orkestr_stream* stream = NULL;
  orkestr_file file = {NULL, NULL, 0, 0};
  FAILS(orkestr_sandbox_create(client, NULL), ORKESTR_INVALID_ARGUMENT, "options is NULL");
  FAILS(orkestr_sandbox_get(client, NULL), ORKESTR_INVALID_ARGUMENT, "sandbox_id is NULL");
  FAILS(orkestr_sandbox_resume(client, NULL, NULL), ORKESTR_INVALID_ARGUMENT, "sandbox_id is NULL");
  FAILS(orkestr_sandbox_exec(sandbox, NULL, NULL), ORKESTR_INVALID_ARGUMENT, "command is NULL");
  FAILS(orkestr_sandbox_start(sandbox, NULL, NULL), ORKESTR_INVALID_ARGUMENT, "command is NULL");
  FAILS(orkestr_sandbox_command(sandbox, NULL), ORKESTR_INVALID_ARGUMENT, "command_id is NULL");
  FAILS(orkestr_sandbox_run(sandbox, NULL, 1, NULL), ORKESTR_INVALID_ARGUMENT, "argv is NULL");
  FAILS(orkestr_sandbox_run(sandbox, argv, 2, NULL), ORKESTR_INVALID_ARGUMENT, "argv[1] is NULL");
  FAILS(orkestr_sandbox_run(sandbox, argv, 0, NULL), ORKESTR_INVALID_ARGUMENT, "argv");
  FAILS(orkestr_sandbox_run(sandbox, argv, SIZE_MAX / sizeof(char*), NULL), ORKESTR_INVALID_ARGUMENT, "argv");
  REFUSED(ORKESTR_INVALID_ARGUMENT, "argv", orkestr_sandbox_run_stream(sandbox, NULL, 1, NULL, &stream, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "stream is NULL", orkestr_sandbox_exec_stream(sandbox, "x", NULL, NULL, &error));
  FAILS(orkestr_sandbox_run_code(sandbox, NULL, NULL), ORKESTR_INVALID_ARGUMENT, "code is NULL");
  REFUSED(ORKESTR_INVALID_ARGUMENT, "code is NULL",
          orkestr_sandbox_run_code_stream(sandbox, NULL, NULL, &stream, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "stream is NULL",
          orkestr_sandbox_run_code_stream(sandbox, "1", NULL, NULL, &error));
  FAILS(orkestr_code_context_restart(sandbox, NULL), ORKESTR_INVALID_ARGUMENT, "context_id is NULL");
  FAILS(orkestr_code_context_remove(sandbox, NULL), ORKESTR_INVALID_ARGUMENT, "context_id is NULL");
  REFUSED(ORKESTR_INVALID_ARGUMENT, "info is NULL", orkestr_sandbox_info(sandbox, NULL, &error));
  FAILS(orkestr_template_inspect(client, NULL), ORKESTR_INVALID_ARGUMENT, "name is NULL");
  FAILS(orkestr_template_remove(client, NULL), ORKESTR_INVALID_ARGUMENT, "name is NULL");
  FAILS(orkestr_snapshot_get(client, NULL), ORKESTR_INVALID_ARGUMENT, "snapshot_id is NULL");
  FAILS(orkestr_snapshot_remove(client, NULL), ORKESTR_INVALID_ARGUMENT, "snapshot_id is NULL");
  FAILS(orkestr_pool_set(client, NULL), ORKESTR_INVALID_ARGUMENT, "options is NULL");

  FAILS(orkestr_files_read(sandbox, NULL), ORKESTR_INVALID_ARGUMENT, "path is NULL");
  FAILS(orkestr_files_write(sandbox, "/tmp/x", NULL, 1, 0), ORKESTR_INVALID_ARGUMENT, "content is NULL");
  FAILS(orkestr_files_write(sandbox, "/tmp/x", "x", SIZE_MAX, 0), ORKESTR_INVALID_ARGUMENT, "length of content");
  FAILS(orkestr_files_write(sandbox, "/tmp/x", "x", PTRDIFF_MAX, 0), ORKESTR_INVALID_ARGUMENT, "length of content");
  FAILS(orkestr_files_write(sandbox, "/tmp/x", "x", 1, 010000), ORKESTR_INVALID_ARGUMENT, "mode");
  FAILS(orkestr_files_move(sandbox, NULL, "/tmp/x"), ORKESTR_INVALID_ARGUMENT, "source is NULL");
  FAILS(orkestr_files_move(sandbox, "/tmp/x", NULL), ORKESTR_INVALID_ARGUMENT, "destination is NULL");
  FAILS(orkestr_files_write_batch(sandbox, NULL, 1), ORKESTR_INVALID_ARGUMENT, "files is NULL");
  FAILS(orkestr_files_write_batch(sandbox, &file, 1), ORKESTR_INVALID_ARGUMENT, "files[0].path is NULL");
  file.path = "/tmp/x";
  file.length = 3;
  FAILS(orkestr_files_write_batch(sandbox, &file, 1), ORKESTR_INVALID_ARGUMENT, "files[0].content is NULL");
  file.content = "x";
  file.length = PTRDIFF_MAX;
  FAILS(orkestr_files_write_batch(sandbox, &file, 1), ORKESTR_INVALID_ARGUMENT, "length of files[0].content");
  FAILS(orkestr_files_write_batch(sandbox, &file, SIZE_MAX / sizeof file), ORKESTR_INVALID_ARGUMENT, "count of files");
  REFUSED(ORKESTR_INVALID_ARGUMENT, "path is NULL", orkestr_files_read_stream(sandbox, NULL, &stream, &error));
  REFUSED(ORKESTR_INVALID_ARGUMENT, "path is NULL", orkestr_files_write_stream(sandbox, NULL, 0, &stream, &error));
}

void test_arguments(orkestr_client* client, orkestr_sandbox* sandbox) {
  test_null_handles();
  test_null_texts(client, sandbox);
}

void test_options(orkestr_client* client, orkestr_sandbox* sandbox) {
  orkestr_exec_options exec = ORKESTR_EXEC_OPTIONS_INIT;
  orkestr_create_options create = ORKESTR_CREATE_OPTIONS_INIT;
  orkestr_client_options open = ORKESTR_CLIENT_OPTIONS_INIT;
  orkestr_list_options list = ORKESTR_LIST_OPTIONS_INIT;
  orkestr_resume_options resume = ORKESTR_RESUME_OPTIONS_INIT;
  orkestr_code_options code = ORKESTR_CODE_OPTIONS_INIT;
  orkestr_template_options build = ORKESTR_TEMPLATE_OPTIONS_INIT;
  orkestr_pool_options pool = ORKESTR_POOL_OPTIONS_INIT;
  orkestr_sandbox* none = NULL;
  orkestr_client* other = NULL;
  orkestr_pair pair = {"NAME", NULL};
  const char* domain = NULL;
  struct {
    orkestr_exec_options known;
    int64_t from_the_future;
  } future;

  /* Another version's struct. */
  exec.size = 0;
  FAILS(orkestr_sandbox_exec(sandbox, "true", &exec), ORKESTR_INVALID_ARGUMENT, "ORKESTR_EXEC_OPTIONS_INIT");
  exec.size = sizeof exec - 1;
  FAILS(orkestr_sandbox_exec(sandbox, "true", &exec), ORKESTR_INVALID_ARGUMENT, "options.size is");
  exec.size = SIZE_MAX;
  FAILS(orkestr_sandbox_exec(sandbox, "true", &exec), ORKESTR_INVALID_ARGUMENT, "options.size is");
  create.size = resume.size = list.size = code.size = build.size = pool.size = open.size = 3;
  FAILS(orkestr_sandbox_create(client, &create), ORKESTR_INVALID_ARGUMENT, "options.size is 3");
  FAILS(orkestr_sandbox_resume(client, "sbx_1", &resume), ORKESTR_INVALID_ARGUMENT, "options.size is 3");
  FAILS(orkestr_sandbox_list(client, &list), ORKESTR_INVALID_ARGUMENT, "options.size is 3");
  FAILS(orkestr_sandbox_run_code(sandbox, "1", &code), ORKESTR_INVALID_ARGUMENT, "options.size is 3");
  FAILS(orkestr_template_build(client, "x", &build), ORKESTR_INVALID_ARGUMENT, "options.size is 3");
  FAILS(orkestr_template_prepare(client, "x", &build), ORKESTR_INVALID_ARGUMENT, "options.size is 3");
  FAILS(orkestr_pool_set(client, &pool), ORKESTR_INVALID_ARGUMENT, "options.size is 3");
  REFUSED(ORKESTR_INVALID_ARGUMENT, "options.size is 3", orkestr_client_open(&open, &other, &error));
  memset(&future, 0, sizeof future);
  future.known.size = sizeof future;
  WORKS(orkestr_sandbox_exec(sandbox, "true", &future.known));
  future.from_the_future = 1;
  FAILS(orkestr_sandbox_exec(sandbox, "true", &future.known), ORKESTR_INVALID_ARGUMENT, "does not know");

  /* What the fields say. */
  exec.size = sizeof exec;
  create.size = sizeof create;
  open.size = sizeof open;
  list.size = sizeof list;
  code.size = sizeof code;
  pool.size = sizeof pool;
  exec.env_count = 1;
  FAILS(orkestr_sandbox_exec(sandbox, "true", &exec), ORKESTR_INVALID_ARGUMENT, "options.env is NULL");
  exec.env = &pair;
  FAILS(orkestr_sandbox_exec(sandbox, "true", &exec), ORKESTR_INVALID_ARGUMENT, "options.env[0].value is NULL");
  exec.env_count = SIZE_MAX / sizeof pair;
  FAILS(orkestr_sandbox_exec(sandbox, "true", &exec), ORKESTR_INVALID_ARGUMENT, "count of options.env");
  exec.env_count = 0;
  exec.stdin_length = 1;
  FAILS(orkestr_sandbox_exec(sandbox, "true", &exec), ORKESTR_INVALID_ARGUMENT, "options.stdin_data is NULL");
  exec.stdin_data = "x";
  exec.stdin_length = PTRDIFF_MAX;
  FAILS(orkestr_sandbox_exec(sandbox, "true", &exec), ORKESTR_INVALID_ARGUMENT, "length of options.stdin_data");
  exec.stdin_data = NULL;
  exec.stdin_length = 0;
  exec.timeout_ms = -1;
  FAILS(orkestr_sandbox_exec(sandbox, "true", &exec), ORKESTR_INVALID_ARGUMENT, "timeout");
  create.template_name = "python-3.12-bare";
  create.machine_size = "huge";
  FAILS(orkestr_sandbox_create(client, &create), ORKESTR_INVALID_ARGUMENT, "size is '");
  create.machine_size = NULL;
  create.network = "closed";
  FAILS(orkestr_sandbox_create(client, &create), ORKESTR_INVALID_ARGUMENT, "network is '");
  create.network = NULL;
  create.cpu = 0.1;
  REFUSED(ORKESTR_INVALID_ARGUMENT, "cpu",
          orkestr_await_sandbox(orkestr_sandbox_create(client, &create), WAIT_MS, &none, &error));
  create.cpu = 0;
  create.timeout_ms = -1;
  REFUSED(ORKESTR_INVALID_ARGUMENT, "timeout is -1 s",
          orkestr_await_sandbox(orkestr_sandbox_create(client, &create), WAIT_MS, &none, &error));
  create.timeout_ms = INT64_MIN;
  REFUSED(ORKESTR_INVALID_ARGUMENT, "timeout",
          orkestr_await_sandbox(orkestr_sandbox_create(client, &create), WAIT_MS, &none, &error));
  create.timeout_ms = 0;
  create.template_name = "python-3.11-bear";
  create.no_auto_build = 1;
  REFUSED(ORKESTR_TEMPLATE_NOT_FOUND, "python-3.11-bear",
          orkestr_await_sandbox(orkestr_sandbox_create(client, &create), WAIT_MS, &none, &error));
  create.no_auto_build = 0;
  create.allow_domains_count = 1;
  FAILS(orkestr_sandbox_create(client, &create), ORKESTR_INVALID_ARGUMENT, "options.allow_domains is NULL");
  create.allow_domains = &domain;
  FAILS(orkestr_sandbox_create(client, &create), ORKESTR_INVALID_ARGUMENT, "options.allow_domains[0] is NULL");
  create.allow_domains_count = SIZE_MAX / sizeof domain;
  FAILS(orkestr_sandbox_create(client, &create), ORKESTR_INVALID_ARGUMENT, "count of options.allow_domains");
  create.allow_domains_count = 0;
  create.metadata_count = list.metadata_count = 1;
  FAILS(orkestr_sandbox_create(client, &create), ORKESTR_INVALID_ARGUMENT, "options.metadata is NULL");
  FAILS(orkestr_sandbox_list(client, &list), ORKESTR_INVALID_ARGUMENT, "options.metadata is NULL");
  create.metadata = list.metadata = &pair;
  FAILS(orkestr_sandbox_create(client, &create), ORKESTR_INVALID_ARGUMENT, "options.metadata[0].value is NULL");
  FAILS(orkestr_sandbox_list(client, &list), ORKESTR_INVALID_ARGUMENT, "options.metadata[0].value is NULL");
  create.metadata_count = list.metadata_count = SIZE_MAX / sizeof pair;
  FAILS(orkestr_sandbox_create(client, &create), ORKESTR_INVALID_ARGUMENT, "count of options.metadata");
  FAILS(orkestr_sandbox_list(client, &list), ORKESTR_INVALID_ARGUMENT, "count of options.metadata");
  create.metadata_count = list.metadata_count = 0;
  list.status = "asleep";
  FAILS(orkestr_sandbox_list(client, &list), ORKESTR_INVALID_ARGUMENT, "status is '");
  code.language = "";
  FAILS(orkestr_sandbox_run_code(sandbox, "1", &code), ORKESTR_INVALID_ARGUMENT, "language is ''");
  code.language = NULL;
  code.timeout_ms = -1;
  FAILS(orkestr_sandbox_run_code(sandbox, "1", &code), ORKESTR_INVALID_ARGUMENT, "timeout");
  FAILS(orkestr_pool_set(client, &pool), ORKESTR_INVALID_ARGUMENT, "options.template_name is NULL");
  pool.template_name = "python-3.12-bare";
  pool.count = 1000;
  FAILS(orkestr_pool_set(client, &pool), ORKESTR_INVALID_ARGUMENT, "1000");
  pool.count = 0;
  pool.reserved = 7;
  FAILS(orkestr_pool_set(client, &pool), ORKESTR_INVALID_ARGUMENT, "options.reserved is 7");
  open.backend = "nearby";
  REFUSED(ORKESTR_INVALID_ARGUMENT, "nearby", orkestr_client_open(&open, &other, &error));
  CHECK(other == NULL);
}

void test_handles(orkestr_client* client, orkestr_sandbox* sandbox) {
  orkestr_client* other = NULL;
  orkestr_sandbox *again = NULL, *none = NULL;
  orkestr_value* info = NULL;
  orkestr_operation* operation;
  orkestr_stream* stream = NULL;
  orkestr_command* command = NULL;

  /* Of another type. */
  CLIENT_CALLS((orkestr_client*)sandbox, "client is a handle of another");
  SANDBOX_CALLS((orkestr_sandbox*)client, "sandbox is a handle of another");
  FILES_CALLS((orkestr_sandbox*)client, "sandbox is a handle of another");
  COMMAND_CALLS((orkestr_command*)client, "command is a handle of another");
  STREAM_CALLS((orkestr_stream*)client, "stream is a handle of another");
  OPERATION_CALLS((orkestr_operation*)client, "operation is a handle of another");
  orkestr_client_free((orkestr_client*)sandbox);

  /* Freed, and freed twice. */
  OK(orkestr_client_open(NULL, &other, &error));
  orkestr_client_free(other);
  CLIENT_CALLS(other, "client was freed");
  orkestr_client_free(other);
  OK(orkestr_await_sandbox(orkestr_sandbox_get(client, orkestr_sandbox_id(sandbox)), WAIT_MS, &again, &error));
  orkestr_sandbox_free(again);
  SANDBOX_CALLS(again, "sandbox was freed");
  orkestr_sandbox_free(again);
  OK(orkestr_await_sandbox(orkestr_sandbox_get(client, orkestr_sandbox_id(sandbox)), WAIT_MS, &again, &error));
  orkestr_sandbox_free(again);
  FILES_CALLS(again, "sandbox was freed");
  OK(orkestr_await_command(orkestr_sandbox_start(sandbox, "true", NULL), WAIT_MS, &command, &error));
  WORKS(orkestr_command_wait(command, ORKESTR_FOREVER));
  orkestr_command_free(command);
  COMMAND_CALLS(command, "command was freed");
  orkestr_command_free(command);
  OK(orkestr_sandbox_exec_stream(sandbox, "true", NULL, &stream, &error));
  orkestr_stream_free(stream);
  STREAM_CALLS(stream, "stream was freed");
  orkestr_stream_free(stream);
  operation = orkestr_sandbox_exec(sandbox, "true", NULL);
  WORKS(operation);
  OPERATION_CALLS(operation, "operation was freed");
  orkestr_operation_free(operation);
  OK(orkestr_sandbox_info(sandbox, &info, &error));
  orkestr_value_free((orkestr_value*)orkestr_value_at(info, NULL, 0)); /* borrowed: stays */
  IS_TEXT(info, "status", "running");
  orkestr_value_free(info);
  CHECK(orkestr_value_type(info, NULL) == ORKESTR_TYPE_NONE);
  CHECK(strcmp(orkestr_value_text(info, "status"), "") == 0);
  orkestr_value_free(info);

  /* A client that is closed, with its sandboxes. */
  OK(orkestr_client_open(NULL, &other, &error));
  OK(orkestr_await_sandbox(orkestr_sandbox_get(other, orkestr_sandbox_id(sandbox)), WAIT_MS, &again, &error));
  operation = orkestr_sandbox_exec(again, "sleep 100", NULL);
  OK(orkestr_client_close(other, &error));
  OK(orkestr_client_close(other, &error));
  FAILS(operation, ORKESTR_CANCELLED, "");
  REFUSED(ORKESTR_NOT_READY, "closed",
          orkestr_await_sandbox(orkestr_sandbox_get(other, "sbx_1"), WAIT_MS, &none, &error));
  FAILS(orkestr_host_gc(other), ORKESTR_NOT_READY, "closed");
  orkestr_client_free(other);
  orkestr_sandbox_free(again);
}
