#include "check.h"

#include <unistd.h>

int checks = 0, failures = 0;

int check(int good, const char* what, const char* file, int line) {
  ++checks;
  if (!good) {
    ++failures;
    printf("%s:%d: FAILED: %s\n", file, line, what);
    fflush(stdout);
  }
  return good;
}

static void told(const char* what, orkestr_status status, orkestr_error* error) {
  printf("  %s: %s: %s\n", what, orkestr_status_name(status), orkestr_error_message(error));
}

orkestr_value* gives(orkestr_operation* operation, const char* file, int line) {
  orkestr_value* value = NULL;
  orkestr_error* error = NULL;
  const orkestr_status status = orkestr_await(operation, WAIT_MS, &value, &error);
  if (!check(status == ORKESTR_OK, "the operation succeeds", file, line)) told("but", status, error);
  orkestr_error_free(error);
  return value;
}

void fails(orkestr_operation* operation, orkestr_status status, const char* text, const char* file, int line) {
  orkestr_value* value = (orkestr_value*)&checks;
  orkestr_error* error = NULL;
  const orkestr_status got = orkestr_await(operation, WAIT_MS, &value, &error);
  check(value == NULL, "no value beside an error", file, line);
  refused(got, status, text, error, file, line);
}

void refused(orkestr_status got, orkestr_status status, const char* text, orkestr_error* error, const char* file,
             int line) {
  if (!check(got == status, "the status is as expected", file, line)) told("instead", got, error);
  check((got > 0) == (error != NULL), "an error object with an error, and only then", file, line);
  if (error != NULL) {
    check(orkestr_error_status(error) == got, "the error has the status of the call", file, line);
    if (!check(strstr(orkestr_error_message(error), text) != NULL, text, file, line)) told("not in", got, error);
    check(orkestr_error_hint(error)[0] != '\0', "a hint", file, line);
    check(strcmp(orkestr_value_text(orkestr_error_details(error), "code"), orkestr_status_name(got)) == 0,
          "code and status have one name", file, line);
  }
  orkestr_error_free(error);
}

void has_fields(const orkestr_value* value, const char* fields, const char* file, int line) {
  char name[64];
  int length = 0, known = 0;
  size_t i;
  for (; sscanf(fields, " %63s%n", name, &length) == 1; fields += length, ++known) {
    check(orkestr_value_type(value, name) != ORKESTR_TYPE_NONE, name, file, line);
  }
  check(orkestr_value_count(value, NULL) == (size_t)known, "no field more", file, line);
  for (i = 0; i < orkestr_value_count(value, NULL); ++i) {
    check(orkestr_value_at(value, NULL, i) != NULL && orkestr_value_name(value, NULL, i) != NULL, "a name", file, line);
  }
}

static char home_before[4096], home[64];

void enter_home(void) {
  snprintf(home_before, sizeof home_before, "%s", getenv("ORKESTR_HOME"));
  snprintf(home, sizeof home, "/tmp/orkestr-test-home-XXXXXX");
  CHECK(mkdtemp(home) != NULL && setenv("ORKESTR_HOME", home, 1) == 0);
}

void leave_home(void) {
  char line[128];
  CHECK(setenv("ORKESTR_HOME", home_before, 1) == 0);
  snprintf(line, sizeof line, "rm -r %s", home);
  CHECK(system(line) == 0);
}

static void part(const char* name, void (*test)(orkestr_client*, orkestr_sandbox*), orkestr_client* client,
                 orkestr_sandbox* sandbox) {
  const int before = checks, failed = failures;
  test(client, sandbox);
  printf("%-12s %d checks, %d failed\n", name, checks - before, failures - failed);
  fflush(stdout);
}

int run_all(void) {
  orkestr_client* client = NULL;
  orkestr_sandbox* sandbox = NULL;
  orkestr_client_options options = ORKESTR_CLIENT_OPTIONS_INIT;
  orkestr_create_options create = ORKESTR_CREATE_OPTIONS_INIT;
  orkestr_pair label = {"part", "capi"};

  test_values();
  options.backend = "local";
  create.template_name = "python-3.12-bare";
  create.metadata = &label;
  create.metadata_count = 1;
  OK(orkestr_client_open(&options, &client, &error));
  CHECK(strcmp(orkestr_client_backend(client), "local") == 0);
  OK(orkestr_await_sandbox(orkestr_sandbox_create(client, &create), WAIT_MS, &sandbox, &error));
  if (sandbox != NULL) {
    part("arguments", test_arguments, client, sandbox);
    part("options", test_options, client, sandbox);
    part("handles", test_handles, client, sandbox);
    part("operations", test_operations, client, sandbox);
    part("callbacks", test_callbacks, client, sandbox);
    part("exec", test_exec, client, sandbox);
    part("streams", test_streams, client, sandbox);
    part("background", test_background, client, sandbox);
    part("code", test_code, client, sandbox);
    part("files", test_files, client, sandbox);
    part("volume", test_volume, client, sandbox);
    part("account", test_account, client, sandbox);
    part("host", test_host, client, sandbox);
    part("wait", test_wait, client, sandbox);
    part("progress", test_progress, client, sandbox);
    part("close", test_close, client, sandbox);
    part("fork", test_fork, client, sandbox);
    part("life", test_life, client, sandbox); /* ends the sandbox */
  }
  orkestr_client_free(client);
  orkestr_sandbox_free(sandbox); /* after its client */
  printf("%d checks, %d failed\n", checks, failures);
  return failures;
}
