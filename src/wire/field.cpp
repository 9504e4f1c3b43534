// Fields, the building blocks of messages.
#include <fmt/format.h>

#include "wire/frame.hpp"
#include "wire/message.hpp"

namespace orkestr::wire {
namespace {

constexpr std::size_t kFieldHeaderBytes = 6;

}  // namespace

FieldWriter& FieldWriter::put(std::uint16_t tag, std::string_view bytes) {
  char header[kFieldHeaderBytes];
  store_u16(header, tag);
  store_u32(header + 2, static_cast<std::uint32_t>(bytes.size()));
  out_.append(header, sizeof header);
  out_.append(bytes);
  return *this;
}

FieldWriter& FieldWriter::put(std::uint16_t tag, std::uint64_t number) {
  char bytes[8];
  store_u64(bytes, number);
  return put(tag, std::string_view(bytes, sizeof bytes));
}

std::optional<std::uint64_t> Field::number() const {
  if (bytes.size() != 8) return std::nullopt;
  return load_u64(bytes.data());
}

Result<std::optional<Field>> FieldReader::next() {
  if (rest_.empty()) return std::optional<Field>();
  if (rest_.size() < kFieldHeaderBytes) {
    return Error(ErrorCode::connection,
                 fmt::format("cut inside the header of a field, {} bytes are left", rest_.size()));
  }
  const std::uint16_t tag = load_u16(rest_.data());
  const std::uint32_t length = load_u32(rest_.data() + 2);
  rest_.remove_prefix(kFieldHeaderBytes);
  if (length > rest_.size()) {
    return Error(ErrorCode::connection,
                 fmt::format("field {} claims {} bytes where {} are left", tag, length, rest_.size()));
  }
  Field field{tag, rest_.substr(0, length)};
  rest_.remove_prefix(length);
  return std::optional<Field>(field);
}

}  // namespace orkestr::wire
