/* The C driver of the parity suite: a call a line on standard input, its answer a line on standard output; see
 * README.md. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "answer.h"
#include "call.h"
#include "code.h"
#include "handles.h"

/* --- Answers of each kind */

static void sandbox_of(orkestr_operation* operation) {
  orkestr_sandbox* sandbox = NULL;
  orkestr_value* info = NULL;
  orkestr_error* error = NULL;
  if (orkestr_await_sandbox(operation, ORKESTR_FOREVER, &sandbox, &error) != ORKESTR_OK) {
    answer_error(error);
    return;
  }
  orkestr_sandbox_info(sandbox, &info, NULL);
  answer_value(info, keep(kSandbox, sandbox));
}

static void command_of(orkestr_operation* operation) {
  orkestr_command* command = NULL;
  orkestr_value* info = NULL;
  orkestr_error* error = NULL;
  if (orkestr_await_command(operation, ORKESTR_FOREVER, &command, &error) != ORKESTR_OK) {
    answer_error(error);
    return;
  }
  orkestr_command_info(command, &info, NULL);
  answer_value(info, keep(kCommand, command));
}

/* --- Options. Arrays are freed with the process: a driver lives for one run. */

static orkestr_create_options create_options(const struct call* call) {
  orkestr_create_options options = ORKESTR_CREATE_OPTIONS_INIT;
  options.template_name = get_text(call, "template");
  options.snapshot = get_text(call, "snapshot");
  options.machine_size = get_text(call, "size");
  options.cpu = get_number(call, "cpu");
  options.memory_mb = (int)get_integer(call, "memory_mb");
  options.disk_mb = (int)get_integer(call, "disk_mb");
  options.network = get_text(call, "network");
  options.timeout_ms = get_seconds(call, "timeout_seconds");
  options.on_timeout = get_text(call, "on_timeout");
  options.auto_resume = get_flag(call, "auto_resume", 0);
  options.paused_ttl_ms = get_seconds(call, "paused_ttl_seconds");
  options.preview_auth = get_flag(call, "preview_auth", 0);
  options.env = get_map(call, "env", &options.env_count);
  options.metadata = get_map(call, "metadata", &options.metadata_count);
  options.region = get_text(call, "region");
  options.allow_domains = get_list(call, "allow_domains", &options.allow_domains_count);
  if (options.allow_domains_count == 0 && get(call, "allow_domains") == NULL) options.allow_domains = NULL;
  options.volume = get_text(call, "volume");
  options.no_auto_build = !get_flag(call, "auto_build", 1);
  return options;
}

/* 0 retries are -1 in C. */
static int retries(const struct call* call) {
  const struct argument* given = get(call, "max_retries");
  const int value = given == NULL ? 0 : atoi(given->value);
  if (value == -1) impossible("-1 means no retries in C");
  return given != NULL && value == 0 ? -1 : value;
}

static orkestr_exec_options exec_options(const struct call* call) {
  orkestr_exec_options options = ORKESTR_EXEC_OPTIONS_INIT;
  const struct argument* input = get(call, "stdin");
  options.cwd = get_text(call, "cwd");
  options.env = get_map(call, "env", &options.env_count);
  options.timeout_ms = get_integer(call, "timeout_ms");
  options.user = get_text(call, "user");
  if (input != NULL) options.stdin_data = input->value;
  if (input != NULL) options.stdin_length = input->length;
  options.stdin_open = get_flag(call, "stdin_open", 0);
  options.tty = get_flag(call, "tty", 0);
  options.cols = (int)get_integer(call, "cols");
  options.rows = (int)get_integer(call, "rows");
  options.max_output_bytes = (size_t)get_integer(call, "max_output_bytes");
  return options;
}

/* --- Calls that are more than one line */

