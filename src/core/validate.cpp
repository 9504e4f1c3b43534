#include "core/validate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/id.hpp"
#include "base/try.hpp"
#include "orkestr/version.hpp"

namespace orkestr::core {
namespace {

using std::chrono::duration_cast;

constexpr std::array<std::string_view, 3> kWritableRoots = {"/workspace", "/tmp", "/persist"};
constexpr std::size_t kMaxShownBytes = 80;

template <class... Args>
Error invalid(fmt::format_string<Args...> format, Args&&... args) {
  return Error(ErrorCode::invalid_argument, fmt::format(format, std::forward<Args>(args)...));
}

bool has_nul(std::string_view text) { return text.find('\0') != std::string_view::npos; }

bool is_env_name(std::string_view name) {
  auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  if (name.empty() || !letter(name[0])) return false;
  for (const char c : name) {
    if (!letter(c) && (c < '0' || c > '9')) return false;
  }
  return true;
}

Result<void> check_env(const std::map<std::string, std::string>& env) {
  std::size_t total = 0;
  for (const auto& [name, value] : env) {
    if (!is_env_name(name)) {
      return invalid("env has the name {}; allowed are letters, digits and '_', not beginning with a digit",
                     shown(name));
    }
    // The value may be a secret: it is not repeated.
    if (has_nul(value)) return invalid("env['{}'] contains a NUL byte; a variable of the environment cannot", name);
    total += name.size() + value.size() + 2;
  }
  if (env.size() > kMaxEnvEntries) {
    return invalid("env has {} variables; allowed are at most {}", env.size(), kMaxEnvEntries);
  }
  if (total > kMaxEnvBytes) {
    return invalid("env has {} bytes in all; allowed are at most {}. Write large values to a file", total,
                   kMaxEnvBytes);
  }
  return {};
}

Result<void> check_metadata(const std::map<std::string, std::string>& metadata) {
  std::size_t total = 0;
  if (metadata.size() > kMaxMetadataEntries) {
    return invalid("metadata has {} entries; allowed are at most {}", metadata.size(), kMaxMetadataEntries);
  }
  for (const auto& [key, value] : metadata) {
    if (key.empty()) return invalid("metadata has an empty key; a key has at least one character");
    if (!is_utf8(key) || has_nul(key)) {
      return invalid("metadata has a key of {} bytes that is not UTF-8 text; encode binary data first", key.size());
    }
    if (!is_utf8(value) || has_nul(value)) {
      return invalid("metadata[{}] is not UTF-8 text; encode binary data first", shown(key));
    }
    total += key.size() + value.size();
  }
  if (total > kMaxMetadataBytes) {
    return invalid("metadata has {} bytes in all; allowed are at most {}", total, kMaxMetadataBytes);
  }
  return {};
}

// Capitals are in the ids that a service gives its templates ('tmpl_' and 26 letters and digits).
bool is_template_name(std::string_view name, bool capitals) {
  auto alnum = [capitals](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (capitals && c >= 'A' && c <= 'Z');
  };
  if (name.empty() || name.size() > 64 || !alnum(name[0])) return false;
  for (const char c : name) {
    if (!alnum(c) && c != '.' && c != '-' && c != '_') return false;
  }
  return true;
}

Result<void> check_machine(const CreateOptions& options) {
  if (options.cpu && !(*options.cpu >= 0.25 && *options.cpu <= 16)) {
    return invalid("cpu is {}; allowed are 0.25 to 16 CPUs", *options.cpu);
  }
  if (options.memory_mb && (*options.memory_mb < 256 || *options.memory_mb > 65536)) {
    return invalid("memory_mb is {}; allowed are 256 to 65536 MiB", *options.memory_mb);
  }
  if (options.disk_mb && (*options.disk_mb < 8192 || *options.disk_mb > 131072)) {
    return invalid("disk_mb is {}; allowed are 8192 to 131072 MiB (unused space takes none on the host)",
                   *options.disk_mb);
  }
  return {};
}

Result<void> check_retries(int max_retries, std::chrono::seconds retry_max) {
  if (max_retries < 0 || max_retries > 100) return invalid("max_retries is {}; allowed are 0 to 100", max_retries);
  if (retry_max.count() < 0 || retry_max > std::chrono::hours(1)) {
    return invalid("retry_max is {} s; allowed are 0 to 3600 s", retry_max.count());
  }
  return {};
}

Result<void> check_create_times(const CreateOptions& options) {
  constexpr std::chrono::seconds kLongestTtl{10LL * 365 * 86'400};
  ORKESTR_CHECK(check_timeout(options.timeout));
  if (options.paused_ttl && (*options.paused_ttl < std::chrono::seconds(60) || *options.paused_ttl > kLongestTtl)) {
    return invalid("paused_ttl is {} s; allowed are 60 to {} s", options.paused_ttl->count(), kLongestTtl.count());
  }
  return check_retries(options.max_retries, options.retry_max);
}

// What the interface has and this version does not.
Result<void> check_supported(const CreateOptions& options, std::string_view backend) {
  if (backend != "local") return {};
  if (!options.snapshot.empty()) return not_there_yet("snapshot", backend);
  if (options.network != Network::off) {
    return not_there_yet(fmt::format("network '{}'", to_string(options.network)), backend);
  }
  if (options.allow_domains) return not_there_yet("allow_domains", backend);
  if (!options.volume.empty()) return not_there_yet("volume", backend);
  if (options.preview_auth) return not_there_yet("preview_auth", backend);
  if (!options.region.empty()) {
    return Error(
        ErrorCode::not_supported,
        fmt::format("region is {}; the local backend runs sandboxes on this machine and has no regions: leave it out",
                    shown(options.region)));
  }
  return {};
}

Result<void> check_run_timeout(std::chrono::milliseconds timeout) {
  if (timeout >= std::chrono::milliseconds(1) && timeout <= std::chrono::hours(24)) return {};
  return invalid("timeout is {} ms; allowed are 1 ms to 86400000 ms (24 h)", timeout.count());
}

Result<CommandRequest> command(std::vector<std::string> argv, const ExecOptions& options) {
  ORKESTR_CHECK(check_env(options.env));
  ORKESTR_CHECK(check_run_timeout(options.timeout));
  if (options.max_output_bytes < 1024 || options.max_output_bytes > (1U << 30U)) {
    return invalid("max_output_bytes is {}; allowed are 1024 to 1073741824", options.max_output_bytes);
  }
  if (options.user.size() > 256 || has_nul(options.user) || options.user.find_first_of(":/\n") != std::string::npos) {
    return invalid("user is {}; allowed is a name or a number of the guest, at most 256 bytes", shown(options.user));
  }
  if (options.tty) ORKESTR_CHECK(check_terminal(options.cols, options.rows));
  CommandRequest request;
  ORKESTR_TRY(request.cwd, check_path("cwd", options.cwd));
  request.argv = std::move(argv);
  request.env = options.env;
  request.user = options.user;
  request.timeout = options.timeout;
  request.stdin_open = options.stdin_data.has_value() || options.stdin_open || options.tty;
  if (options.tty) {
    request.tty = true;
    request.cols = options.cols;
    request.rows = options.rows;
  }
  return request;
}

}  // namespace

bool is_utf8(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i++]);
    if (lead < 0x80) continue;
    const int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
    if (lead < 0xc2 || lead > 0xf4 || text.size() - i < static_cast<std::size_t>(more)) return false;
    const auto second = static_cast<unsigned char>(text[i]);
    if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) || (lead == 0xf0 && second < 0x90) ||
        (lead == 0xf4 && second > 0x8f)) {
      return false;
    }
    for (int k = 0; k < more; ++k) {
      if ((static_cast<unsigned char>(text[i++]) & 0xc0) != 0x80) return false;
    }
  }
  return true;
}

