/* Progress is told as long as somebody waits for it, and not once more. */
#include <poll.h>
#include <unistd.h>

#include "check.h"

#define HOLD_US 2500000 /* longer than an await waits beyond its time */

struct told {
  int reached[2], go_on[2];
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
    if (poll(&go_on, 1, HOLD_US / 1000) == 1) orkestr_operation_free(told->to_free);
  }
  __atomic_store_n(&told->running, 0, __ATOMIC_SEQ_CST);
}

static void begin(struct told* told, orkestr_client** client, orkestr_template_options* options) {
  const orkestr_template_options init = ORKESTR_TEMPLATE_OPTIONS_INIT;
  memset(told, 0, sizeof *told);
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
  OK(orkestr_client_close(client, &error)); /* and with it what still builds */
  orkestr_client_free(client);
  leave_home();
  close(told->reached[0]);
  close(told->reached[1]);
  close(told->go_on[0]);
  close(told->go_on[1]);
}

/* A template that nobody on this machine has built. */
static const char* not_built(orkestr_client* client) {
  static const char* const names[3] = {"debian-12", "node-22", "python-3.12"};
  int i;
  for (i = 0; i < 3; ++i) {
    orkestr_value* value = GIVES(orkestr_template_inspect(client, names[i]));
    const int built = orkestr_value_integer(value, "built") == 1;
    orkestr_value_free(value);
    if (!built) return names[i];
  }
  return NULL;
}

void test_progress(orkestr_client* unused, orkestr_sandbox* sandbox) {
  struct told told;
  orkestr_client* client = NULL;
  orkestr_template_options options;
  orkestr_create_options create = ORKESTR_CREATE_OPTIONS_INIT;
  orkestr_sandbox* none = NULL;
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
  create.template_name = not_built(client);
  create.on_progress = on_progress;
  create.progress_user = &told;
  if (create.template_name != NULL) {
    operation = orkestr_sandbox_create(client, &create);
    await_first(&told);
    REFUSED(ORKESTR_CANCELLED, "", orkestr_await_sandbox(operation, 0, &none, &error));
    is_over(&told);
  } else {
    printf("progress of create: not tested, since this machine has all templates\n");
  }
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
}
