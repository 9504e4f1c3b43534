// record.json from a disk we do not trust: what is accepted must survive writing and reading.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "registry/record.hpp"

using orkestr::registry::Record;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  auto first = Record::from_json({reinterpret_cast<const char*>(data), size});
  if (!first) return 0;
  const std::string written = first->to_json();
  auto second = Record::from_json(written);
  if (!second || second->to_json() != written) std::abort();
  return 0;
}
