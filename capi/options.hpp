// What a C caller hands in, checked before it is believed: pointers that may be NULL, lengths, option structs of other
// versions. Ranges and spellings are the library's to check. Every error names the argument.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <orkestr/orkestr.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/try.hpp"
#include "orkestr.h"

namespace orkestr::capi {

Error is_null(const char* argument);

// An output that is NULL is an error; another one is NULL from now on.
template <class T>
Result<void> clear_output(const char* argument, T** output) {
  if (output == nullptr) return is_null(argument);
  *output = nullptr;
  return {};
}

inline Result<void> check_callback(orkestr_callback callback) {
  return callback == nullptr ? Result<void>(is_null("callback")) : Result<void>();
}

// Text that must be there.
Result<std::string> text(const char* argument, const char* value);
inline std::string text_or_empty(const char* value) { return value == nullptr ? "" : value; }
// Borrowed.
Result<std::string_view> bytes(const char* argument, const void* data, std::size_t length);
Result<std::vector<std::string>> texts(const char* argument, const char* const* values, std::size_t count);

// Milliseconds as whole seconds, rounded up, so that nothing ends early. 0: `otherwise`.
std::chrono::seconds seconds(std::int64_t milliseconds, std::chrono::seconds otherwise);
TimePoint time_point(std::int64_t milliseconds);

Result<ClientOptions> client_options(const orkestr_client_options* given);
Result<CreateOptions> create_options(const orkestr_create_options* given);
Result<ResumeOptions> resume_options(const orkestr_resume_options* given);
Result<ListOptions> list_options(const orkestr_list_options* given);
Result<ExecOptions> exec_options(const orkestr_exec_options* given);
Result<CodeOptions> code_options(const orkestr_code_options* given);
Result<TemplateBuildOptions> template_options(const orkestr_template_options* given);
Result<VolumeOptions> volume_options(const orkestr_volume_options* given);
Result<PoolOptions> pool_options(const orkestr_pool_options* given);
Result<std::vector<BatchFile>> batch_files(const orkestr_file* files, std::size_t count);

}  // namespace orkestr::capi
