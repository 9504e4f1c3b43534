/* A service of one sandbox, played by a thread: what it answers, the test says. */
#ifndef SERVICE_H
#define SERVICE_H

#include <pthread.h>

#include "check.h"

#define SERVED_SANDBOX "sbx_01ARZ3NDEKTSV4RRFFQ69G5FAV"

struct service {
  /* Every request but that for the sandbox itself: head and body. */
  void (*serve)(struct service* service, int connection, const char* request);
  orkestr_client* client;
  orkestr_sandbox* sandbox;
  int listener;
  pthread_t thread;
};

/* With `serve` set; from here on it has a client and a sandbox. */
void begin_service(struct service* service);
void end_service(struct service* service);
void answer(int connection, const char* status, const char* type, const char* body);
/* More of the body. */
void answer_more(int connection, const char* body);

#endif
