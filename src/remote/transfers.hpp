// Whole files over the wire. Small ones are base64 in JSON; from kJsonLimit on they go through a presigned URL, byte by
// byte, with memory that does not grow.
//
// A file that is written without its size being known is held in memory up to kJsonLimit, and beyond that in an unnamed
// temporary file, since a presigned URL wants its length first. Those land with mode 0644; another mode is set by a
// command afterwards.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "backend.hpp"
#include "remote/api.hpp"

namespace orkestr::remote {

inline constexpr std::uint64_t kJsonLimit = 16U << 20U;

std::unique_ptr<Stream> read_stream(std::shared_ptr<Api> api, const std::string& sandbox_id, const std::string& path);
std::unique_ptr<Stream> write_stream(std::shared_ptr<Api> api, const std::string& sandbox_id, const std::string& path,
                                     int mode, std::optional<std::uint64_t> size);

// A presigned URL may only lead where the service itself may: http or https, and not to http from https.
Result<void> check_presigned(const PresignedUrl& url, const std::string& base_url, const std::string& what);

}  // namespace orkestr::remote
