// Operations on files of the guest that are answered at once. Errors carry the path and the code that fits; they are
// the operation's answer. Where a person may write is the library's policy, not the agent's.
#pragma once

#include <string>

#include "orkestr/error.hpp"
#include "wire/message.hpp"

struct stat;

namespace orkestr::guest {

// Follows links; a missing path (also one that leads through a file) is exists=false.
Result<wire::FileInfo> stat_file(const std::string& path);
// Refuses directories.
Result<void> delete_file(const std::string& path);
Result<void> make_directory(const wire::FileRequest& request);
// rename(2); between file systems regular files are copied and removed, anything else is refused.
Result<void> move_file(const wire::FileRequest& request);

wire::FileInfo file_info_of(std::string name, const struct stat& status);
// "what path: …" with advice where there is some: a full disk.
Error file_error(std::string_view what, std::string_view path, int err);

}  // namespace orkestr::guest
