// Every argument is checked here and nowhere else, before anything is started or sent. An error names the argument, its
// value and what is allowed (or what to do). Pure functions; tests/golden/errors.txt holds every text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "backend.hpp"
#include "orkestr/error.hpp"
#include "orkestr/options.hpp"

namespace orkestr::core {

// The longest single argument the kernel passes on (MAX_ARG_STRLEN), without its NUL.
inline constexpr std::size_t kMaxCommandBytes = (128U << 10U) - 1;
inline constexpr std::size_t kMaxArguments = 4096;
inline constexpr std::size_t kMaxEnvBytes = 64U << 10U;
inline constexpr std::size_t kMaxEnvEntries = 1024;
inline constexpr std::size_t kMaxPathBytes = 4096;
inline constexpr std::size_t kMaxBatchFiles = 64;
inline constexpr std::size_t kMaxBatchFileBytes = (16U << 20U) - 1;
inline constexpr std::size_t kMaxCodeBytes = 16U << 20U;
inline constexpr std::size_t kMaxMetadataEntries = 64;
inline constexpr std::size_t kMaxMetadataBytes = 16U << 10U;

// `backend` is the name that not_supported errors give.
Result<void> check_create(const CreateOptions& options, std::string_view backend);
Result<void> check_list(const ListOptions& options);
Result<void> check_sandbox_id(std::string_view id);
// Of whatever else has one; `hint` is the end of the error's text.
Result<void> check_id(std::string_view what, std::string_view id, std::string_view hint = {});
Result<void> check_command_id(std::string_view id);
// The machine that Template::prepare() makes a snapshot of.
Result<void> check_prepare(const TemplateBuildOptions& options);
Result<void> check_resume(const ResumeOptions& options);
// Of a sandbox; of following a command's output.
Result<void> check_timeout(std::chrono::seconds timeout);
Result<void> check_follow_timeout(std::chrono::seconds timeout);
Result<void> check_port(int port);

// The commands as the guest gets them.
Result<CommandRequest> shell_command(std::string_view command, const ExecOptions& options);
Result<CommandRequest> plain_command(std::vector<std::string> argv, const ExecOptions& options);

// One that outlives its caller: no timeout, no input, no terminal.
Result<CommandRequest> background_command(std::string_view line, const ExecOptions& options);

Result<void> check_code(std::string_view code, const CodeOptions& options);

// For exec() and run(), which have nobody that could write on or resize while they wait.
Result<void> check_waited(const ExecOptions& options);
Result<void> check_terminal(int cols, int rows);

// The path with doubled and trailing slashes and "." components taken out.
Result<std::string> check_path(std::string_view argument, std::string_view path);
// The same for a place that is written, made, moved or removed: also not_permitted outside the writable roots.
Result<std::string> check_writable_path(std::string_view argument, std::string_view path);
Result<void> check_mode(int mode);
// Paths are cleaned in place.
Result<void> check_batch(std::vector<BatchFile>& files);
Result<void> check_expires_in(std::chrono::seconds expires_in);

// A value in an error text: quoted, cut between characters; control characters and what is not UTF-8 are made visible.
std::string shown(std::string_view value);
// Strict: no overlong forms, no surrogates, nothing above U+10FFFF.
bool is_utf8(std::string_view text);

// not_supported for what a later version will have.
Error not_there_yet(std::string_view what, std::string_view backend);

}  // namespace orkestr::core
