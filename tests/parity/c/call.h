/* One call: its name and arguments, as README.md of the parity suite describes them. */
#ifndef CALL_H
#define CALL_H

#include <orkestr/orkestr.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

struct argument {
  char *name, *value; /* NUL behind each */
  size_t length;      /* of the value, which may contain NUL */
};
struct call {
  char* name;
  struct argument* arguments;
  size_t count;
};

/* Takes `line` apart, in place. */
struct call parse_call(char* line);
void free_call(struct call* call);

/* Where a getter goes when C cannot say what the argument says, with the reason in impossible_why. */
extern jmp_buf impossible_jump;
extern const char* impossible_why;
void impossible(const char* why);

const struct argument* get(const struct call* call, const char* name);
/* NULL when it is not there. */
const char* get_text(const struct call* call, const char* name);
/* 0, the default in C, when it is not there; a 0 that is there is impossible. */
int64_t get_integer(const struct call* call, const char* name);
double get_number(const struct call* call, const char* name);
/* Of an argument in seconds, as milliseconds. */
int64_t get_seconds(const struct call* call, const char* name);
int get_flag(const struct call* call, const char* name, int otherwise);
/* A list and a map; the caller frees the array. */
const char** get_list(const struct call* call, const char* name, size_t* count);
const struct argument** get_items(const struct call* call, const char* name, size_t* count);
orkestr_pair* get_map(const struct call* call, const char* name, size_t* count);

#endif
