// ORKESTR_TRY: the one macro of this code base. Returns the error of a Result from the enclosing function.
//
//   ORKESTR_TRY(auto file, open_at(dir, "lock", O_RDWR));   // file is the value
//   ORKESTR_CHECK(write_all(fd, bytes));                    // Result<void>
#pragma once

#include <utility>

#define ORKESTR_TRY_CONCAT_(a, b) a##b
#define ORKESTR_TRY_NAME_(a, b) ORKESTR_TRY_CONCAT_(a, b)
#define ORKESTR_TRY_IMPL_(tmp, decl, expr) \
  auto tmp = (expr);                       \
  if (!tmp) return tmp.error();            \
  decl = std::move(*tmp)
#define ORKESTR_TRY(decl, expr) ORKESTR_TRY_IMPL_(ORKESTR_TRY_NAME_(result_, __LINE__), decl, expr)
#define ORKESTR_CHECK(expr)                       \
  do {                                            \
    if (auto r_ = (expr); !r_) return r_.error(); \
  } while (false)