std::string shown(std::string_view value) {
  std::string_view part = value.substr(0, kMaxShownBytes);
  while (part.size() < value.size() && !part.empty() &&
         (static_cast<unsigned char>(value[part.size()]) & 0xc0) == 0x80) {
    part.remove_suffix(1);
  }
  const bool text = is_utf8(part);
  std::string out = "'";
  for (const char c : part) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !text)) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out + (part.size() < value.size() ? fmt::format("…' ({} bytes)", value.size()) : "'");
}

Error not_there_yet(std::string_view what, std::string_view backend) {
  return Error(ErrorCode::not_supported,
               fmt::format("{} is not there yet: the {} backend of orkestr {} does not have it; leave it out", what,
                           backend, ORKESTR_VERSION));
}

Result<void> check_create(const CreateOptions& options, std::string_view backend) {
  if (options.template_name.empty() && options.snapshot.empty()) {
    return invalid("template is empty; give the name of a template, for instance 'python-3.12-bare'");
  }
  if (!options.template_name.empty() && !options.snapshot.empty()) {
    return invalid("template is {} and snapshot is {}; give exactly one of them", shown(options.template_name),
                   shown(options.snapshot));
  }
  const bool local = backend == "local";
  if (options.snapshot.empty() && !is_template_name(options.template_name, !local)) {
    return invalid(
        "template is {}; allowed are 1 to 64 of a-z, {}0-9, '.', '-' and '_', beginning with a letter or digit",
        shown(options.template_name), local ? "" : "A-Z, ");
  }
  ORKESTR_CHECK(check_machine(options));
  ORKESTR_CHECK(check_create_times(options));
  ORKESTR_CHECK(check_env(options.env));
  ORKESTR_CHECK(check_metadata(options.metadata));
  return check_supported(options, backend);
}

