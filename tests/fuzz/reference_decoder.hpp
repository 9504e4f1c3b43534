// The receiving half of a connection once more, written from PROTOCOL.md alone: slow, over the whole stream at once,
// one byte at a time where it hunts. Tests and the fuzz target compare wire::Channel, fed in arbitrary pieces, with it.
// It must not use src/wire's sources.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace orkestr::reference {

enum class Side { client, supervisor_from_client, supervisor_from_guest, guest };

// The tables of PROTOCOL.md, by receiver.
inline const std::set<int>& types_for(Side side) {
  static const std::set<int> tables[] = {
      {0x01, 0x02, 0x40, 0x41, 0x50, 0x51, 0x60, 0x61},
      {0x01, 0x02, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25,
       0x26, 0x27, 0x28, 0x29, 0x2A, 0x2B, 0x2C, 0x2D, 0x40, 0x41, 0x42, 0x43, 0x44},
      {0x01, 0x02, 0x40, 0x41, 0x50, 0x60, 0x61},
      {0x01, 0x02, 0x10, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27,
       0x28, 0x29, 0x2A, 0x2B, 0x2C, 0x2D, 0x2F, 0x40, 0x41, 0x42, 0x44},
  };
  return tables[static_cast<int>(side)];
}

// The nonce of our n-th handshake. Simple, so that a fuzzer can guess it.
inline std::string nonce_number(int n) { return std::string(16, static_cast<char>('A' + n % 26)); }

// "established", "frame TYPE FLAGS ID PAYLOAD", and at last "error" if the stream is broken.
inline std::vector<std::string> decode_all(Side side, const std::string& in) {
  std::vector<std::string> events;
  int handshakes = 0;
  std::string own = nonce_number(handshakes++);
  std::optional<std::string> peer;
  bool open = false;
  std::uint64_t sequence = 0;

  auto number = [&in](std::size_t at, int bytes) {
    std::uint64_t v = 0;
    for (int i = 0; i < bytes; ++i) v += static_cast<std::uint64_t>(static_cast<unsigned char>(in[at + i])) << (8 * i);
    return v;
  };
  auto start_over = [&] {
    own = nonce_number(handshakes++);
    peer.reset();
    open = false;
    sequence = 0;
  };

  std::size_t at = 0;
  while (at < in.size()) {
    const std::string magic = "\xFFORKESTR";
    const std::size_t left = in.size() - at;
    const std::size_t compare = left < 8 ? left : 8;
    const bool is_record = in.substr(at, compare) == magic.substr(0, compare) && (!open || compare >= 4);
    if (is_record) {
      if (left < 32) {
        if (open) return events;
        ++at;
        continue;
      }
      const std::uint64_t kind = number(at + 8, 2);
      const std::uint64_t generation = number(at + 10, 2);
      const std::string nonce = in.substr(at + 16, 16);
      if ((kind != 1 && kind != 2) || number(at + 12, 4) != 0) {
        if (open) {
          events.push_back("error");
          return events;
        }
        ++at;
        continue;
      }
      at += 32;
      if (kind == 2) {
        if (open || nonce != own) continue;
        if (!peer) {
          start_over();
        } else {
          open = true;
          sequence = 0;
          events.push_back("established");
        }
        continue;
      }
      if (generation != 1) {
        events.push_back("error");
        return events;
      }
      if (peer == nonce) continue;
      if (open) start_over();
      peer = nonce;
      continue;
    }
    if (!open) {
      ++at;
      continue;
    }

    if (left < 4) return events;
    const std::uint64_t length = number(at, 4);
    bool bad = length > 262144;
    if (!bad && left < 16) return events;
    if (!bad) {
      const int type = static_cast<int>(number(at + 4, 1));
      const int flags = static_cast<int>(number(at + 5, 1));
      const std::uint64_t id = number(at + 8, 4);
      const bool to_guest = side == Side::guest || side == Side::supervisor_from_client;
      const std::set<int> data_flags = to_guest ? std::set<int>{0, 4} : std::set<int>{1, 2, 5, 6};
      bad = bad || types_for(side).count(type) == 0;
      bad = bad || (type == 0x40 ? data_flags.count(flags) == 0 : flags != 0);
      bad = bad || number(at + 6, 2) != 0;
      bad = bad || ((type == 1 || type == 2) && id != 0);
      bad = bad || (type != 1 && type != 2 && type != 0x61 && id == 0);
      bad = bad || number(at + 12, 4) != sequence % 4294967296ULL;
      if (!bad) {
        if (left < 16 + length) return events;
        events.push_back("frame " + std::to_string(type) + " " + std::to_string(flags) + " " + std::to_string(id) +
                         " " + in.substr(at + 16, length));
        at += 16 + length;
        ++sequence;
        continue;
      }
    }
    events.push_back("error");
    return events;
  }
  return events;
}

}  // namespace orkestr::reference
