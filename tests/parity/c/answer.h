/* Values as JSON on standard output. */
#ifndef ANSWER_H
#define ANSWER_H

#include <orkestr/orkestr.h>

void put_text(const char* text, size_t length);
void put_hex(const char* bytes, size_t length);
/* NULL: null. Fields that calls.json does not have are left out. */
void put_value(const orkestr_value* value);
/* The line {"error": …}; frees it. */
void answer_error(orkestr_error* error);
/* The line {"value": …, "handle": …}; handle 0: none. Frees the value. */
void answer_value(orkestr_value* value, int handle);

#endif
