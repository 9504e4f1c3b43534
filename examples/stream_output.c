/* Shows a command's output as it comes, from an event loop of one's own: poll() on the stream's descriptor. And the
 * same once more without a loop, by a callback.
 *
 * expect: line 3
 * expect: exit code 7
 * expect: called back: line 2
 */
#include <orkestr/orkestr.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

static const char kCommand[] = "for i in 1 2 3; do echo line $i; sleep 0.2; done; exit 7";

static int failed(orkestr_error* error) {
  fprintf(stderr, "%s: %s\n", orkestr_status_name(orkestr_error_status(error)), orkestr_error_message(error));
  orkestr_error_free(error);
  return 1;
}

/* Takes what is there, without waiting. */
static orkestr_status show(orkestr_stream* stream, const char* prefix, orkestr_error** error) {
  orkestr_value* piece = NULL;
  orkestr_status status;
  while ((status = orkestr_stream_next(stream, 0, &piece, error)) == ORKESTR_OK) {
    if (orkestr_value_type(piece, "exit_code") == ORKESTR_TYPE_INTEGER) {
      printf("%sexit code %d\n", prefix, (int)orkestr_value_integer(piece, "exit_code"));
    } else {
      size_t length = 0;
      const char* data = orkestr_value_bytes(piece, "data", &length);
      printf("%s%.*s", prefix, (int)length, data);
    }
    orkestr_value_free(piece);
  }
  return status;
}

static int by_poll(orkestr_sandbox* sandbox) {
  orkestr_stream* stream = NULL;
  orkestr_error* error = NULL;
  orkestr_status status = orkestr_sandbox_exec_stream(sandbox, kCommand, NULL, &stream, &error);
  if (status != ORKESTR_OK) return failed(error);
  do {
    struct pollfd ready = {0, POLLIN, 0};
    ready.fd = orkestr_stream_fd(stream);
    if (poll(&ready, 1, 60000) != 1) break;
    status = show(stream, "", &error);
  } while (status == ORKESTR_AGAIN);
  orkestr_stream_free(stream);
  return status == ORKESTR_END ? 0 : failed(error);
}

struct watch {
  orkestr_stream* stream;
  int done[2]; /* a pipe: the end, for who waits for it */
};

static void on_ready(void* user, orkestr_status status) {
  struct watch* watch = user;
  if (status == ORKESTR_OK) {
    show(watch->stream, "called back: ", NULL);
  } else if (write(watch->done[1], "", 1) != 1) {
    perror("write");
  }
}

static int by_callback(orkestr_sandbox* sandbox) {
  struct watch watch;
  orkestr_error* error = NULL;
  char byte;
  int status = 0;
  if (pipe(watch.done) != 0) return 1;
  if (orkestr_sandbox_exec_stream(sandbox, kCommand, NULL, &watch.stream, &error) != ORKESTR_OK) return failed(error);
  if (orkestr_stream_notify(watch.stream, on_ready, &watch, &error) != ORKESTR_OK) {
    status = failed(error);
  } else if (read(watch.done[0], &byte, 1) != 1) {
    status = 1;
  }
  orkestr_stream_free(watch.stream);
  close(watch.done[0]);
  close(watch.done[1]);
  return status;
}

int main(void) {
  orkestr_client* client = NULL;
  orkestr_sandbox* sandbox = NULL;
  orkestr_error* error = NULL;
  orkestr_create_options options = ORKESTR_CREATE_OPTIONS_INIT;
  int status = 1;

  options.template_name = "python-3.12-bare";
  if (orkestr_client_open(NULL, &client, &error) != ORKESTR_OK) return failed(error);
  if (orkestr_await_sandbox(orkestr_sandbox_create(client, &options), ORKESTR_FOREVER, &sandbox, &error) !=
      ORKESTR_OK) {
    status = failed(error);
  } else {
    status = by_poll(sandbox) || by_callback(sandbox);
    orkestr_await(orkestr_sandbox_terminate(sandbox), ORKESTR_FOREVER, NULL, NULL);
  }
  orkestr_sandbox_free(sandbox);
  orkestr_client_free(client);
  return status;
}
