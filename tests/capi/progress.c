/* Progress is told as long as somebody waits for it, and not once more. */
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define HOLD_MS 2500       /* longer than an await waits beyond its time */
#define HOLD_LONG_MS 20000 /* longer than anything waits for a callback */
#define SYSTEM_CACHE "/var/lib/orkestr/cache"

struct told {
  int reached[2], go_on[2];
  int hold_ms;        /* so long does the first call take, unless told to go on */
  int calls, running; /* the callback's */
  orkestr_operation* to_free;
};

static void on_progress(void* user, const orkestr_value* progress) {
  struct told* told = user;
  (void)progress;
  __atomic_store_n(&told->running, 1, __ATOMIC_SEQ_CST);
  if (__atomic_fetch_add(&told->calls, 1, __ATOMIC_SEQ_CST) == 0) {
    struct pollfd go_on = {0, POLLIN, 0};
    go_on.fd = told->go_on[0];
    CHECK(write(told->reached[1], "", 1) == 1);
    if (poll(&go_on, 1, told->hold_ms) == 1) orkestr_operation_free(told->to_free);
  }
  __atomic_store_n(&told->running, 0, __ATOMIC_SEQ_CST);
}

static void begin(struct told* told, orkestr_client** client, orkestr_template_options* options) {
  const orkestr_template_options init = ORKESTR_TEMPLATE_OPTIONS_INIT;
  memset(told, 0, sizeof *told);
  told->hold_ms = HOLD_MS;
  CHECK(pipe(told->reached) == 0 && pipe(told->go_on) == 0);
  enter_home();
  OK(orkestr_client_open(NULL, client, &error));
  *options = init;
  options->recipe = SMALL_RECIPE;
  options->on_progress = on_progress;
  options->progress_user = told;
}

static void await_first(struct told* told) {
  struct pollfd reached = {0, POLLIN, 0};
  reached.fd = told->reached[0];
  CHECK(poll(&reached, 1, WAIT_MS) == 1);
}

/* `user` is the caller's again, from now on. */
static void is_over(struct told* told) {
  const int running = __atomic_load_n(&told->running, __ATOMIC_SEQ_CST);
  const int calls = __atomic_load_n(&told->calls, __ATOMIC_SEQ_CST);
  CHECK(running == 0 && calls >= 1);
  usleep(1500000);
  CHECK(__atomic_load_n(&told->calls, __ATOMIC_SEQ_CST) == calls);
}

static void end(struct told* told, orkestr_client* client) {
  if (client != NULL) OK(orkestr_client_close(client, &error)); /* and with it what still builds */
  orkestr_client_free(client);
  leave_home();
  close(told->reached[0]);
  close(told->reached[1]);
  close(told->go_on[0]);
  close(told->go_on[1]);
}

/* Of a template that create() has to build first. Every template of the machine may be built, so this is a process of
 * its own, which does not see them. */
int progress_of_create(void) {
  struct told told;
  orkestr_client* client = NULL;
  orkestr_template_options unused;
  orkestr_create_options create = ORKESTR_CREATE_OPTIONS_INIT;
  orkestr_sandbox* none = NULL;
  orkestr_operation* operation;
  begin(&told, &client, &unused);
  create.template_name = "debian-12";
  create.on_progress = on_progress;
  create.progress_user = &told;
  operation = orkestr_sandbox_create(client, &create);
  await_first(&told);
  REFUSED(ORKESTR_CANCELLED, "", orkestr_await_sandbox(operation, 0, &none, &error));
  is_over(&told);
  end(&told, client);
  return failures;
}

static void test_create(void) {
  char program[4096] = "", line[8192];
  CHECK(readlink("/proc/self/exe", program, sizeof program - 1) > 0);
  snprintf(line, sizeof line,
           "unshare --mount %s sh -c 'if [ -d " SYSTEM_CACHE " ]; then mount -t tmpfs -o mode=0755 none " SYSTEM_CACHE
           " || exit 1; fi; exec \"$0\" progress-of-create' \"%s\"",
           geteuid() == 0 ? "" : "--map-root-user", program);
  CHECK(system(line) == 0);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static orkestr_operation* begin_still(struct told* told, orkestr_client** client) {
  orkestr_template_options options;
  orkestr_operation* operation;
  begin(told, client, &options);
  told->hold_ms = HOLD_LONG_MS;
  operation = orkestr_template_build(*client, NULL, &options);
  await_first(told);
  return operation;
}

/* A callback that does not return holds nobody up for ever: 5 s, and what the call itself waits. */
#define SOON(expression)         \
  do {                           \
    const double start_ = now(); \
    expression;                  \
    CHECK(now() - start_ < 8);   \
  } while (0)

static void test_standing_still(void) {
  struct told told;
  orkestr_client* client = NULL;
  orkestr_value* value = NULL;
  orkestr_operation* operation = begin_still(&told, &client);
  SOON(REFUSED(ORKESTR_CANCELLED, "", orkestr_await(operation, 0, &value, &error)));
  SOON(OK(orkestr_client_close(client, &error)));
  CHECK(__atomic_load_n(&told.running, __ATOMIC_SEQ_CST) == 1); /* all this time */
  CHECK(write(told.go_on[1], "", 1) == 1);
  end(&told, client);

  operation = begin_still(&told, &client);
  SOON(OK(orkestr_operation_cancel(operation, &error)));
  SOON(orkestr_operation_free(operation));
  SOON(orkestr_client_free(client));
  CHECK(__atomic_load_n(&told.running, __ATOMIC_SEQ_CST) == 1);
  CHECK(write(told.go_on[1], "", 1) == 1);
  while (__atomic_load_n(&told.running, __ATOMIC_SEQ_CST) != 0) usleep(1000);
  usleep(500000); /* and its work ends, before its home does */
  end(&told, NULL);
}

void test_progress(orkestr_client* unused, orkestr_sandbox* sandbox) {
  struct told told;
  orkestr_client* client = NULL;
  orkestr_template_options options;
  orkestr_value* value = NULL;
  orkestr_operation* operation;
  (void)unused;
  (void)sandbox;

  begin(&told, &client, &options);
  operation = orkestr_template_build(client, NULL, &options);
  await_first(&told);
  REFUSED(ORKESTR_CANCELLED, "", orkestr_await(operation, 0, &value, &error));
  is_over(&told);
  end(&told, client);

  begin(&told, &client, &options);
  operation = orkestr_template_prepare(client, NULL, &options);
  await_first(&told);
  OK(orkestr_operation_cancel(operation, &error));
  is_over(&told);
  FAILS(operation, ORKESTR_CANCELLED, "");
  end(&told, client);

  begin(&told, &client, &options);
  operation = orkestr_template_build(client, NULL, &options);
  await_first(&told);
  orkestr_operation_free(operation); /* the work goes on, unheard */
  is_over(&told);
  end(&told, client);

  /* From the callback itself. */
  begin(&told, &client, &options);
  told.to_free = orkestr_template_build(client, NULL, &options);
  await_first(&told);
  CHECK(write(told.go_on[1], "", 1) == 1);
  usleep(300000);
  is_over(&told);
  FAILS(told.to_free, ORKESTR_INVALID_ARGUMENT, "operation was freed");
  end(&told, client);

  test_create();
  test_standing_still();
}