static void client_open(const struct call* call) {
  orkestr_client_options options = ORKESTR_CLIENT_OPTIONS_INIT;
  orkestr_client* client = NULL;
  orkestr_error* error = NULL;
  const char* backend;
  options.backend = get_text(call, "backend");
  options.api_key = get_text(call, "api_key");
  options.base_url = get_text(call, "base_url");
  options.timeout_ms = get_seconds(call, "timeout_seconds");
  if (orkestr_client_open(&options, &client, &error) != ORKESTR_OK) {
    answer_error(error);
    return;
  }
  backend = orkestr_client_backend(client);
  fputs("{\"value\": {\"backend\": ", stdout);
  put_text(backend, strlen(backend));
  printf("}, \"handle\": %d}\n", keep(kClient, client));
}

static void sandbox_list(const struct call* call) {
  orkestr_list_options options = ORKESTR_LIST_OPTIONS_INIT;
  options.status = get_text(call, "status");
  options.metadata = get_map(call, "metadata", &options.metadata_count);
  options.limit = (int)get_integer(call, "limit");
  options.max_results = (size_t)get_integer(call, "max_results");
  value_of(orkestr_sandbox_list(client_of(call), &options));
}

struct buffer {
  char* data;
  size_t length;
};
static void append(struct buffer* buffer, const char* data, size_t length) {
  buffer->data = realloc(buffer->data, buffer->length + length + 1);
  memcpy(buffer->data + buffer->length, data, length);
  buffer->length += length;
  buffer->data[buffer->length] = '\0';
}
static int contains(const struct buffer* buffer, const struct argument* until) {
  size_t i;
  if (until == NULL || until->length == 0) return 0;
  for (i = 0; i + until->length <= buffer->length; ++i) {
    if (memcmp(buffer->data + i, until->value, until->length) == 0) return 1;
  }
  return 0;
}

static void stream_read(const struct call* call) {
  struct buffer out = {NULL, 0}, err = {NULL, 0};
  const struct argument* until = get(call, "until");
  orkestr_value *piece = NULL, *final = NULL;
  orkestr_error* error = NULL;
  orkestr_status status = ORKESTR_OK;
  while (!contains(&out, until)) {
    size_t length = 0;
    const char* data;
    status = orkestr_stream_next(on(call), ORKESTR_FOREVER, &piece, &error);
    if (status != ORKESTR_OK) break;
    data = orkestr_value_bytes(piece, "data", &length);
    append(strcmp(orkestr_value_text(piece, "stream"), "stdout") == 0 ? &out : &err, data, length);
    if (orkestr_value_type(piece, "exit_code") == ORKESTR_TYPE_INTEGER) {
      final = piece;
    } else {
      orkestr_value_free(piece);
    }
  }
  if (status > 0) {
    answer_error(error);
  } else {
    fputs("{\"value\": {\"stdout\": ", stdout);
    put_hex(out.data, out.length);
    fputs(", \"stderr\": ", stdout);
    put_hex(err.data, err.length);
    if (final == NULL) {
      puts(", \"exit_code\": null, \"duration_ms\": null}}");
    } else {
      printf(", \"exit_code\": %lld, \"duration_ms\": %lld}}\n", (long long)orkestr_value_integer(final, "exit_code"),
             (long long)orkestr_value_integer(final, "duration_ms"));
    }
  }
  orkestr_value_free(final);
  free(out.data);
  free(err.data);
}

static void stream_write(const struct call* call) {
  const struct argument *data = get(call, "data"), *timeout = get(call, "timeout_ms");
  size_t sent = 0, written = 0;
  orkestr_error* error = NULL;
  orkestr_status status;
  do {
    status =
        orkestr_stream_write(on(call), data->value + sent, data->length - sent,
                             timeout == NULL ? ORKESTR_FOREVER : strtoll(timeout->value, NULL, 10), &written, &error);
    sent += written;
  } while (status == ORKESTR_OK && sent < data->length);
  if (status == ORKESTR_AGAIN) impossible("a write that took too long is ORKESTR_AGAIN in C, and no error");
  nothing(status, error);
}

