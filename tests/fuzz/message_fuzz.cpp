// The first byte chooses the message. Whatever decodes must encode to something that decodes to the same encoding
// again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "wire/command_message.hpp"
#include "wire/frame.hpp"
#include "wire/message.hpp"

using namespace orkestr;

namespace {

template <class Message>
void check(std::string_view payload) {
  auto first = Message::decode(payload);
  if (!first) return;
  const std::string encoded = first->encode();
  auto second = Message::decode(encoded);
  if (!second || second->encode() != encoded) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > wire::kMaxPayload) return 0;
  const std::string_view payload(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 19) {
    case 0:
      check<wire::ConfigureRequest>(payload);
      break;
    case 1:
      check<wire::ExecRequest>(payload);
      break;
    case 2:
      check<wire::StartedMessage>(payload);
      break;
    case 3:
      check<wire::ExecExit>(payload);
      break;
    case 4:
      check<wire::FileRequest>(payload);
      break;
    case 5:
      check<wire::FileInfo>(payload);
      break;
    case 6:
      check<wire::ErrorMessage>(payload);
      break;
    case 7:
      check<wire::ProgressMessage>(payload);
      break;
    case 8:
      check<wire::StartRequest>(payload);
      break;
    case 9:
      check<wire::RecordMessage>(payload);
      break;
    case 10:
      check<wire::ResizeMessage>(payload);
      break;
    case 11:
      check<wire::CommandStartRequest>(payload);
      break;
    case 12:
      check<wire::CommandRequest>(payload);
      break;
    case 13:
      check<wire::CommandMessage>(payload);
      break;
    case 14:
      check<wire::CommandLogsMessage>(payload);
      break;
    case 15:
      check<wire::StatsMessage>(payload);
      break;
    case 16:
      check<wire::TimeoutMessage>(payload);
      break;
    case 17:
      check<wire::MetricsRequest>(payload);
      break;
    default:
      check<wire::MetricsMessage>(payload);
      break;
  }
  return 0;
}