Result<void> check_list(const ListOptions& options) {
  if (options.limit < 1 || options.limit > 200) return invalid("limit is {}; allowed are 1 to 200", options.limit);
  return check_metadata(options.metadata);
}

Result<void> check_sandbox_id(std::string_view id) {
  if (base::is_sandbox_id(id)) return {};
  return Error(ErrorCode::not_found,
               fmt::format("sandbox {}: no sandbox has such an id; an id is 'sbx_' and 26 letters and "
                           "digits",
                           shown(id)));
}

Result<void> check_id(std::string_view what, std::string_view id, std::string_view hint) {
  if (base::is_plain_id(id)) return {};
  return Error(ErrorCode::not_found, fmt::format("{0} {1}: no {0} has such an id{2}", what, shown(id), hint));
}

Result<void> check_command_id(std::string_view id) { return check_id("command", id, "; commands() lists them"); }

Result<void> check_code(std::string_view code, const CodeOptions& options) {
  if (code.size() > kMaxCodeBytes) {
    return invalid("code has {} bytes; allowed are at most {}. Write large values to a file", code.size(),
                   kMaxCodeBytes);
  }
  if (!is_utf8(code)) return invalid("code of {} bytes is not UTF-8 text", code.size());
  const bool plain =
      std::all_of(options.language.begin(), options.language.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (options.language.empty() || options.language.size() > 64 || !plain) {
    return invalid("language is {}; give the name of one, for instance 'python'", shown(options.language));
  }
  if (!options.context_id.empty()) {
    ORKESTR_CHECK(check_id("code context", options.context_id, "; code_contexts() lists them"));
  }
  return check_run_timeout(options.timeout);
}

Result<void> check_prepare(const TemplateBuildOptions& options) {
  CreateOptions machine;
  machine.cpu = options.cpu;
  machine.memory_mb = options.memory_mb;
  machine.disk_mb = options.disk_mb;
  return check_machine(machine);
}

Result<void> check_resume(const ResumeOptions& options) {
  return check_retries(options.max_retries, options.retry_max);
}

Result<void> check_timeout(std::chrono::seconds timeout) {
  if (timeout >= std::chrono::seconds(10) && timeout <= std::chrono::hours(24)) return {};
  return invalid("timeout is {} s; allowed are 10 to 86400 s", timeout.count());
}

Result<void> check_follow_timeout(std::chrono::seconds timeout) {
  if (timeout >= std::chrono::seconds(1) && timeout <= std::chrono::hours(24)) return {};
  return invalid("timeout is {} s; allowed are 1 to 86400 s", timeout.count());
}

Result<void> check_port(int port) {
  if (port >= 1 && port <= 65535) return {};
  return invalid("port is {}; allowed are 1 to 65535", port);
}

Result<CommandRequest> shell_command(std::string_view line, const ExecOptions& options) {
  if (line.empty()) return invalid("command is empty; give a shell command line");
  if (has_nul(line)) return invalid("command contains a NUL byte at offset {}; a command line cannot", line.find('\0'));
  if (line.size() > kMaxCommandBytes) {
    return invalid(
        "command has {} bytes; allowed are at most {}. Write it to a file with files().write() and run that file",
        line.size(), kMaxCommandBytes);
  }
  return command({"/bin/bash", "-c", std::string(line)}, options);
}

Result<CommandRequest> background_command(std::string_view line, const ExecOptions& options) {
  ORKESTR_TRY(auto request, shell_command(line, options));
  if (options.tty || options.stdin_open || options.stdin_data) {
    return invalid("{} is set, which a background command cannot have: nobody is there to write. Use exec_stream()",
                   options.tty          ? "tty"
                   : options.stdin_open ? "stdin_open"
                                        : "stdin_data");
  }
  request.timeout = {};
  return request;
}

Result<CommandRequest> plain_command(std::vector<std::string> argv, const ExecOptions& options) {
  if (argv.empty()) return invalid("argv is empty; its first entry is the program");
  if (argv[0].empty()) return invalid("argv[0] is empty; it is the program to run");
  if (argv.size() > kMaxArguments) {
    return invalid("argv has {} entries; allowed are at most {}", argv.size(), kMaxArguments);
  }
  std::size_t total = 0;
  for (std::size_t i = 0; i < argv.size(); ++i) {
    if (has_nul(argv[i])) return invalid("argv[{}] contains a NUL byte; an argument cannot", i);
    total += argv[i].size() + 1;
  }
  if (total > kMaxCommandBytes + 1) {
    return invalid("argv has {} bytes in all; allowed are at most {}. Pass large input through stdin_data or a file",
                   total, kMaxCommandBytes + 1);
  }
  return command(std::move(argv), options);
}

Result<std::string> check_path(std::string_view argument, std::string_view path) {
  if (path.empty() || path[0] != '/') {
    return invalid("{} is {}; allowed is an absolute path, for instance '/workspace{}'", argument, shown(path),
                   argument == "cwd" ? "" : "/main.py");
  }
  if (path.size() > kMaxPathBytes) {
    return invalid("{} has {} bytes; allowed are at most {}", argument, path.size(), kMaxPathBytes);
  }
  if (has_nul(path)) return invalid("{} is {}; a path cannot contain a NUL byte", argument, shown(path));
  std::string clean;
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at + 1), path.size());
    const std::string_view component = path.substr(at + 1, end - at - 1);
    if (component == "..") return invalid("{} is {}; '..' is not allowed in a path", argument, shown(path));
    if (!component.empty() && component != ".") clean.append("/").append(component);
    at = end;
  }
  return clean.empty() ? "/" : clean;
}