static void files_read_stream(const struct call* call) {
  struct buffer all = {NULL, 0};
  orkestr_stream* stream = NULL;
  orkestr_value* piece = NULL;
  orkestr_error* error = NULL;
  orkestr_status status = orkestr_files_read_stream(on(call), get_text(call, "path"), &stream, &error);
  while (status == ORKESTR_OK) {
    size_t length = 0;
    const char* data;
    status = orkestr_stream_next(stream, ORKESTR_FOREVER, &piece, &error);
    if (status != ORKESTR_OK) break;
    data = orkestr_value_bytes(piece, "data", &length);
    append(&all, data, length);
    orkestr_value_free(piece);
  }
  orkestr_stream_free(stream);
  if (status == ORKESTR_END) {
    fputs("{\"value\": ", stdout);
    put_hex(all.data, all.length);
    puts("}");
  } else {
    answer_error(error);
  }
  free(all.data);
}

static void files_write_stream(const struct call* call) {
  size_t count = 0, i;
  const struct argument** pieces = get_items(call, "pieces", &count);
  const int mode = (int)get_integer(call, "mode");
  orkestr_stream* stream = NULL;
  orkestr_error* error = NULL;
  orkestr_status status = orkestr_files_write_stream(on(call), get_text(call, "path"), mode, &stream, &error);
  for (i = 0; i < count && status == ORKESTR_OK; ++i) {
    size_t sent = 0, written = 0;
    while (status == ORKESTR_OK && sent < pieces[i]->length) {
      status = orkestr_stream_write(stream, pieces[i]->value + sent, pieces[i]->length - sent, ORKESTR_FOREVER,
                                    &written, &error);
      sent += written;
    }
  }
  if (status == ORKESTR_OK && get_flag(call, "finish", 1))
    status = orkestr_stream_finish(stream, ORKESTR_FOREVER, &error);
  orkestr_stream_free(stream);
  free(pieces);
  nothing(status, error);
}

static void files_write_batch(const struct call* call) {
  size_t count = 0, contents = 0, i;
  const char** paths = get_list(call, "paths", &count);
  const struct argument** items = get_items(call, "contents", &contents);
  orkestr_file* files = calloc(count + 1, sizeof *files);
  for (i = 0; i < count && i < contents; ++i) {
    files[i].path = paths[i];
    files[i].content = items[i]->value;
    files[i].length = items[i]->length;
  }
  value_of(orkestr_files_write_batch(on(call), files, count));
  free(paths);
  free(items);
  free(files);
}

static int64_t since(const struct call* call) { return get_integer(call, "since"); }
static const char* path(const struct call* call) { return get_text(call, "path"); }

