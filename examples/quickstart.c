/* Runs untrusted code in a throwaway Linux computer of its own, from C.
 *
 *   cc quickstart.c $(pkg-config --cflags --libs orkestr)
 *
 * expect: 499999500000
 */
#include <orkestr/orkestr.h>
#include <stdio.h>
#include <string.h>

static int failed(orkestr_error* error) {
  fprintf(stderr, "%s: %s\n", orkestr_status_name(orkestr_error_status(error)), orkestr_error_message(error));
  orkestr_error_free(error);
  return 1;
}

static int run(orkestr_sandbox* sandbox) {
  static const char script[] = "print(sum(range(1_000_000)))\n";
  orkestr_value* result = NULL;
  orkestr_error* error = NULL;

  orkestr_operation* write = orkestr_files_write(sandbox, "/workspace/main.py", script, strlen(script), 0);
  if (orkestr_await(write, ORKESTR_FOREVER, NULL, &error) != ORKESTR_OK) return failed(error);

  orkestr_operation* exec = orkestr_sandbox_exec(sandbox, "python3 main.py", NULL);
  if (orkestr_await(exec, ORKESTR_FOREVER, &result, &error) != ORKESTR_OK) return failed(error);
  printf("stdout       %s", orkestr_value_text(result, "stdout"));
  printf("duration_ms  %lld\n", (long long)orkestr_value_integer(result, "duration_ms"));
  orkestr_value_free(result);
  return 0;
}

int main(void) {
  orkestr_client* client = NULL;
  orkestr_sandbox* sandbox = NULL;
  orkestr_error* error = NULL;
  orkestr_create_options options = ORKESTR_CREATE_OPTIONS_INIT;
  int status = 0;

  options.template_name = "python-3.12-bare";
  if (orkestr_client_open(NULL, &client, &error) != ORKESTR_OK) return failed(error);
  orkestr_operation* create = orkestr_sandbox_create(client, &options);
  if (orkestr_await_sandbox(create, ORKESTR_FOREVER, &sandbox, &error) != ORKESTR_OK) {
    status = failed(error);
  } else {
    status = run(sandbox);
    if (orkestr_await(orkestr_sandbox_terminate(sandbox), ORKESTR_FOREVER, NULL, &error) != ORKESTR_OK) {
      status = failed(error);
    }
  }
  orkestr_sandbox_free(sandbox);
  orkestr_client_free(client);
  return status;
}
