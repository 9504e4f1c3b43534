/* Waiting for a background command of a service asks that seldom. The service is played by a thread. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

#define SANDBOX "sbx_01ARZ3NDEKTSV4RRFFQ69G5FAV"
#define COMMAND "cmd_01ARZ3NDEKTSV4RRFFQ69G5FAV"
#define RUNS_MS 2000 /* so long does the command run, from when it is first asked for */

struct service {
  int listener, follows; /* `follows`: it has the output as a stream */
  int64_t ends_at;
  int asked, followed;
};

static int64_t now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void answer(int connection, const char* status, const char* type, const char* body) {
  char text[1024];
  const int length =
      snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Type: %s\r\nConnection: close\r\n\r\n%s", status, type, body);
  CHECK(write(connection, text, (size_t)length) == length);
}

static void serve(struct service* service, int connection) {
  char request[4096] = "";
  size_t got = 0;
  while (strstr(request, "\r\n\r\n") == NULL && got < sizeof request - 1) {
    const ssize_t count = read(connection, request + got, sizeof request - 1 - got);
    if (count <= 0) return;
    got += (size_t)count;
    request[got] = '\0';
  }
  if (strstr(request, "/commands/") == NULL) {
    answer(connection, "200 OK", "application/json",
           "{\"id\": \"" SANDBOX
           "\", \"status\": \"running\", \"template\": \"t\", \"network\": \"off\", \"cpu\": 1, "
           "\"memory_mb\": 1024, \"region\": null, \"created_at\": \"2026-01-01T00:00:00Z\", "
           "\"expires_at\": \"2026-01-02T00:00:00Z\"}");
    return;
  }
  if (service->ends_at == 0) service->ends_at = now_ms() + RUNS_MS;
  if (strstr(request, "/logs?follow=true") == NULL) {
    const int over = now_ms() >= service->ends_at;
    ++service->asked;
    answer(connection, "200 OK", "application/json",
           over ? "{\"id\": \"" COMMAND "\", \"command\": \"x\", \"status\": \"exited\", \"exit_code\": 3}"
                : "{\"id\": \"" COMMAND "\", \"command\": \"x\", \"status\": \"running\"}");
  } else if (!service->follows) {
    ++service->followed;
    answer(connection, "400 Bad Request", "application/json", "{\"detail\": \"no streams here\"}");
  } else {
    ++service->followed;
    while (now_ms() < service->ends_at) {
      char none;
      if (recv(connection, &none, 1, MSG_PEEK | MSG_DONTWAIT) == 0) return; /* nobody listens any more */
      usleep(10000);
    }
    answer(connection, "200 OK", "text/event-stream",
           "data: {\"kind\": \"exec_exited\", \"code\": 3, \"duration_ms\": 2000}\n\n");
  }
}

static void* play(void* user) {
  struct service* service = user;
  while (1) {
    const int connection = accept(service->listener, NULL, NULL);
    if (connection < 0) return NULL;
    serve(service, connection);
    close(connection);
  }
}

static void wait_at(struct service* service) {
  orkestr_client_options options = ORKESTR_CLIENT_OPTIONS_INIT;
  orkestr_client* client = NULL;
  orkestr_sandbox* sandbox = NULL;
  orkestr_command* command = NULL;
  orkestr_value* info;
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  pthread_t thread;
  char url[64];
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  service->listener = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(bind(service->listener, (struct sockaddr*)&address, sizeof address) == 0);
  CHECK(listen(service->listener, 16) == 0);
  CHECK(getsockname(service->listener, (struct sockaddr*)&address, &length) == 0);
  CHECK(pthread_create(&thread, NULL, play, service) == 0);
  snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(address.sin_port));
  options.backend = "remote";
  options.api_key = "k";
  options.base_url = url;
  OK(orkestr_client_open(&options, &client, &error));
  OK(orkestr_await_sandbox(orkestr_sandbox_get(client, SANDBOX), WAIT_MS, &sandbox, &error));
  OK(orkestr_await_command(orkestr_sandbox_command(sandbox, COMMAND), WAIT_MS, &command, &error));

  FAILS(orkestr_command_wait(command, 300), ORKESTR_EXEC_TIMEOUT, "300 ms");
  info = GIVES(orkestr_command_wait(command, ORKESTR_FOREVER));
  IS_TEXT(info, "status", "exited");
  CHECK(orkestr_value_integer(info, "exit_code") == 3);
  CHECK(now_ms() - service->ends_at < 5000);
  orkestr_value_free(info);

  orkestr_command_free(command);
  orkestr_sandbox_free(sandbox);
  orkestr_client_free(client);
  CHECK(shutdown(service->listener, SHUT_RDWR) == 0);
  CHECK(pthread_join(thread, NULL) == 0);
  close(service->listener);
}

void test_wait(orkestr_client* client, orkestr_sandbox* sandbox) {
  struct service service;
  orkestr_command* command = NULL;
  orkestr_operation* operation;
  orkestr_value* info;
  setenv("no_proxy", "127.0.0.1", 1);
  memset(&service, 0, sizeof service);
  service.follows = 1;
  wait_at(&service);
  CHECK(service.followed >= 1);
  CHECK(service.asked <= 6);
  memset(&service, 0, sizeof service); /* and one that has no streams: now and then */
  wait_at(&service);
  CHECK(service.followed >= 1);
  CHECK(service.asked <= 12);
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
