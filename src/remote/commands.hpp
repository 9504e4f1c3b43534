// Commands over the wire: one that is waited for (a JSON answer), one whose output is pulled (server-sent events), and
// the output of a background command. What goes wrong is the stream's first item.
//
// Cancelling closes the request. Of a streamed command whose process id is known, its process group is then ended by a
// second command, since a stream that is merely broken off leaves its command running; of a command that is waited for
// the service learns by the closed connection.
#pragma once

#include <memory>
#include <string>

#include "backend.hpp"
#include "remote/api.hpp"

namespace orkestr::remote {

std::unique_ptr<Stream> exec_stream(std::shared_ptr<Api> api, const std::string& sandbox_id, CommandRequest request);
std::unique_ptr<Stream> follow_stream(std::shared_ptr<Api> api, const std::string& sandbox_id,
                                      const std::string& command_id, std::uint64_t offset,
                                      std::chrono::milliseconds timeout);

// not_supported for what such a request has and the service has not: input, a terminal, another user.
Result<void> check_command(const CommandRequest& request);
// not_supported, naming the backend.
Error not_on_a_service(std::string_view what);

}  // namespace orkestr::remote
