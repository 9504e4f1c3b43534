#include "service.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

void answer(int connection, const char* status, const char* type, const char* body) {
  char head[256];
  const int length =
      snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Type: %s\r\nConnection: close\r\n\r\n", status, type);
  CHECK(send(connection, head, (size_t)length, MSG_NOSIGNAL) == length);
  answer_more(connection, body);
}

void answer_more(int connection, const char* body) {
  (void)!send(connection, body, strlen(body), MSG_NOSIGNAL); /* who has let go does not hear it */
}

/* How long the request is, once its head is there; before that, more than there is. */
static size_t length_of(const char* request, size_t got) {
  const char* end = strstr(request, "\r\n\r\n");
  const char* body = strstr(request, "Content-Length: ");
  if (end == NULL) return got + 1;
  return (size_t)(end - request) + 4 + (body == NULL || body > end ? 0 : (size_t)atoi(body + 16));
}

static void serve(struct service* service, int connection) {
  char request[8192] = "";
  size_t got = 0;
  while (got < length_of(request, got) && got < sizeof request - 1) {
    const ssize_t count = read(connection, request + got, sizeof request - 1 - got);
    if (count <= 0) return;
    got += (size_t)count;
    request[got] = '\0';
  }
  if (strncmp(request, "GET /v1/sandboxes/" SERVED_SANDBOX " ", 19 + strlen(SERVED_SANDBOX)) != 0) {
    service->serve(service, connection, request);
    return;
  }
  answer(connection, "200 OK", "application/json",
         "{\"id\": \"" SERVED_SANDBOX
         "\", \"status\": \"running\", \"template\": \"t\", \"network\": \"off\", \"cpu\": 1, "
         "\"memory_mb\": 1024, \"region\": null, \"created_at\": \"2026-01-01T00:00:00Z\", "
         "\"expires_at\": \"2026-01-02T00:00:00Z\"}");
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

void begin_service(struct service* service) {
  orkestr_client_options options = ORKESTR_CLIENT_OPTIONS_INIT;
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  char url[64];
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  service->listener = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(bind(service->listener, (struct sockaddr*)&address, sizeof address) == 0);
  CHECK(listen(service->listener, 16) == 0);
  CHECK(getsockname(service->listener, (struct sockaddr*)&address, &length) == 0);
  CHECK(pthread_create(&service->thread, NULL, play, service) == 0);
  setenv("no_proxy", "127.0.0.1", 1);
  snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(address.sin_port));
  options.backend = "remote";
  options.api_key = "k";
  options.base_url = url;
  OK(orkestr_client_open(&options, &service->client, &error));
  OK(orkestr_await_sandbox(orkestr_sandbox_get(service->client, SERVED_SANDBOX), WAIT_MS, &service->sandbox, &error));
}

void end_service(struct service* service) {
  orkestr_sandbox_free(service->sandbox);
  orkestr_client_free(service->client);
  CHECK(shutdown(service->listener, SHUT_RDWR) == 0);
  CHECK(pthread_join(service->thread, NULL) == 0);
  close(service->listener);
}
