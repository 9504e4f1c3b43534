#include "call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

jmp_buf impossible_jump;
const char* impossible_why;

void impossible(const char* why) {
  impossible_why = why;
  longjmp(impossible_jump, 1);
}

static size_t decode(char* text) {
  char *from = text, *to = text;
  while (*from != '\0') {
    unsigned int byte = 0;
    if (*from == '%' && sscanf(from + 1, "%2x", &byte) == 1) {
      *to++ = (char)byte;
      from += 3;
    } else {
      *to++ = *from++;
    }
  }
  *to = '\0';
  return (size_t)(to - text);
}

struct call parse_call(char* line) {
  struct call call = {line, NULL, 0};
  char* rest = strchr(line, '?');
  if (rest != NULL) *rest++ = '\0';
  while (rest != NULL) {
    struct argument argument = {rest, NULL, 0};
    char* next = strchr(rest, '&');
    if (next != NULL) *next++ = '\0';
    argument.value = strchr(rest, '=');
    *argument.value++ = '\0';
    argument.length = decode(argument.value);
    decode(argument.name);
    call.arguments = realloc(call.arguments, (call.count + 1) * sizeof *call.arguments);
    call.arguments[call.count++] = argument;
    rest = next;
  }
  return call;
}

void free_call(struct call* call) { free(call->arguments); }

const struct argument* get(const struct call* call, const char* name) {
  size_t i;
  for (i = 0; i < call->count; ++i) {
    if (strcmp(call->arguments[i].name, name) == 0) return &call->arguments[i];
  }
  return NULL;
}

static const char* text_of(const struct argument* argument) {
  if (strlen(argument->value) != argument->length) impossible("a text in C ends at its first NUL");
  return argument->value;
}

const char* get_text(const struct call* call, const char* name) {
  const struct argument* argument = get(call, name);
  return argument == NULL ? NULL : text_of(argument);
}

int64_t get_integer(const struct call* call, const char* name) {
  const struct argument* argument = get(call, name);
  int64_t value;
  if (argument == NULL) return 0;
  value = strtoll(argument->value, NULL, 10);
  if (value == 0) impossible("0 is the default in C");
  return value;
}

double get_number(const struct call* call, const char* name) {
  const struct argument* argument = get(call, name);
  double value;
  if (argument == NULL) return 0;
  value = strtod(argument->value, NULL);
  if (value == 0) impossible("0 is the default in C");
  return value;
}

int64_t get_seconds(const struct call* call, const char* name) {
  const int64_t value = get_integer(call, name);
  return value > INT64_MAX / 1000 ? INT64_MAX : value < INT64_MIN / 1000 ? INT64_MIN : value * 1000;
}

int get_flag(const struct call* call, const char* name, int otherwise) {
  const struct argument* argument = get(call, name);
  return argument == NULL ? otherwise : strcmp(argument->value, "true") == 0;
}

const struct argument** get_items(const struct call* call, const char* name, size_t* count) {
  const struct argument** items = calloc(call->count + 1, sizeof *items);
  const size_t length = strlen(name);
  size_t i;
  *count = 0;
  for (i = 0; i < call->count; ++i) {
    const struct argument* argument = &call->arguments[i];
    if (strncmp(argument->name, name, length) == 0 && argument->name[length] == '.') items[(*count)++] = argument;
  }
  return items;
}

const char** get_list(const struct call* call, const char* name, size_t* count) {
  const struct argument** items = get_items(call, name, count);
  const char** list = calloc(*count + 1, sizeof *list);
  size_t i;
  for (i = 0; i < *count; ++i) list[i] = text_of(items[i]);
  free(items);
  return list;
}

orkestr_pair* get_map(const struct call* call, const char* name, size_t* count) {
  const struct argument** items = get_items(call, name, count);
  orkestr_pair* map = calloc(*count + 1, sizeof *map);
  size_t i;
  for (i = 0; i < *count; ++i) {
    map[i].name = items[i]->name + strlen(name) + 1;
    map[i].value = text_of(items[i]);
  }
  free(items);
  return map;
}