Result<std::string> check_writable_path(std::string_view argument, std::string_view path) {
  ORKESTR_TRY(std::string clean, check_path(argument, path));
  for (const auto root : kWritableRoots) {
    if (clean.compare(0, root.size(), root) == 0 && (clean.size() == root.size() || clean[root.size()] == '/'))
      return clean;
  }
  return Error(
      ErrorCode::not_permitted,
      fmt::format("{} is {}; files can be written under /workspace, /tmp and /persist only", argument, shown(path)));
}

Result<void> check_waited(const ExecOptions& options) {
  if (!options.tty && !options.stdin_open) return {};
  return invalid("{} is set, which exec() and run() cannot serve: start the command with exec_stream() or run_stream()",
                 options.tty ? "tty" : "stdin_open");
}

Result<void> check_terminal(int cols, int rows) {
  if (cols < 1 || cols > 1000) return invalid("cols is {}; allowed are 1 to 1000 columns of a terminal", cols);
  if (rows < 1 || rows > 1000) return invalid("rows is {}; allowed are 1 to 1000 rows of a terminal", rows);
  return {};
}

Result<void> check_expires_in(std::chrono::seconds expires_in) {
  if (expires_in >= std::chrono::seconds(60) && expires_in <= std::chrono::seconds(3600)) return {};
  return invalid("expires_in is {} s; allowed are 60 to 3600 s", expires_in.count());
}

Result<void> check_batch(std::vector<BatchFile>& files) {
  if (files.size() > kMaxBatchFiles) {
    return invalid("files has {} entries; allowed are at most {} in one batch", files.size(), kMaxBatchFiles);
  }
  for (std::size_t i = 0; i < files.size(); ++i) {
    ORKESTR_TRY(files[i].path, check_writable_path(fmt::format("files[{}].path", i), files[i].path));
    if (files[i].content.size() > kMaxBatchFileBytes) {
      return invalid("files[{}].content has {} bytes; allowed are at most {}. Write large files one by one", i,
                     files[i].content.size(), kMaxBatchFileBytes);
    }
    ORKESTR_CHECK(check_mode(files[i].mode));
  }
  return {};
}

Result<void> check_mode(int mode) {
  if (mode < 1) return invalid("mode is {}; allowed are 01 to 0777 (octal)", mode);
  if (mode > 0777) return invalid("mode is {:#o}; allowed are 01 to 0777 (octal)", mode);
  return {};
}

}  // namespace orkestr::core
