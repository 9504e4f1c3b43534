// What is asked of the service, as method, target and body: pure functions. The wire is described in docs/REST.md;
// which members are always sent and which only when set is part of it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "backend.hpp"

namespace orkestr::remote {

struct ApiRequest {
  std::string what;         // for error texts: "create sandbox"
  std::string method;       // GET, POST, DELETE
  std::string target;       // path and query
  std::string body;         // JSON; empty: none
  bool about_file = false;  // a 404 without a code of its own means the file
  bool idempotent = false;  // a DELETE that the service promises to be; a GET always is
};
inline bool is_repeatable(const ApiRequest& request) { return request.method == "GET" || request.idempotent; }

// Letters, digits and "-._~" stay, everything else becomes %XX.
std::string url_encoded(std::string_view text);

ApiRequest create_request(const CreateOptions& options);
ApiRequest get_request(std::string_view sandbox_id);
ApiRequest list_request(const ListOptions& options, std::string_view cursor);
ApiRequest limits_request();
ApiRequest terminate_request(std::string_view sandbox_id);
ApiRequest pause_request(std::string_view sandbox_id);
ApiRequest resume_request(std::string_view sandbox_id);
ApiRequest set_timeout_request(std::string_view sandbox_id, std::chrono::seconds timeout);
ApiRequest metrics_request(std::string_view sandbox_id, std::optional<TimePoint> since);
ApiRequest host_request(std::string_view sandbox_id, int port);

ApiRequest snapshot_request(std::string_view sandbox_id, std::string_view name);
ApiRequest list_snapshots_request();
ApiRequest get_snapshot_request(std::string_view snapshot_id);
ApiRequest remove_snapshot_request(std::string_view snapshot_id);

// `line` is a shell command line.
ApiRequest exec_request(std::string_view sandbox_id, std::string_view line, const CommandRequest& request);
ApiRequest start_request(std::string_view sandbox_id, std::string_view line, const CommandRequest& request);
ApiRequest list_commands_request(std::string_view sandbox_id);
ApiRequest get_command_request(std::string_view sandbox_id, std::string_view command_id);
ApiRequest kill_command_request(std::string_view sandbox_id, std::string_view command_id);
ApiRequest logs_request(std::string_view sandbox_id, std::string_view command_id, std::uint64_t offset);
ApiRequest follow_request(std::string_view sandbox_id, std::string_view command_id, std::uint64_t offset,
                          std::chrono::milliseconds timeout);

ApiRequest run_code_request(std::string_view sandbox_id, std::string_view code, const CodeOptions& options,
                            bool streamed);
ApiRequest create_context_request(std::string_view sandbox_id, std::string_view cwd);
ApiRequest list_contexts_request(std::string_view sandbox_id);
ApiRequest restart_context_request(std::string_view sandbox_id, std::string_view context_id);
ApiRequest remove_context_request(std::string_view sandbox_id, std::string_view context_id);

ApiRequest write_file_request(std::string_view sandbox_id, std::string_view path, std::string_view content, int mode);
ApiRequest read_file_request(std::string_view sandbox_id, std::string_view path);  // and list
ApiRequest remove_file_request(std::string_view sandbox_id, std::string_view path);
ApiRequest mkdir_request(std::string_view sandbox_id, std::string_view path, bool parents);
ApiRequest move_request(std::string_view sandbox_id, std::string_view source, std::string_view destination);
ApiRequest stat_request(std::string_view sandbox_id, std::string_view path);
ApiRequest batch_request(std::string_view sandbox_id, const std::vector<BatchFile>& files);
ApiRequest presign_request(std::string_view sandbox_id, Session::Presigned kind, std::string_view path,
                           std::chrono::seconds expires_in);

}  // namespace orkestr::remote
