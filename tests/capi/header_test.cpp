// The C header as C++17, beside the C++ one: versions and macros agree, and every INIT macro fits its struct.
#include <orkestr/orkestr.h>

#include <orkestr/orkestr.hpp>

static_assert(ORKESTR_INTERNAL == static_cast<int>(orkestr::ErrorCode::internal) + 1);
static_assert(ORKESTR_CANCELLED == static_cast<int>(orkestr::ErrorCode::cancelled) + 1);

template <class Options>
bool is_empty(const Options& options) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(&options);
  for (std::size_t i = sizeof options.size; i < sizeof options; ++i) {
    if (bytes[i] != 0) return false;
  }
  return options.size == sizeof options;
}

int main() {
  static const orkestr_client_options client = ORKESTR_CLIENT_OPTIONS_INIT;
  static const orkestr_create_options create = ORKESTR_CREATE_OPTIONS_INIT;
  static const orkestr_resume_options resume = ORKESTR_RESUME_OPTIONS_INIT;
  static const orkestr_list_options list = ORKESTR_LIST_OPTIONS_INIT;
  static const orkestr_exec_options exec = ORKESTR_EXEC_OPTIONS_INIT;
  static const orkestr_code_options code = ORKESTR_CODE_OPTIONS_INIT;
  static const orkestr_template_options build = ORKESTR_TEMPLATE_OPTIONS_INIT;
  static const orkestr_pool_options pool = ORKESTR_POOL_OPTIONS_INIT;
  const bool good = is_empty(client) && is_empty(create) && is_empty(resume) && is_empty(list) && is_empty(exec) &&
                    is_empty(code) && is_empty(build) && is_empty(pool);
  return good && std::string_view(orkestr_version()) == ORKESTR_VERSION ? 0 : 1;
}