static void sandbox_call(const struct call* call) {
  orkestr_stream* stream = NULL;
  orkestr_error* error = NULL;
  if (is(call, "sandbox.create")) {
    orkestr_create_options options = create_options(call);
    options.max_retries = retries(call);
    options.retry_max_ms = get_seconds(call, "retry_max_seconds");
    sandbox_of(orkestr_sandbox_create(client_of(call), &options));
  } else if (is(call, "sandbox.get")) {
    sandbox_of(orkestr_sandbox_get(client_of(call), get_text(call, "sandbox_id")));
  } else if (is(call, "sandbox.resume")) {
    orkestr_resume_options options = ORKESTR_RESUME_OPTIONS_INIT;
    options.max_retries = retries(call);
    options.retry_max_ms = get_seconds(call, "retry_max_seconds");
    sandbox_of(orkestr_sandbox_resume(client_of(call), get_text(call, "sandbox_id"), &options));
  } else if (is(call, "sandbox.list")) {
    sandbox_list(call);
  } else if (is(call, "sandbox.limits")) {
    value_of(orkestr_client_limits(client_of(call)));
  } else if (is(call, "sandbox.refresh")) {
    value_of(orkestr_sandbox_refresh(on(call)));
  } else if (is(call, "sandbox.exec")) {
    orkestr_exec_options options = exec_options(call);
    value_of(orkestr_sandbox_exec(on(call), get_text(call, "command"), &options));
  } else if (is(call, "sandbox.run")) {
    orkestr_exec_options options = exec_options(call);
    size_t argc = 0;
    const char** argv = get_list(call, "argv", &argc);
    value_of(orkestr_sandbox_run(on(call), argv, argc, &options));
    free(argv);
  } else if (is(call, "sandbox.exec_stream")) {
    orkestr_exec_options options = exec_options(call);
    const char* command = get_text(call, "command");
    const orkestr_status status = orkestr_sandbox_exec_stream(on(call), command, &options, &stream, &error);
    stream_of(status, stream, error);
  } else if (is(call, "sandbox.start")) {
    orkestr_exec_options options = exec_options(call);
    command_of(orkestr_sandbox_start(on(call), get_text(call, "command"), &options));
  } else if (is(call, "sandbox.commands")) {
    value_of(orkestr_sandbox_commands(on(call)));
  } else if (is(call, "sandbox.command")) {
    command_of(orkestr_sandbox_command(on(call), get_text(call, "command_id")));
  } else if (is(call, "sandbox.events")) {
    value_of(orkestr_sandbox_events(on(call), since(call), 0));
  } else if (is(call, "sandbox.pause")) {
    value_of(orkestr_sandbox_pause(on(call)));
  } else if (is(call, "sandbox.set_timeout")) {
    const struct argument* seconds = get(call, "timeout_seconds");
    value_of(orkestr_sandbox_set_timeout(on(call), strtoll(seconds->value, NULL, 10) * 1000));
  } else if (is(call, "sandbox.metrics")) {
    value_of(orkestr_sandbox_metrics(on(call), since(call)));
  } else if (is(call, "sandbox.snapshot")) {
    value_of(orkestr_sandbox_snapshot(on(call), get_text(call, "name")));
  } else if (is(call, "sandbox.get_host")) {
    value_of(orkestr_sandbox_get_host(on(call), atoi(get(call, "port")->value)));
  } else if (is(call, "sandbox.terminate")) {
    value_of(orkestr_sandbox_terminate(on(call)));
  } else {
    impossible("this call is not known to the C driver");
  }
}

static void stream_call(const struct call* call) {
  orkestr_error* error = NULL;
  orkestr_status status = ORKESTR_OK;
  if (is(call, "stream.read")) {
    stream_read(call);
    return;
  }
  if (is(call, "stream.write")) {
    stream_write(call);
    return;
  }
  if (is(call, "stream.close_input")) status = orkestr_stream_finish(on(call), ORKESTR_FOREVER, &error);
  if (is(call, "stream.cancel")) status = orkestr_stream_cancel(on(call), &error);
  if (is(call, "stream.close")) release(call);
  if (is(call, "stream.resize")) {
    const struct argument *cols = get(call, "cols"), *rows = get(call, "rows");
    status = orkestr_stream_resize(on(call), cols == NULL ? 80 : atoi(cols->value),
                                   rows == NULL ? 24 : atoi(rows->value), &error);
  }
  nothing(status, error);
}

static void command_call(const struct call* call) {
  const struct argument *offset = get(call, "offset"), *timeout = get(call, "timeout_ms");
  const uint64_t from = offset == NULL ? 0 : strtoull(offset->value, NULL, 10);
  if (is(call, "command.refresh")) value_of(orkestr_command_refresh(on(call)));
  if (is(call, "command.kill")) value_of(orkestr_command_kill(on(call)));
  if (is(call, "command.logs")) value_of(orkestr_command_logs(on(call), from));
  if (is(call, "command.wait")) {
    value_of(orkestr_command_wait(on(call), timeout == NULL ? ORKESTR_FOREVER : strtoll(timeout->value, NULL, 10)));
  }
  if (is(call, "command.stream")) {
    orkestr_stream* stream = NULL;
    orkestr_error* error = NULL;
    const int64_t timeout_ms = get_seconds(call, "timeout_seconds");
    const orkestr_status status = orkestr_command_stream(on(call), from, timeout_ms, &stream, &error);
    stream_of(status, stream, error);
  }
}

