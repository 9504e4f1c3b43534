/* The calls of the code interpreter. */
#ifndef CODE_H
#define CODE_H

#include "call.h"

int is_code_call(const struct call* call);
void code_call(const struct call* call);

#endif
