// Checksums that notice a damaged, cut or half-written file: XXH3 with 128 bits (xxhash), an order of magnitude faster
// than SHA-256. Against accidents, not against who wants to deceive: such files are in directories of their user alone.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "orkestr/error.hpp"

namespace orkestr::base {

class Checksum {
 public:
  Checksum();
  ~Checksum();
  Checksum(const Checksum&) = delete;
  Checksum& operator=(const Checksum&) = delete;

  void add(const void* bytes, std::size_t count);
  std::string hex() const;  // 32 hex digits, of what was added so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Of what an open file contains, independent of how its holes are stored and without reading them: its size, then
// offset and content of each aligned 64 KiB block that is not all zero.
Result<std::string> checksum_sparse_file(int fd);

}  // namespace orkestr::base