static void files_call(const struct call* call) {
  if (is(call, "files.read")) value_of(orkestr_files_read(on(call), path(call)));
  if (is(call, "files.write")) {
    const struct argument* content = get(call, "content");
    const int mode = (int)get_integer(call, "mode");
    value_of(orkestr_files_write(on(call), path(call), content->value, content->length, mode));
  }
  if (is(call, "files.read_stream")) files_read_stream(call);
  if (is(call, "files.write_stream")) files_write_stream(call);
  if (is(call, "files.list")) value_of(orkestr_files_list(on(call), path(call)));
  if (is(call, "files.stat")) value_of(orkestr_files_stat(on(call), path(call)));
  if (is(call, "files.exists")) value_of(orkestr_files_exists(on(call), path(call)));
  if (is(call, "files.delete")) value_of(orkestr_files_remove(on(call), path(call)));
  if (is(call, "files.mkdir")) value_of(orkestr_files_mkdir(on(call), path(call), get_flag(call, "parents", 1)));
  if (is(call, "files.move")) {
    value_of(orkestr_files_move(on(call), get_text(call, "source"), get_text(call, "destination")));
  }
  if (is(call, "files.write_batch")) files_write_batch(call);
  if (is(call, "files.presign_download")) {
    value_of(orkestr_files_presign_download(on(call), path(call), get_seconds(call, "expires_in_seconds")));
  }
  if (is(call, "files.presign_upload")) {
    value_of(orkestr_files_presign_upload(on(call), path(call), get_seconds(call, "expires_in_seconds")));
  }
}

static void account_call(const struct call* call) {
  const char* id = get_text(call, "volume_id") != NULL ? get_text(call, "volume_id") : get_text(call, "webhook_id");
  const char* no_end = get_text(call, "no_end");
  size_t count = 0;
  if (is(call, "volume.create")) {
    orkestr_volume_options options = ORKESTR_VOLUME_OPTIONS_INIT;
    options.size_gb = get_number(call, "size_gb");
    options.region = get_text(call, "region");
    options.max_lifetime_days = (int)get_integer(call, "max_lifetime_days");
    options.max_lifetime_hours = (int)get_integer(call, "max_lifetime_hours");
    value_of(orkestr_volume_create(client_of(call), get_text(call, "name"), &options));
  } else if (is(call, "volume.list")) {
    value_of(orkestr_volume_list(client_of(call)));
  } else if (is(call, "volume.update") && no_end != NULL) {
    const int hours = strcmp(no_end, "hours") == 0;
    value_of(orkestr_volume_update(client_of(call), id, hours ? 0 : -1, hours ? -1 : 0));
  } else if (is(call, "volume.update")) {
    value_of(orkestr_volume_update(client_of(call), id, (int)get_integer(call, "max_lifetime_days"),
                                   (int)get_integer(call, "max_lifetime_hours")));
  } else if (is(call, "volume.move")) {
    value_of(orkestr_volume_move(client_of(call), id, get_text(call, "region")));
  } else if (is(call, "volume.delete")) {
    value_of(orkestr_volume_remove(client_of(call), id));
  } else if (is(call, "webhook.create")) {
    const char* const* types = get_list(call, "event_types", &count);
    value_of(orkestr_webhook_create(client_of(call), get_text(call, "url"), count > 0 ? types : NULL, count));
  } else if (is(call, "webhook.list")) {
    value_of(orkestr_webhook_list(client_of(call)));
  } else if (is(call, "webhook.enable")) {
    value_of(orkestr_webhook_enable(client_of(call), id));
  } else if (is(call, "webhook.delete")) {
    value_of(orkestr_webhook_remove(client_of(call), id));
  } else {
    const char* body = get_text(call, "body");
    printf("{\"value\": %s}\n",
           orkestr_verify_webhook_signature(get_text(call, "secret"), body, strlen(body), get_text(call, "signature"))
               ? "true"
               : "false");
  }
}

static orkestr_template_options template_options(const struct call* call) {
  orkestr_template_options options = ORKESTR_TEMPLATE_OPTIONS_INIT;
  options.force = get_flag(call, "force", 0);
  options.recipe = get_text(call, "recipe");
  options.machine_size = get_text(call, "size");
  options.cpu = get_number(call, "cpu");
  options.memory_mb = (int)get_integer(call, "memory_mb");
  options.disk_mb = (int)get_integer(call, "disk_mb");
  return options;
}

