// The bytes of the wire, checked in: tests/golden/wire. A difference is a change of the protocol and needs a new
// generation, or is a bug. `ORKESTR_UPDATE_GOLDEN=1 unit_wire` writes them anew.
#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "wire/channel.hpp"
#include "wire_samples.hpp"

using namespace orkestr::wire;

namespace {

const std::string kTests = ORKESTR_TESTS_DIR;

std::string hex(std::string_view bytes) {
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i > 0) out += i % 16 == 0 ? "\n" : " ";
    constexpr char kDigits[] = "0123456789abcdef";
    out += kDigits[static_cast<unsigned char>(bytes[i]) >> 4U];
    out += kDigits[static_cast<unsigned char>(bytes[i]) & 15U];
  }
  return out + "\n";
}

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void check_golden(const std::string& name, const std::string& content) {
  const std::string path = kTests + "/golden/wire/" + name + ".hex";
  if (std::getenv("ORKESTR_UPDATE_GOLDEN") != nullptr) std::ofstream(path, std::ios::binary) << content;
  CAPTURE(path);
  CHECK(read(path) == content);
}

Nonce nonce_of(int first) {
  Nonce nonce;
  for (std::size_t i = 0; i < nonce.size(); ++i) nonce[i] = static_cast<std::uint8_t>(first + static_cast<int>(i));
  return nonce;
}
Nonce client_nonce() { return nonce_of(0x10); }
Nonce supervisor_nonce() { return nonce_of(0xA0); }

// What PROTOCOL.md shows: a client runs `true`.
struct Conversation {
  std::string text;
  Channel client{Receiver::client, &client_nonce};
  Channel supervisor{Receiver::supervisor_from_client, &supervisor_nonce};

  void pass(const char* arrow, const char* what, Channel& from, Channel& to) {
    const std::string bytes(from.pending());
    from.consume(bytes.size());
    auto space = to.receive_space();
    std::copy(bytes.begin(), bytes.end(), space.begin());
    to.received(bytes.size());
    while (true) {
      auto event = to.next();
      REQUIRE(event);
      if (!*event) break;
    }
    text += std::string(arrow) + "  " + what + "\n" + hex(bytes);
  }
  void up(const char* what) { pass("client -> supervisor", what, client, supervisor); }
  void down(const char* what) { pass("supervisor -> client", what, supervisor, client); }
};

std::string worked_example() {
  Conversation talk;
  talk.up("HELLO");
  talk.down("HELLO, ACK");
  talk.up("HELLO again (ignored), ACK");
  ExecRequest request;
  request.argv = {"true"};
  talk.client.send(OutFrame(Type::exec, 1, request.encode()), Lane::control);
  talk.up("exec, id 1");
  StartedMessage started;
  started.pid = 300;
  talk.supervisor.send(OutFrame(Type::started, 1, started.encode()), Lane::stream);
  talk.supervisor.send(data_frame(1, Stream::output, "hi\n"), Lane::stream);
  talk.supervisor.send(data_frame(1, Stream::output, "", true), Lane::stream);
  talk.supervisor.send(data_frame(1, Stream::error_output, "", true), Lane::stream);
  ExecExit exit;
  exit.duration_us = 4200;
  exit.stdout_bytes = 3;
  talk.supervisor.send(OutFrame(Type::result, 1, exit.encode()), Lane::stream);
  talk.down("started, data \"hi\\n\", end of output, end of error output, result");
  talk.client.send(credit_frame(1, 3), Lane::control);
  talk.up("credit of 3 bytes for an operation that has ended meanwhile (ignored)");
  return talk.text;
}

}  // namespace

TEST_CASE("the bytes of every message are the golden ones") {
  for (const auto& sample : samples::all()) check_golden(sample.name, hex(sample.bytes));
}

TEST_CASE("the worked example is golden, and PROTOCOL.md shows it") {
  const std::string example = worked_example();
  check_golden("conversation", example);
  CHECK(read(kTests + "/../src/wire/PROTOCOL.md").find(example) != std::string::npos);
}
