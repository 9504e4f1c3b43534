#include "supervisor/log.hpp"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace orkestr::supervisor {
namespace {

constexpr const char* kName = "supervisor";

}  // namespace

std::string log_path() {
  const char* path = std::getenv("ORKESTR_LOG");
  if (path == nullptr || *path == '\0') return {};
  std::error_code ec;
  return std::filesystem::absolute(path, ec).string();
}

void open_log(const std::string& path) {
  if (path.empty()) return;
  try {
    spdlog::basic_logger_st(kName, path)->flush_on(spdlog::level::info);
  } catch (const spdlog::spdlog_ex&) {
    return;  // a log that cannot be written is no reason not to start
  }
}

void set_log_name(const std::string& sandbox_id) {
  if (const auto logger = spdlog::get(kName)) logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e [%P] " + sandbox_id + " %v");
}

void log_info(const std::string& text) {
  if (const auto logger = spdlog::get(kName)) logger->info("{}", text);
}

}  // namespace orkestr::supervisor
