// Runs a wire::Channel over a stream in pieces and writes down what it says, in the words of reference_decoder.hpp.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "reference_decoder.hpp"
#include "wire/channel.hpp"

namespace orkestr::reference {

inline int& nonces_made() {
  static int count = 0;
  return count;
}

inline wire::Nonce counted_nonce() {
  const std::string bytes = nonce_number(nonces_made()++);
  wire::Nonce nonce;
  std::memcpy(nonce.data(), bytes.data(), nonce.size());
  return nonce;
}

// `piece` answers how many bytes come next (at least 1). Output is drained after each piece: a hostile peer must not
// make it grow.
template <class Piece>
std::vector<std::string> run_channel(Side side, const std::string& in, Piece piece) {
  std::vector<std::string> events;
  nonces_made() = 0;
  wire::Channel channel(static_cast<wire::Receiver>(static_cast<int>(side)), &counted_nonce);
  std::size_t at = 0;
  while (at < in.size()) {
    auto space = channel.receive_space();
    if (space.empty()) std::abort();
    std::size_t n = piece();
    n = std::min({n, space.size(), in.size() - at});
    std::memcpy(space.data(), in.data() + at, n);
    channel.received(n);
    at += n;
    while (true) {
      auto event = channel.next();
      if (!event) {
        events.push_back("error");
        if (channel.next().ok()) std::abort();  // the dead stay dead
        return events;
      }
      if (!*event) break;
      const wire::Channel::Event& e = **event;
      if (e.kind == wire::Channel::Event::Kind::established) {
        events.push_back("established");
        continue;
      }
      events.push_back("frame " + std::to_string(static_cast<int>(e.frame.type)) + " " + std::to_string(e.frame.flags) +
                       " " + std::to_string(e.frame.id) + " " + std::string(e.frame.payload));
    }
    const std::size_t out = channel.pending().size();
    if (out > 3 * wire::kHandshakeBytes) std::abort();
    if (n % 3 == 0) channel.consume(out);
  }
  return events;
}

inline void expect_same(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  if (a == b) return;
  auto print = [](const char* who, const std::vector<std::string>& events) {
    std::fprintf(stderr, "%s: %zu events\n", who, events.size());
    for (const auto& e : events) std::fprintf(stderr, "  %.80s\n", e.c_str());
  };
  print("reference", a);
  print("channel", b);
  std::abort();
}

}  // namespace orkestr::reference
