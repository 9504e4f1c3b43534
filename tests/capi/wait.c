/* Waiting for a background command of a service asks that seldom. */
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "service.h"

#define COMMAND "cmd_01ARZ3NDEKTSV4RRFFQ69G5FAV"
#define RUNS_MS 2000 /* so long does the command run, from when it is first asked for */

struct commands {
  struct service service;
  int follows; /* it has the output as a stream */
  int64_t ends_at;
  int asked, followed;
};

static int64_t now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void serve(struct service* service, int connection, const char* request) {
  struct commands* commands = (struct commands*)service;
  if (commands->ends_at == 0) commands->ends_at = now_ms() + RUNS_MS;
  if (strstr(request, "/logs?follow=true") == NULL) {
    const int over = now_ms() >= commands->ends_at;
    ++commands->asked;
    answer(connection, "200 OK", "application/json",
           over ? "{\"id\": \"" COMMAND "\", \"command\": \"x\", \"status\": \"exited\", \"exit_code\": 3}"
                : "{\"id\": \"" COMMAND "\", \"command\": \"x\", \"status\": \"running\"}");
  } else if (!commands->follows) {
    ++commands->followed;
    answer(connection, "400 Bad Request", "application/json", "{\"detail\": \"no streams here\"}");
  } else {
    ++commands->followed;
    while (now_ms() < commands->ends_at) {
      char none;
      if (recv(connection, &none, 1, MSG_PEEK | MSG_DONTWAIT) == 0) return; /* nobody listens any more */
      usleep(10000);
    }
    answer(connection, "200 OK", "text/event-stream",
           "data: {\"kind\": \"exec_exited\", \"code\": 3, \"duration_ms\": 2000}\n\n");
  }
}

static void wait_at(struct commands* commands) {
  orkestr_command* command = NULL;
  orkestr_value* info;
  commands->service.serve = serve;
  begin_service(&commands->service);
  OK(orkestr_await_command(orkestr_sandbox_command(commands->service.sandbox, COMMAND), WAIT_MS, &command, &error));

  FAILS(orkestr_command_wait(command, 300), ORKESTR_EXEC_TIMEOUT, "300 ms");
  info = GIVES(orkestr_command_wait(command, ORKESTR_FOREVER));
  IS_TEXT(info, "status", "exited");
  CHECK(orkestr_value_integer(info, "exit_code") == 3);
  CHECK(now_ms() - commands->ends_at < 5000);
  orkestr_value_free(info);

  orkestr_command_free(command);
  end_service(&commands->service);
}

void test_wait(orkestr_client* client, orkestr_sandbox* sandbox) {
  struct commands commands;
  orkestr_command* command = NULL;
  orkestr_operation* operation;
  orkestr_value* info;
  memset(&commands, 0, sizeof commands);
  commands.follows = 1;
  wait_at(&commands);
  CHECK(commands.followed >= 1);
  CHECK(commands.asked <= 6);
  memset(&commands, 0, sizeof commands); /* and one that has no streams: now and then */
  wait_at(&commands);
  CHECK(commands.followed >= 1);
  CHECK(commands.asked <= 12);
  (void)client;

  /* Locally: ended by itself, killed beside the wait, and nobody wants to know. */
  OK(orkestr_await_command(orkestr_sandbox_start(sandbox, "yes | head -c 10000000; exit 4", NULL), WAIT_MS, &command,
                           &error));
  info = GIVES(orkestr_command_wait(command, ORKESTR_FOREVER));
  CHECK(orkestr_value_integer(info, "exit_code") == 4);
  orkestr_value_free(info);
  orkestr_command_free(command);
  OK(orkestr_await_command(orkestr_sandbox_start(sandbox, "sleep 1000", NULL), WAIT_MS, &command, &error));
  operation = orkestr_command_wait(command, ORKESTR_FOREVER);
  OK(orkestr_operation_cancel(operation, &error));
  FAILS(operation, ORKESTR_CANCELLED, "");
  operation = orkestr_command_wait(command, ORKESTR_FOREVER);
  WORKS(orkestr_command_kill(command));
  info = GIVES(operation);
  IS_TEXT(info, "status", "killed");
  orkestr_value_free(info);
  orkestr_command_free(command);
}
