#include "orkestr/error.hpp"

#include <array>
#include <cstdlib>

namespace orkestr {
namespace {

struct Row {
  ErrorCode code;
  std::string_view name, class_name, hint;
  void (*raise)(const Error&);
};

template <class Exception>
[[noreturn]] void throw_as(const Error& error) {
  throw Exception(error);
}

constexpr std::array kTable = {
#define ORKESTR_ERROR(code, class, status, when, hint) Row{ErrorCode::code, #code, #class, hint, throw_as<class>},
#include "base/errors.def"
#undef ORKESTR_ERROR
};

// A code is the index of its row.
constexpr bool table_is_in_order() {
  for (std::size_t i = 0; i < kTable.size(); ++i) {
    if (static_cast<std::size_t>(kTable[i].code) != i) return false;
  }
  return kTable.back().code == ErrorCode::cancelled;
}
static_assert(table_is_in_order());

// A number that is no code, cast from elsewhere, is an internal error.
const Row& row_of(ErrorCode code) {
  const auto index = static_cast<std::size_t>(code);
  return kTable[index < kTable.size() ? index : 0];
}

}  // namespace

std::string_view to_string(ErrorCode code) noexcept { return row_of(code).name; }
std::string_view error_class(ErrorCode code) noexcept { return row_of(code).class_name; }
std::string_view error_hint(ErrorCode code) noexcept { return row_of(code).hint; }

std::optional<ErrorCode> error_code_from_string(std::string_view name) noexcept {
  for (const Row& row : kTable) {
    if (row.name == name) return row.code;
  }
  return std::nullopt;
}

const ErrorDetails& Error::details() const noexcept {
  static const ErrorDetails none;
  return details_ ? *details_ : none;
}

Error Error::with_context(std::string_view context) const {
  Error result = *this;
  result.message_.insert(0, ": ").insert(0, context);
  return result;
}

void Error::raise() const {
  row_of(code_).raise(*this);
  std::abort();  // not reached: every row throws
}

const char* version() noexcept { return ORKESTR_VERSION; }

}  // namespace orkestr
