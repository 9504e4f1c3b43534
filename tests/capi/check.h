/* What the parts of the test program share. A failed check is told and counted; the program goes on. */
#ifndef CHECK_H
#define CHECK_H

#include <orkestr/orkestr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_MS 120000

extern int checks, failures;

#define CHECK(condition) check((condition) != 0, #condition, __FILE__, __LINE__)
int check(int good, const char* what, const char* file, int line);

/* The value that the operation gives; NULL, and a failed check, when it fails. */
#define GIVES(operation) gives((operation), __FILE__, __LINE__)
orkestr_value* gives(orkestr_operation* operation, const char* file, int line);
/* For an operation that gives nothing, or what nobody needs. */
#define WORKS(operation) orkestr_value_free(GIVES(operation))

/* The operation fails with `status`, and a message that contains `text`. */
#define FAILS(operation, status, text) fails((operation), (status), (text), __FILE__, __LINE__)
void fails(orkestr_operation* operation, orkestr_status status, const char* text, const char* file, int line);

/* The same for a function that gives a status: REFUSED(status, text, orkestr_…(…, &error)). */
#define REFUSED(status, text, expression)                       \
  do {                                                          \
    orkestr_error* error = NULL;                                \
    const orkestr_status got_ = (expression);                   \
    refused(got_, (status), (text), error, __FILE__, __LINE__); \
  } while (0)
void refused(orkestr_status got, orkestr_status status, const char* text, orkestr_error* error, const char* file,
             int line);
/* And one that succeeds. */
#define OK(expression) REFUSED(ORKESTR_OK, "", expression)

#define IS_TEXT(value, field, text) CHECK(strcmp(orkestr_value_text((value), (field)), (text)) == 0)
/* Every name in `fields` ("a b c") is a field of the record. */
#define HAS_FIELDS(value, fields) has_fields((value), (fields), __FILE__, __LINE__)
void has_fields(const orkestr_value* value, const char* fields, const char* file, int line);

/* A place of its own for templates (ORKESTR_HOME), in which this recipe is not built. */
#define SMALL_RECIPE \
  "{\"name\": \"small\", \"parts\": [{\"source\": \"debian\", \"suite\": \"bookworm\", \"packages\": [\"bash\"]}]}"
void enter_home(void);
/* Back; nothing may be building there any more. */
void leave_home(void);

/* The parts. `sandbox` runs and is the test's own. */
void test_values(void);
void test_arguments(orkestr_client* client, orkestr_sandbox* sandbox);
void test_options(orkestr_client* client, orkestr_sandbox* sandbox);
void test_handles(orkestr_client* client, orkestr_sandbox* sandbox);
void test_operations(orkestr_client* client, orkestr_sandbox* sandbox);
void test_callbacks(orkestr_client* client, orkestr_sandbox* sandbox);
void test_exec(orkestr_client* client, orkestr_sandbox* sandbox);
void test_streams(orkestr_client* client, orkestr_sandbox* sandbox);
void test_background(orkestr_client* client, orkestr_sandbox* sandbox);
void test_files(orkestr_client* client, orkestr_sandbox* sandbox);
void test_volume(orkestr_client* client, orkestr_sandbox* sandbox);
void test_progress(orkestr_client* client, orkestr_sandbox* sandbox);
void test_close(orkestr_client* client, orkestr_sandbox* sandbox);
void test_wait(orkestr_client* client, orkestr_sandbox* sandbox);
void test_code(orkestr_client* client, orkestr_sandbox* sandbox);
void test_account(orkestr_client* client, orkestr_sandbox* sandbox);
void test_host(orkestr_client* client, orkestr_sandbox* sandbox);
void test_fork(orkestr_client* client, orkestr_sandbox* sandbox);
void test_life(orkestr_client* client, orkestr_sandbox* sandbox);

/* What test_progress() starts as a process of its own; how many checks failed. */
int progress_of_create(void);

/* All of it; how many checks failed. */
int run_all(void);

#endif
