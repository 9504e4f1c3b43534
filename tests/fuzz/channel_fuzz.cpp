// The first two bytes choose the receiver and the cuts; the rest is what comes over the connection. The channel must
// see exactly what the naive decoder sees.
#include <cstddef>
#include <cstdint>

#include "channel_driver.hpp"

using namespace orkestr;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const auto side = static_cast<reference::Side>(data[0] % 4);
  std::uint32_t state = data[1] + 1U;
  const std::string stream(reinterpret_cast<const char*>(data) + 2, size - 2);
  const auto seen = reference::run_channel(side, stream, [&state, data] {
    if (data[1] == 255) return std::size_t{1} << 20U;
    state = state * 1664525U + 1013904223U;
    return static_cast<std::size_t>(1 + (state >> 16U) % (1U + data[1]));
  });
  reference::expect_same(reference::decode_all(side, stream), seen);
  return 0;
}
