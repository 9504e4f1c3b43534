// What the decoders of messages are made of; only for the sources of src/wire.
#pragma once

#include <fmt/format.h>

#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "wire/message.hpp"

namespace orkestr::wire {

inline constexpr std::size_t kMaxFields = 16384;
inline constexpr std::uint64_t kMaxSigned = std::numeric_limits<std::int64_t>::max();
inline constexpr std::size_t kMaxPathBytes = 4096;
inline constexpr std::size_t kMaxUserBytes = 256;
inline constexpr std::uint64_t kMaxPid = std::numeric_limits<std::int32_t>::max();
inline constexpr std::int64_t kMaxExitCode = 255;
inline constexpr std::int64_t kMaxSignal = 127;

inline bool has_nul(std::string_view text) { return text.find('\0') != std::string_view::npos; }

inline bool has_parent_component(std::string_view path) {
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    if (path.substr(0, slash) == "..") return true;
    if (slash == std::string_view::npos) return false;
    path.remove_prefix(slash + 1);
  }
  return false;
}

// Walks the fields of one message. The first thing that is wrong is kept and ends the walk, so that a decode() reads as
// a list of its fields; finish() answers the message or that first error.
class Decoder {
 public:
  Decoder(std::string_view message, std::string_view payload) : message_(message), reader_(payload) {}

  bool next() {
    if (error_) return false;
    auto field = reader_.next();
    if (!field) {
      fail(field.error().message());
      return false;
    }
    if (!*field) return false;
    if (++count_ > kMaxFields) {
      fail(fmt::format("more than {} fields", kMaxFields));
      return false;
    }
    field_ = **field;
    return true;
  }
  std::uint16_t tag() const { return field_.tag; }
  std::string_view bytes() const { return field_.bytes; }

  void text(std::string& out, std::string_view name, std::size_t max_bytes) {
    if (!once(name)) return;
    if (field_.bytes.size() > max_bytes) {
      return fail(fmt::format("field `{}` has {} bytes, at most {} are allowed", name, field_.bytes.size(), max_bytes));
    }
    out.assign(field_.bytes);
  }
  // Text that ends up in a system call.
  void c_text(std::string& out, std::string_view name, std::size_t max_bytes) {
    if (has_nul(field_.bytes)) return fail(fmt::format("field `{}` holds a NUL byte", name));
    text(out, name, max_bytes);
  }
  void absolute_path(std::string& out, std::string_view name) {
    c_text(out, name, kMaxPathBytes);
    if (!error_ && (out.empty() || out.front() != '/')) fail(fmt::format("field `{}` is no absolute path", name));
  }
  void guest_path(std::string& out, std::string_view name) {
    absolute_path(out, name);
    if (!error_ && has_parent_component(out)) fail(fmt::format("field `{}` has a component \"..\"", name));
  }
  void number(std::uint64_t& out, std::string_view name, std::uint64_t max = kMaxSigned) {
    if (!once(name)) return;
    const auto value = field_.number();
    if (!value) return fail(fmt::format("field `{}` has {} bytes, a number has eight", name, field_.bytes.size()));
    if (*value > max) return fail(fmt::format("field `{}` is {}, at most {} is allowed", name, *value, max));
    out = *value;
  }
  void signed_number(std::int64_t& out, std::string_view name, std::int64_t min, std::int64_t max) {
    std::uint64_t raw = 0;
    number(raw, name, std::numeric_limits<std::uint64_t>::max());
    if (error_) return;
    const auto value = static_cast<std::int64_t>(raw);
    if (value < min || value > max)
      return fail(fmt::format("field `{}` is {}, allowed is {} to {}", name, value, min, max));
    out = value;
  }
  void flag(bool& out, std::string_view name) {
    std::uint64_t value = 0;
    number(value, name, 1);
    if (!error_) out = value == 1;
  }
  void entry(std::vector<std::string>& out, std::string_view name) {
    if (has_nul(field_.bytes)) return fail(fmt::format("field `{}` holds a NUL byte", name));
    if (!has_room(out.size(), name)) return;
    out.emplace_back(field_.bytes);
  }
  void env(EnvList& out) {
    constexpr std::string_view kName = "env";
    const std::size_t equals = field_.bytes.find('=');
    if (equals == std::string_view::npos || equals == 0 || has_nul(field_.bytes)) {
      return fail("field `env` is not NAME=value without NUL bytes");
    }
    if (!has_room(out.size(), kName)) return;
    out.emplace_back(field_.bytes.substr(0, equals), field_.bytes.substr(equals + 1));
  }

  void require(bool condition, std::string_view what) {
    if (!condition && !error_) fail(what);
  }
  template <class Message>
  Result<Message> finish(Message message) {
    if (error_) return *error_;
    return message;
  }

 private:
  void fail(std::string_view what) {
    if (error_) return;
    error_ = Error(ErrorCode::connection, fmt::format("malformed message {}: {}", message_, what));
  }
  // Tags of fields that are no lists are below 64.
  bool once(std::string_view name) {
    if (error_) return false;
    const std::uint64_t bit = std::uint64_t{1} << field_.tag;
    if ((seen_ & bit) != 0) fail(fmt::format("field `{}` comes twice", name));
    seen_ |= bit;
    return !error_;
  }
  bool has_room(std::size_t entries, std::string_view name) {
    if (entries >= kMaxListEntries) fail(fmt::format("field `{}` comes more than {} times", name, kMaxListEntries));
    if (field_.bytes.size() >= kMaxEntryBytes) {
      fail(fmt::format("field `{}` has an entry of {} bytes, allowed are less than {}", name, field_.bytes.size(),
                       kMaxEntryBytes));
    }
    return !error_;
  }

  std::string_view message_;
  FieldReader reader_;
  Field field_;
  std::size_t count_ = 0;
  std::uint64_t seen_ = 0;
  std::optional<Error> error_;
};

// Empty text is left out; numbers and flags are always there.
inline void put_text(FieldWriter& out, std::uint16_t tag, std::string_view text) {
  if (!text.empty()) out.put(tag, text);
}

inline void put_flag(FieldWriter& out, std::uint16_t tag, bool flag) { out.put(tag, std::uint64_t{flag ? 1U : 0U}); }

inline void put_env(FieldWriter& out, std::uint16_t tag, const EnvList& env) {
  for (const auto& [name, value] : env) out.put(tag, name + '=' + value);
}

}  // namespace orkestr::wire
