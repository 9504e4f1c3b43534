/* The handles that calls name by their number, and the answers of each kind. */
#ifndef HANDLES_H
#define HANDLES_H

#include "call.h"

enum kind { kGone, kClient, kSandbox, kCommand, kStream, kContext };
/* A context has no handle in C. */
struct context {
  orkestr_sandbox* sandbox;
  char* id;
};

/* Its number. */
int keep(enum kind kind, void* pointer);
/* What the call is made on; NULL: nothing, or what was let go. */
void* on(const struct call* call);
orkestr_client* client_of(const struct call* call);
void release(const struct call* call);
void free_default_client(void);

int is(const struct call* call, const char* name);

void nothing(orkestr_status status, orkestr_error* error);
void value_of(orkestr_operation* operation);
void stream_of(orkestr_status status, orkestr_stream* stream, orkestr_error* error);

#endif