static void template_call(const struct call* call) {
  orkestr_template_options options = template_options(call);
  const char* name = get_text(call, "name");
  if (is(call, "template.build")) value_of(orkestr_template_build(client_of(call), name, &options));
  if (is(call, "template.prepare")) value_of(orkestr_template_prepare(client_of(call), name, &options));
  if (is(call, "template.remove")) value_of(orkestr_template_remove(client_of(call), name));
  if (is(call, "template.list")) value_of(orkestr_template_list(client_of(call)));
  if (is(call, "template.inspect")) value_of(orkestr_template_inspect(client_of(call), name));
}

static void pool_call(const struct call* call) {
  if (is(call, "pool.set")) {
    orkestr_pool_options options = ORKESTR_POOL_OPTIONS_INIT;
    options.template_name = get_text(call, "template");
    options.count = (int)get_integer(call, "count");
    options.machine_size = get_text(call, "size");
    options.cpu = get_number(call, "cpu");
    options.memory_mb = (int)get_integer(call, "memory_mb");
    options.disk_mb = (int)get_integer(call, "disk_mb");
    options.idle_timeout_ms = get_seconds(call, "idle_seconds");
    options.min_available_mb = (int)get_integer(call, "min_available_mb");
    value_of(orkestr_pool_set(client_of(call), &options));
  }
  if (is(call, "pool.list")) value_of(orkestr_pool_list(client_of(call)));
  if (is(call, "pool.clear")) value_of(orkestr_pool_clear(client_of(call), get_text(call, "template")));
}

static void other_call(const struct call* call) {
  orkestr_error* error = NULL;
  if (is(call, "version")) {
    fputs("{\"value\": ", stdout);
    put_text(orkestr_version(), strlen(orkestr_version()));
    puts("}");
  } else if (is(call, "release")) {
    release(call);
    answer_value(NULL, 0);
  } else if (is(call, "client.open")) {
    client_open(call);
  } else if (is(call, "client.close")) {
    const orkestr_status status = orkestr_client_close(on(call), &error);
    nothing(status, error);
  } else if (is(call, "snapshot.list")) {
    value_of(orkestr_snapshot_list(client_of(call)));
  } else if (is(call, "snapshot.get")) {
    value_of(orkestr_snapshot_get(client_of(call), get_text(call, "snapshot_id")));
  } else if (is(call, "snapshot.delete")) {
    value_of(orkestr_snapshot_remove(client_of(call), get_text(call, "snapshot_id")));
  } else {
    impossible("this call is not known to the C driver");
  }
}

static void make(const struct call* call) {
  if (is_code_call(call)) {
    code_call(call);
  } else if (strncmp(call->name, "sandbox.", 8) == 0) {
    sandbox_call(call);
  } else if (strncmp(call->name, "stream.", 7) == 0) {
    stream_call(call);
  } else if (strncmp(call->name, "command.", 8) == 0) {
    command_call(call);
  } else if (strncmp(call->name, "files.", 6) == 0) {
    files_call(call);
  } else if (strncmp(call->name, "volume.", 7) == 0 || strncmp(call->name, "webhook.", 8) == 0) {
    account_call(call);
  } else if (strncmp(call->name, "template.", 9) == 0) {
    template_call(call);
  } else if (strncmp(call->name, "pool.", 5) == 0) {
    pool_call(call);
  } else {
    other_call(call);
  }
}

int main(void) {
  char* line = NULL;
  size_t size = 0;
  ssize_t length;
  while ((length = getline(&line, &size, stdin)) > 0) {
    struct call call;
    line[length - 1] = '\0';
    call = parse_call(line);
    if (setjmp(impossible_jump) == 0) {
      make(&call);
    } else {
      fputs("{\"impossible\": ", stdout);
      put_text(impossible_why, strlen(impossible_why));
      puts("}");
    }
    free_call(&call);
    fflush(stdout);
  }
  free(line);
  free_default_client();
  return 0;
}
